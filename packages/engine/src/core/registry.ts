/**
 * Who offers which function. Every (namespace, id) keeps a stack of owners, newest first: the newest
 * serves, and when it leaves the one before it serves again. `engine::*` ids that the engine itself
 * serves cannot be taken over.
 *
 * Within a stack the standing of the owners' sessions goes before age: settled ones, then those that
 * have not described themselves yet, then detached ones (see `session.ts`).
 */
import { DEFAULT_NAMESPACE, ErrorCode, TrineError } from '@trine/protocol';
import type { PendingCall } from './pending-call.js';
import { Emitter } from './emitter.js';
import type { Session } from './session.js';

export interface FunctionOwner {
  readonly id: string;
  readonly namespace: string;
  readonly session: Session;
  readonly description: string | undefined;
  /** JSON Schema, as the worker sent it (or made from a built-in's zod schema when asked for). */
  readonly requestFormat: () => unknown;
  readonly responseFormat: () => unknown;
  readonly metadata: unknown;
  /** The id that its worker knows it by, where access rules gave it another. */
  readonly knownAs?: string | undefined;
  /** Runs the function, when it lives in this process. */
  readonly run: ((call: PendingCall) => void) | undefined;
}

export interface FunctionEvent {
  readonly available: boolean;
  readonly functionId: string;
  readonly namespace: string;
}

/** An owner in a stack, with its place in time. */
interface Claim {
  readonly owner: FunctionOwner;
  readonly order: number;
}

interface FunctionEntry {
  readonly id: string;
  readonly namespace: string;
  /** Best standing first, then newest first; never empty while the entry is in the table. */
  claims: Claim[];
  /** The owner of the first claim: what calls go to. */
  head: FunctionOwner;
}

export class Registry {
  readonly #namespaces = new Map<string, Map<string, FunctionEntry>>();
  #order = 0;
  /** A function became callable or stopped being so. */
  readonly availability = new Emitter<FunctionEvent>();
  /** Calls of a function go to another owner from here on. */
  readonly served = new Emitter<{ readonly functionId: string; readonly namespace: string }>();
  /** Anything that a list of functions would show differently. */
  readonly changed = new Emitter<void>();

  /**
   * Adds an owner to the stack, on top of those of equal standing; the same session offering an id
   * again replaces its own.
   *
   * @throws TrineError `FORBIDDEN` for an `engine::*` id that the engine serves
   */
  add(owner: FunctionOwner): void {
    const { id, session } = owner;
    // In no namespace: clients call the engine's functions in their own.
    if (id.startsWith('engine::') && session.kind !== 'engine') {
      const entry = this.#namespaces.get(DEFAULT_NAMESPACE)?.get(id);
      if (entry?.claims.some(isBuiltInClaim) === true)
        throw new TrineError(ErrorCode.forbidden, `function '${id}' belongs to the engine and cannot be taken over`);
    }
    this.#place(owner);
    this.changed.emit();
  }

  /** Takes one owner out of its stack. An owner that is not in it (any more) is ignored. */
  remove(owner: FunctionOwner): void {
    if (this.#take(owner)) this.changed.emit();
  }

  /** The standing of a session changed: so does its place in every stack. */
  rerank(session: Session): void {
    for (const { namespace, id } of session.functions) {
      const entry = this.#namespaces.get(namespace)?.get(id);
      if (entry !== undefined) this.#sort(entry);
    }
  }

  /** Moves all that a session offers in one namespace to another one, as one. */
  rehome(session: Session, from: string, to: string): void {
    const moved = [...session.functions].filter(({ namespace }) => namespace === from);
    for (const owner of moved) this.#take(owner);
    for (const owner of moved) this.#place({ ...owner, namespace: to });
    if (moved.length > 0) this.changed.emit();
  }

  #place(owner: FunctionOwner): void {
    const { id, namespace, session } = owner;
    let functions = this.#namespaces.get(namespace);
    if (functions === undefined) this.#namespaces.set(namespace, (functions = new Map<string, FunctionEntry>()));
    const claim = { owner, order: this.#order++ };
    const entry = functions.get(id);
    if (entry === undefined) {
      functions.set(id, { id, namespace, claims: [claim], head: owner });
      session.functions.add(owner);
      this.availability.emit({ available: true, functionId: id, namespace });
      this.served.emit({ functionId: id, namespace });
      return;
    }
    const own = entry.claims.findIndex((other) => other.owner.session === session);
    if (own >= 0) session.functions.delete((entry.claims.splice(own, 1)[0] as Claim).owner);
    entry.claims.push(claim);
    session.functions.add(owner);
    this.#sort(entry);
  }

  #take(owner: FunctionOwner): boolean {
    const functions = this.#namespaces.get(owner.namespace);
    const entry = functions?.get(owner.id);
    const at = entry?.claims.findIndex((claim) => claim.owner === owner) ?? -1;
    if (functions === undefined || entry === undefined || at < 0) return false;
    entry.claims.splice(at, 1);
    owner.session.functions.delete(owner);
    if (entry.claims.length > 0) {
      this.#sort(entry);
    } else {
      functions.delete(owner.id);
      if (functions.size === 0) this.#namespaces.delete(owner.namespace);
      this.availability.emit({ available: false, functionId: owner.id, namespace: owner.namespace });
      this.served.emit({ functionId: owner.id, namespace: owner.namespace });
    }
    return true;
  }

  #sort(entry: FunctionEntry): void {
    if (entry.claims.length > 1) entry.claims.sort(byStandingThenAge);
    const { owner } = entry.claims[0] as Claim;
    if (owner === entry.head) return;
    entry.head = owner;
    this.served.emit({ functionId: entry.id, namespace: entry.namespace });
  }

  /** Takes back what a session offers under an id. */
  removeFrom(session: Session, namespace: string, id: string): void {
    const claim = this.#namespaces
      .get(namespace)
      ?.get(id)
      ?.claims.find(({ owner }) => owner.session === session);
    if (claim !== undefined) this.remove(claim.owner);
  }

  /**
   * The owner that serves an id. A namespace that lacks it falls back to a built-in of `default`
   * (clients call `state::*` and `publish` in their own namespace).
   */
  resolve(namespace: string, id: string): FunctionOwner | undefined {
    const owner = this.#namespaces.get(namespace)?.get(id)?.head;
    if (owner !== undefined || namespace === DEFAULT_NAMESPACE) return owner;
    return this.#namespaces.get(DEFAULT_NAMESPACE)?.get(id)?.claims.find(isBuiltInClaim)?.owner;
  }

  /** The least-loaded live owner among those whose worker name equals the serving one's. */
  resolveReplica(namespace: string, id: string): FunctionOwner | undefined {
    const entry = this.#namespaces.get(namespace)?.get(id);
    if (entry === undefined || entry.claims.length === 1) return this.resolve(namespace, id);
    const { session } = entry.head;
    let best = entry.head;
    for (const { owner } of entry.claims) {
      if (owner.session.standing !== session.standing) break;
      if (owner.session.info.name !== session.info.name) continue;
      if (owner.session.executing.size < best.session.executing.size) best = owner;
    }
    return best;
  }

  /** The owner that serves an id in exactly this namespace. */
  get(namespace: string, id: string): FunctionOwner | undefined {
    return this.#namespaces.get(namespace)?.get(id)?.head;
  }

  /** Everybody who offers an id in a namespace, newest first; built-ins of `default` offer theirs everywhere. */
  owners(namespace: string, id: string): readonly FunctionOwner[] {
    const owners = (where: string): FunctionOwner[] =>
      this.#namespaces
        .get(where)
        ?.get(id)
        ?.claims.map(({ owner }) => owner) ?? [];
    const own = owners(namespace);
    return own.length > 0 || namespace === DEFAULT_NAMESPACE ? own : owners(DEFAULT_NAMESPACE).filter(isBuiltIn);
  }

  /** Namespaces in which an id is served. */
  namespacesOf(id: string): string[] {
    return [...this.#namespaces].filter(([, functions]) => functions.has(id)).map(([namespace]) => namespace);
  }

  /** The serving owner of every function. */
  *serving(): IterableIterator<FunctionOwner> {
    for (const functions of this.#namespaces.values()) {
      for (const entry of functions.values()) yield entry.head;
    }
  }
}

export function isBuiltIn(owner: FunctionOwner): boolean {
  return owner.session.kind === 'engine';
}

function isBuiltInClaim({ owner }: Claim): boolean {
  return isBuiltIn(owner);
}

function byStandingThenAge(a: Claim, b: Claim): number {
  return a.owner.session.standing - b.owner.session.standing || b.order - a.order;
}
