import type { Registration } from '../../../core/worker-host.js';
import type { RemoteContext } from '../../../remote/index.js';
import type { UpdateOp, UpdateOpError } from '../../../values/index.js';

/** Where an item is. */
export interface Address {
  readonly stream: string;
  readonly group: string;
  readonly item: string;
}

export interface Change {
  /** Raw JSON text of the value before; undefined = there was none. */
  readonly old: string | undefined;
  /** Place of the write among all of its store; undefined = the store has no such count. */
  readonly revision: number | undefined;
}

export interface UpdateChange extends Change {
  readonly value: string;
  readonly errors: readonly UpdateOpError[];
}

export interface Snapshot {
  /** An item's value or the array of a group's values; undefined = no such item. */
  readonly text: string | undefined;
  /** Writes up to this one are in it; undefined = not known. */
  readonly revision: number | undefined;
}

export interface StreamSummary {
  readonly id: string;
  readonly groups: readonly string[];
}

export interface SentEvent {
  readonly stream: string;
  readonly group: string;
  readonly item: string | undefined;
  /** Raw JSON texts. */
  readonly type: string;
  readonly data: string;
}

/**
 * Where streams live. Values are raw JSON texts. Writes settle after they are durable, those of one item
 * in the order of the commits. The context of a call goes with it where it leaves this engine.
 */
export interface StreamAdapter {
  /** Undefined = no such item. A value, not a promise, where it is in memory. */
  get(at: Address, context: RemoteContext): string | undefined | Promise<string | undefined>;
  set(at: Address, value: string, context: RemoteContext): Promise<Change>;
  delete(at: Address, context: RemoteContext): Promise<Change>;
  update(at: Address, ops: readonly UpdateOp[], context: RemoteContext): Promise<UpdateChange>;
  /** The values of a group as one JSON array, in the order in which its items were first set. */
  list(stream: string, group: string, context: RemoteContext): Promise<string>;
  listGroups(stream: string, context: RemoteContext): Promise<readonly string[]>;
  listAll(context: RemoteContext): Promise<readonly StreamSummary[]>;
  /** @param item - undefined = the whole group */
  snapshot(stream: string, group: string, item: string | undefined): Promise<Snapshot>;
  /**
   * For a store that tells of its changes itself, also of those that others make. Undefined: whoever
   * writes emits the event.
   */
  readonly remote?: {
    send(event: SentEvent, context: RemoteContext): Promise<void>;
    /** Events of this stream are wanted from now on. */
    watch(stream: string): Registration;
  };
  /** Lets what is under way finish, then closes. */
  close(): Promise<void>;
}

export { openBridge } from './bridge.js';
export { openKv } from './kv.js';
