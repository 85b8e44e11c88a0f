import type { RemoteContext } from '../../../remote/index.js';
import type { UpdateOp } from '../../../values/index.js';
import type { UpdateAnswer } from '../store.js';

export interface AdapterHealth {
  readonly state: 'ready' | 'degraded' | 'unreachable';
  /** What is wrong, where, and what to do. */
  readonly detail?: string | undefined;
  readonly durability?: 'full' | 'relaxed' | undefined;
}

/**
 * Where state lives. Values are raw JSON texts. Writes settle after they are durable; all operations
 * are linearizable per key, and answers of one key settle in the order of the commits. The context of a
 * call goes with it where it leaves this engine.
 */
export interface StateAdapter {
  /** Undefined = no such key. A value, not a promise, where it is in memory. */
  get(scope: string, key: string, context: RemoteContext): string | undefined | Promise<string | undefined>;
  /** Returns the value before. */
  set(scope: string, key: string, value: string, context: RemoteContext): Promise<string | undefined>;
  /** Returns the value that was there. */
  delete(scope: string, key: string, context: RemoteContext): Promise<string | undefined>;
  /** @param maxBytes - largest result that is stored, as compact JSON in bytes */
  update(
    scope: string,
    key: string,
    ops: readonly UpdateOp[],
    maxBytes: number | undefined,
    context: RemoteContext,
  ): Promise<UpdateAnswer>;
  /** The values of a scope as one JSON array, in the order in which their keys were first set. */
  list(scope: string, context: RemoteContext): Promise<string>;
  /** Scopes that hold a key, sorted. */
  listScopes(context: RemoteContext): Promise<string[]>;
  /** Of a server elsewhere: can it be reached, and what does it keep? */
  health?(): AdapterHealth;
  /** Lets what is under way finish, then closes. */
  close(): Promise<void>;
}

export { openBridge } from './bridge.js';
export { openKv } from './kv.js';
