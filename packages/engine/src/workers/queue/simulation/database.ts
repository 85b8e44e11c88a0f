/**
 * The queue's real SQL on a database in memory, in this thread. What was committed but not synced lies
 * in an open transaction: a power cut is its rollback.
 *
 *   synced | unsynced commits: BEGIN ... SAVEPOINT group, operations, RELEASE ... | COMMIT with the next sync
 */
import Database from 'better-sqlite3';
import { migrate } from '../../../storage/migrate.js';
import { addRowCrc } from '../../../storage/row-checksum.js';
import type { Operations } from '../../../storage/store-module.js';
import queueStore from '../store.js';

export type Call = { readonly name: string; readonly args: readonly unknown[] };
export type Answer = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: unknown };

export class SimDatabase {
  readonly #db = new Database(':memory:');
  readonly #writes: Operations;
  readonly #reads: Operations;
  readonly #clear: readonly Database.Statement[];
  readonly #begin = this.#db.prepare('BEGIN');
  readonly #savepoint = this.#db.prepare('SAVEPOINT one');
  readonly #release = this.#db.prepare('RELEASE one');
  readonly #commit = this.#db.prepare('COMMIT');

  constructor() {
    addRowCrc(this.#db);
    migrate(this.#db, queueStore, 'simulated');
    const damaged = ({ table }: { readonly table: string }, rowid: number): void => {
      throw new Error(`row ${rowid} of ${table} does not match its checksum`);
    };
    this.#writes = queueStore.writes(this.#db, { damaged });
    this.#reads = queueStore.reads(this.#db, { damaged });
    const tables = this.#db
      .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'queue_%'")
      .pluck()
      .all() as string[];
    this.#clear = tables.map((table) => this.#db.prepare(`DELETE FROM ${table}`));
  }

  /** As on the first day. */
  clear(): void {
    if (this.#db.inTransaction) this.#commit.run();
    for (const statement of this.#clear) statement.run();
  }

  /** Runs operations as one transaction; one that throws fails alone. */
  commit(calls: readonly Call[], synced: boolean): readonly Answer[] {
    if (!this.#db.inTransaction) this.#begin.run();
    this.#savepoint.run();
    let answers: readonly Answer[];
    try {
      answers = calls.map((call) => ({ ok: true, value: this.#write(call) }));
    } catch {
      this.#db.exec('ROLLBACK TO one');
      answers = calls.map((call) => this.#alone(call));
    }
    this.#release.run();
    if (synced) this.#commit.run();
    return answers;
  }

  read({ name, args }: Call): unknown {
    return operation(this.#reads, name)(...args);
  }

  /** The power went: what was not synced is gone. */
  cutPower(): void {
    if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
  }

  #write({ name, args }: Call): unknown {
    return operation(this.#writes, name)(...args);
  }

  #alone(call: Call): Answer {
    this.#db.exec('SAVEPOINT alone');
    try {
      return { ok: true, value: this.#write(call) };
    } catch (error) {
      this.#db.exec('ROLLBACK TO alone');
      return { ok: false, error };
    } finally {
      this.#db.exec('RELEASE alone');
    }
  }
}

function operation(operations: Operations, name: string): (...args: readonly unknown[]) => unknown {
  const found = operations[name] as ((...args: readonly unknown[]) => unknown) | undefined;
  if (found === undefined) throw new Error(`the store has no operation ${name}`);
  return found;
}
