/** One database in the reader thread: scans on a read-only connection, so that no write waits for them. */
import type Database from 'better-sqlite3';
import { connectReader } from './connection.js';
import { diskFault } from './disk-fault.js';
import { degradedFailure, openError } from './errors.js';
import type { ThreadEvent } from './messages.js';
import type { Step } from './step.js';
import type { Operations, StoreModule } from './store-module.js';

export class ReaderFile {
  readonly path: string;
  readonly #tell: (event: ThreadEvent) => void;
  readonly #stores = new Map<number, { readonly module: StoreModule; reads: Operations }>();
  #db: Database.Database | undefined;

  constructor(path: string, tell: (event: ThreadEvent) => void) {
    this.path = path;
    this.#tell = tell;
    this.#db = connectReader(path);
  }

  get isUnused(): boolean {
    return this.#stores.size === 0;
  }

  open(store: number, module: StoreModule): void {
    if (this.#db === undefined) throw new Error('the file is closed');
    this.#stores.set(store, { module, reads: this.#prepare(store, module, this.#db) });
  }

  close(store: number): void {
    this.#stores.delete(store);
  }

  /** Closes the connection; the stores stay. */
  release(): void {
    this.#db?.close();
    this.#db = undefined;
  }

  reopen(): void {
    if (this.#db !== undefined) return;
    const db = connectReader(this.path);
    try {
      for (const [id, store] of this.#stores) store.reads = this.#prepare(id, store.module, db);
      this.#db = db;
    } catch (error) {
      db.close();
      throw openError(this.path, error);
    }
  }

  read(step: Step): unknown {
    if (this.#db === undefined) {
      const { code, message } = degradedFailure(this.path, 'it is being opened again');
      throw Object.assign(new Error(message), { code, retryable: true });
    }
    const operation = this.#stores.get(step.store)?.reads[step.name] as
      ((...args: readonly unknown[]) => unknown) | undefined;
    if (operation === undefined) throw new Error(`the store has no operation ${step.name}`);
    try {
      return operation(...step.args);
    } catch (error) {
      throw diskFault(error) === 'broken' ? openError(this.path, error) : error;
    }
  }

  #prepare(store: number, module: StoreModule, db: Database.Database): Operations {
    return module.reads(db, {
      damaged: ({ table }, rowid) => this.#tell({ kind: 'damaged', rows: [{ store, table, rowid }] }),
    });
  }
}
