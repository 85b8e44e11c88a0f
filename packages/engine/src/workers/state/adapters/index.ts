import type { UpdateOp } from '../update-ops.js';
import type { UpdateAnswer } from '../store.js';

/**
 * Where state lives. Values are raw JSON texts. Writes settle after they are durable; all operations
 * are linearizable per key.
 */
export interface StateAdapter {
  /** Undefined = no such key. A value, not a promise, where it is in memory. */
  get(scope: string, key: string): string | undefined | Promise<string | undefined>;
  /** Returns the value before. */
  set(scope: string, key: string, value: string): Promise<string | undefined>;
  /** Returns the value that was there. */
  delete(scope: string, key: string): Promise<string | undefined>;
  /** @param maxBytes - largest result that is stored, as compact JSON in bytes */
  update(scope: string, key: string, ops: readonly UpdateOp[], maxBytes: number | undefined): Promise<UpdateAnswer>;
  /** The values of a scope as one JSON array, in the order in which their keys were first set. */
  list(scope: string): Promise<string>;
  /** Scopes that hold a key, sorted. */
  listScopes(): Promise<string[]>;
  /** Lets what is under way finish, then closes. */
  close(): Promise<void>;
}

export { openKv } from './kv.js';
