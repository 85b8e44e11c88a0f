/**
 * What a worker knows of storage: a store is one SQLite file seen through one module of SQL.
 * The module runs inside the storage thread; the worker only names operations.
 */

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

export interface Store {
  /**
   * Runs one write operation of the store's module. Resolves after the transaction that holds it is
   * committed and synced; operations of one store run in the order of the calls.
   *
   * @throws TrineError `storage_failed` when the commit failed, or what the operation threw
   */
  write<T = unknown>(operation: string, ...args: StoreValue[]): Promise<T>;
  /** Runs one read operation on a read-only connection that no write waits for. Sees every write that was answered before. */
  read<T = unknown>(operation: string, ...args: StoreValue[]): Promise<T>;
  close(): Promise<void>;
}

export interface OpenStoreOptions {
  /** The SQL module: `import.meta.url` of the caller plus its relative path, see `storeModule`. */
  readonly module: URL;
  /** Path of the SQLite file, relative to the project; default `<data folder>/engine.db`; `:memory:` keeps nothing. */
  readonly file?: string;
}

export interface Storage {
  open(options: OpenStoreOptions): Promise<Store>;
}
