/**
 * Calls of functions whose only owners are detached: they wait, at most the grace, for the owner to
 * come back or for another one. Looked up by function, counted by detached session.
 */
import type { PendingCall } from './pending-call.js';
import type { Session } from './session.js';

/** Calls that may wait for one detached session. */
export const MAX_HELD_CALLS = 1_000;

export class HeldCalls {
  readonly #byFunction = new Map<string, Set<PendingCall>>();
  readonly #counts = new Map<Session, number>();

  /** @returns false when the session has as many as it may */
  add(call: PendingCall): boolean {
    const count = this.#counts.get(call.executor) ?? 0;
    if (count >= MAX_HELD_CALLS) return false;
    this.#counts.set(call.executor, count + 1);
    const key = keyOf(call.namespace, call.functionId);
    const calls = this.#byFunction.get(key);
    if (calls === undefined) this.#byFunction.set(key, new Set([call]));
    else calls.add(call);
    call.held = true;
    return true;
  }

  remove(call: PendingCall): void {
    call.held = false;
    const key = keyOf(call.namespace, call.functionId);
    const calls = this.#byFunction.get(key);
    calls?.delete(call);
    if (calls?.size === 0) this.#byFunction.delete(key);
    const count = (this.#counts.get(call.executor) ?? 1) - 1;
    if (count === 0) this.#counts.delete(call.executor);
    else this.#counts.set(call.executor, count);
  }

  /** The calls that wait for a function, oldest first. */
  of(namespace: string, functionId: string): readonly PendingCall[] {
    if (this.#byFunction.size === 0) return NONE;
    const calls = this.#byFunction.get(keyOf(namespace, functionId));
    return calls === undefined ? NONE : [...calls];
  }
}

const NONE: readonly PendingCall[] = [];

function keyOf(namespace: string, functionId: string): string {
  return `${namespace}\u0000${functionId}`;
}
