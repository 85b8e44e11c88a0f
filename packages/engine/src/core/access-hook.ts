/**
 * Calls of the functions that access rules name: each ends within its time, and whatever is not a
 * clear answer is a refusal.
 */
import { DEFAULT_NAMESPACE, Payload } from '@trine/protocol';
import type { Registry } from './registry.js';
import type { Session } from './session.js';
import type { InvokeRequest, JsonValue, Outcome } from './worker-host.js';

export type HookAnswer =
  { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly fault: string };

export type Invoke = (request: InvokeRequest) => Promise<Outcome>;

export class AccessHooks {
  readonly #invoke: Invoke;
  readonly #registry: Registry;

  /** @param invoke - calls functions in the name of the listener */
  constructor(invoke: Invoke, registry: Registry) {
    this.#invoke = invoke;
    this.#registry = registry;
  }

  /**
   * @param timeoutMs - time to answer, in milliseconds
   * @param session - whose frames wait for the answer: it cannot be the one that gives it
   */
  async ask(functionId: string, input: JsonValue, timeoutMs: number, session?: Session): Promise<HookAnswer> {
    if (session !== undefined && this.isServedBy(functionId, session)) {
      return {
        ok: false,
        fault: `${functionId} is served by the same connection, which waits for it: serve it from a connection without access rules`,
      };
    }
    const outcome = await this.#invoke({ functionId, payload: Payload.fromForeign(input), timeoutMs });
    if (outcome.ok) return { ok: true, value: outcome.result?.value };
    if (outcome.cause === 'not_found') return { ok: false, fault: `${functionId} is not registered` };
    return { ok: false, fault: outcome.error.message };
  }

  isServedBy(functionId: string, session: Session): boolean {
    if (this.#registry.resolve(DEFAULT_NAMESPACE, functionId)?.session === session) return true;
    for (const owner of session.functions) if (owner.id === functionId) return true;
    return false;
  }
}
