/**
 * What a worker knows of storage: a store is one SQLite file seen through one module of SQL.
 * The module runs inside the storage thread; the worker only names operations.
 */
import type { Registration } from './worker-host.js';

/** What can travel to and from the storage thread: structured-clone values. */
export type StoreValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | Uint8Array
  | readonly StoreValue[]
  | { readonly [key: string]: StoreValue };

/**
 * What a write has survived when it is answered: `full` = a power cut, `normal` = a crash of the
 * process (a power cut may take the last moments), `memory` = nothing: it is in memory only.
 */
export type Durability = 'full' | 'normal' | 'memory';

export interface Store {
  /**
   * Runs one write operation of the store's module. Resolves after the transaction that holds it is
   * committed and synced; operations of one store run in the order of the calls.
   *
   * @throws TrineError what the operation threw, or
   *   `storage_failed`: the commit failed; nothing is kept;
   *   `storage_full`: the disk is full or read-only (operations that the module lists in `whenFull` still run);
   *   `storage_slow`: the disk has been busy for seconds; nothing is kept;
   *   `storage_degraded`: the file failed and is not open again yet. Whether the operation is kept is for the
   *   disk to say, see `onReopened`;
   *   `storage_overloaded`: too much waits for the disk;
   *   `storage_closed`
   */
  write<T = unknown>(operation: string, ...args: StoreValue[]): Promise<T>;
  /** Runs one read operation on a read-only connection that no write waits for. Sees every write that was answered before. */
  read<T = unknown>(operation: string, ...args: StoreValue[]): Promise<T>;
  /**
   * The same store with another promise. `normal` is the same data, written into the same order; a
   * transaction is synced if any of its operations is `full`. `memory` is a store of its own, empty at
   * the start, that ends with this one.
   */
  as(durability: Durability): Store;
  /**
   * Tells when the file has failed and is open again: the disk decided what was committed, so what is
   * remembered of it must be read again.
   */
  onReopened(listener: () => void): Registration;
  close(): Promise<void>;
}

export interface OpenStoreOptions {
  /** The SQL module: `import.meta.url` of the caller plus its relative path, see `storeModule`. */
  readonly module: URL;
  /** Path of the SQLite file, relative to the project; default `<data folder>/engine.db`; `:memory:` keeps nothing. */
  readonly file?: string;
}

/** A row that does not match its checksum and was moved out of the way. */
export interface QuarantinedRow {
  readonly file: string;
  readonly table: string;
  readonly rowid: number;
  readonly reason: string;
  /** Wall time, in milliseconds. */
  readonly foundAt: number;
}

/** The state of storage at one moment, for `engine::health::check`. */
export interface StorageHealth {
  /** `slow` = the disk takes seconds to sync; `full` = no room or read-only; `degraded` = a file failed. */
  readonly status: 'ok' | 'slow' | 'full' | 'degraded';
  readonly files: readonly {
    readonly file: string;
    readonly state: 'open' | 'full' | 'degraded';
    /** What is wrong, where something is. */
    readonly reason?: string;
    /** Wall time of the change to this state, in milliseconds. */
    readonly since: number;
  }[];
  /** The newest rows of the quarantine. */
  readonly quarantined: readonly QuarantinedRow[];
  /** Bytes that wait for the disk. */
  readonly waitingBytes: number;
}

export interface Storage {
  open(options: OpenStoreOptions): Promise<Store>;
  health(): StorageHealth;
}
