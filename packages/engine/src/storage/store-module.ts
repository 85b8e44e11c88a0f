/**
 * The contract of an SQL module: what the storage thread loads and runs. One module per store, with
 * numbered migrations, statements prepared once, each query beside the index it uses.
 */
import type { Database } from 'better-sqlite3';
import type { StoreValue } from '../core/store.js';
import type { CheckedTable } from './row-checksum.js';

export type Operation = (...args: never[]) => unknown;
export type Operations = Readonly<Record<string, Operation>>;

/** What the thread lends the operations of a store. */
export interface StoreTools {
  /** Tells of a row that does not match its checksum: it is moved to the quarantine, and named. */
  damaged(table: CheckedTable, rowid: number): void;
}

export interface StoreModule {
  /** Names the schema inside the file: several stores can live in one SQLite file. */
  readonly name: string;
  /** SQL per schema version, applied once each, in order, in one transaction. Never edit a released one. */
  readonly migrations: readonly string[];
  /** Tables whose rows carry a checksum. */
  readonly checked?: readonly CheckedTable[];
  /** Write operations that make the file smaller or end something: they run on a full disk too. */
  readonly whenFull?: readonly string[];
  /** Write operations. Each runs inside the group's transaction; one that throws fails alone. */
  writes(db: Database, tools: StoreTools): Operations;
  /** Read operations, run on a read-only connection (on the writer for `:memory:`). */
  reads(db: Database, tools: StoreTools): Operations;
}

export function defineStore(module: StoreModule): StoreModule {
  return module;
}

export { damagedRowError } from './errors.js';
export { isDamaged, rowCrc, type CheckedTable, type Stored } from './row-checksum.js';
export type { Database, StoreValue };
