/**
 * The contract of an SQL module: what the storage thread loads and runs. One module per store, with
 * numbered migrations, statements prepared once, each query beside the index it uses.
 */
import type { Database } from 'better-sqlite3';
import type { StoreValue } from '../core/store.js';

export type Operation = (...args: never[]) => unknown;
export type Operations = Readonly<Record<string, Operation>>;

export interface StoreModule {
  /** Names the schema inside the file: several stores can live in one SQLite file. */
  readonly name: string;
  /** SQL per schema version, applied once each, in order, in one transaction. Never edit a released one. */
  readonly migrations: readonly string[];
  /** Write operations. Each runs inside the group's transaction; one that throws fails alone. */
  writes(db: Database): Operations;
  /** Read operations, run on a read-only connection (on the writer for `:memory:`). */
  reads(db: Database): Operations;
}

export function defineStore(module: StoreModule): StoreModule {
  return module;
}

export type { Database, StoreValue };
