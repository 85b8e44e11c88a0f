/**
 * The calls of one session, in the order in which they were added. Linked through the calls
 * themselves: a call is added and removed once each, and neither hashes nor allocates (as sets, the two
 * lists of a call took a tenth of the router's time). Guarded by the routed-call rows of the benchmarks.
 */
import type { PendingCall } from './pending-call.js';

/** Which list: the one of who runs a call, or the one of who waits for it. A call is in at most one of each. */
export type CallRole = 'executing' | 'waiting';

/** The place of a call in one list. */
export class CallLink {
  list: CallList | undefined = undefined;
  before: PendingCall | undefined = undefined;
  after: PendingCall | undefined = undefined;
}

export class CallList implements Iterable<PendingCall> {
  readonly #role: CallRole;
  #first: PendingCall | undefined;
  #last: PendingCall | undefined;
  #size = 0;

  constructor(role: CallRole) {
    this.#role = role;
  }

  get size(): number {
    return this.#size;
  }

  /** Adds a call at the end. One that is here already stays where it is; it must be in no other list of this role. */
  add(call: PendingCall): void {
    const link = this.#linkOf(call);
    if (link.list === this) return;
    link.list = this;
    link.before = this.#last;
    if (this.#last === undefined) this.#first = call;
    else this.#linkOf(this.#last).after = call;
    this.#last = call;
    this.#size++;
  }

  /** Takes a call out; one that is not here is left alone. */
  delete(call: PendingCall): void {
    const link = this.#linkOf(call);
    if (link.list !== this) return;
    const { before, after } = link;
    if (before === undefined) this.#first = after;
    else this.#linkOf(before).after = after;
    if (after === undefined) this.#last = before;
    else this.#linkOf(after).before = before;
    link.list = link.before = link.after = undefined;
    this.#size--;
  }

  /** The calls at this moment: what is added or removed while they are looked at does not matter. */
  [Symbol.iterator](): Iterator<PendingCall> {
    const calls: PendingCall[] = [];
    for (let call = this.#first; call !== undefined; call = this.#linkOf(call).after) calls.push(call);
    return calls[Symbol.iterator]();
  }

  #linkOf(call: PendingCall): CallLink {
    return this.#role === 'executing' ? call.executingLink : call.waitingLink;
  }
}
