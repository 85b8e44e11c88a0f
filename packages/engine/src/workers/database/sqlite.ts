/**
 * One SQLite connection and what the database worker does with it. Synchronous: lives in a thread.
 *
 * better-sqlite3 cannot interrupt a statement; a long SELECT ends between two rows at its deadline.
 */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import SqliteDriver from 'better-sqlite3';
import { makeFolder } from '../../core/make-folder.js';
import { DatabaseError, driverError, failedTransaction, invalidParam, kindOf, type Fault } from './errors.js';
import type { ExecuteCall, QueryCall, TransactionCall } from './messages.js';
import { bindParameters } from './parameters.js';
import { columnsJson, rowArraysJson, rowObjectsJson, valueJson, type ResultColumn } from './result-json.js';
import { changesRows, controlsTransaction, firstWord, withReturning } from './sql-text.js';

/** How long a statement waits for a lock that another process holds, in milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;
/** Largest result, in characters of JSON: it must fit into one message. */
const MAX_RESULT_CHARS = 48 * 1024 * 1024;
/** SQL text told in an error, in characters. */
const MAX_SQL_CHARS = 1_000;

type Operation = 'query' | 'execute' | 'transaction';

interface Rows {
  readonly columns: readonly ResultColumn[];
  /** Values as JSON text. */
  readonly rows: string[][];
}

export class Sqlite {
  readonly #name: string;
  readonly #db: SqliteDriver.Database;

  /**
   * Opens a file and creates it and its folder where they are missing. WAL, so that readers in other
   * processes and writers do not wait for each other; `synchronous = FULL`: what was answered is on
   * disk; foreign keys as SQLite has them by default (off, `PRAGMA foreign_keys = ON` turns them on).
   *
   * @throws Error saying what is wrong with the file
   */
  constructor(name: string, file: string) {
    this.#name = name;
    if (file !== ':memory:') {
      if (statSync(file, { throwIfNoEntry: false })?.isDirectory() === true)
        throw new Error('there is a folder in its place');
      makeFolder(dirname(file));
    }
    this.#db = new SqliteDriver(file, { timeout: BUSY_TIMEOUT_MS });
    try {
      this.#db.pragma('journal_mode = WAL');
      this.#db.pragma('synchronous = FULL');
      this.#db.pragma('foreign_keys = OFF');
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** @returns the JSON text of `{columns, row_count, rows}` */
  query({ sql, params, timeoutMs }: QueryCall): string {
    const statement = this.#prepare(sql, 'query');
    const { columns, rows } = this.#run(statement, sql, params, { stopAt: performance.now() + timeoutMs, timeoutMs });
    return `{"columns":${columnsJson(columns)},"row_count":${rows.length},"rows":${rowObjectsJson(columns, rows)}}`;
  }

  /** @returns the JSON text of `{affected_rows, last_insert_id, returned_rows}` */
  execute({ sql, params, returning }: ExecuteCall): string {
    let statement = this.#prepare(sql, 'execute');
    if (returning.length > 0 && !statement.reader && changesRows(sql))
      statement = this.#prepare(withReturning(sql, returning), 'execute');
    const { columns, rows, affected } = this.#run(statement, sql, params);
    const lastId = affected > 0 && firstWord(sql) === 'INSERT' ? this.#lastInsertId() : null;
    return `{"affected_rows":${affected},"last_insert_id":${JSON.stringify(lastId)},"returned_rows":${rowObjectsJson(columns, rows)}}`;
  }

  /**
   * All statements or none.
   *
   * @returns the JSON text of `{committed: true, results}`, or of `{committed: false, error, failed_index}`
   */
  transaction({ statements, immediate }: TransactionCall): string {
    const results: string[] = [];
    let chars = 0;
    let failing: number | undefined;
    try {
      this.#db.exec(immediate ? 'BEGIN IMMEDIATE' : 'BEGIN');
      for (const [index, { sql, params }] of statements.entries()) {
        failing = index;
        const { rows, affected } = this.#run(this.#prepare(sql, 'transaction'), sql, params);
        const result = `{"affected_rows":${affected},"rows":${rowArraysJson(rows)}}`;
        chars += result.length;
        if (chars > MAX_RESULT_CHARS) throw tooBig();
        results.push(result);
      }
      failing = undefined;
      this.#db.exec('COMMIT');
      return `{"committed":true,"results":[${results.join(',')}]}`;
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
      return failedTransaction(faultOf(error), failing);
    }
  }

  close(): void {
    this.#db.close();
  }

  #prepare(sql: string, operation: Operation): SqliteDriver.Statement<unknown[], unknown> {
    if (controlsTransaction(sql))
      throw invalidParam(0, `${firstWord(sql)} is not allowed here: use database::transaction`);
    try {
      return this.#db.prepare(sql);
    } catch (error) {
      throw prepareError(error, sql, operation);
    }
  }

  #run(
    statement: SqliteDriver.Statement<unknown[], unknown>,
    sql: string,
    params: string | undefined,
    limit?: { readonly stopAt: number; readonly timeoutMs: number },
  ): Rows & { readonly affected: number } {
    const bound = bindParameters(sql, params);
    try {
      if (!statement.reader) return { columns: [], rows: [], affected: statement.run(...bound).changes };
      const read = (): Rows => this.#read(statement, bound, statement.readonly ? limit : undefined);
      // Changed rows that cannot be returned must not stay changed.
      const { columns, rows } =
        !statement.readonly && changesRows(sql) && !this.#db.inTransaction ? this.#db.transaction(read)() : read();
      return { columns, rows, affected: rows.length };
    } catch (error) {
      if (error instanceof DatabaseError) throw error;
      throw driverError(
        error instanceof Error ? error.message : String(error),
        isSqliteError(error) ? kindOf(error.code) : null,
        error,
      );
    }
  }

  #read(
    statement: SqliteDriver.Statement<unknown[], unknown>,
    bound: readonly unknown[],
    limit: { readonly stopAt: number; readonly timeoutMs: number } | undefined,
  ): Rows {
    const rows: string[][] = [];
    let chars = 0;
    statement.raw(true).safeIntegers(true);
    for (const row of statement.iterate(...bound) as IterableIterator<unknown[]>) {
      const texts = row.map(valueJson);
      for (const text of texts) chars += text.length;
      if (chars > MAX_RESULT_CHARS) throw tooBig();
      if (limit !== undefined && performance.now() >= limit.stopAt) {
        throw new DatabaseError({ code: 'QUERY_TIMEOUT', db: this.#name, timeout_ms: limit.timeoutMs });
      }
      rows.push(texts);
    }
    // Asked for after the run: SQLite prepares a statement anew when the schema has changed under it.
    return { columns: statement.columns(), rows };
  }

  /** A string, since row ids have 64 bits; null when nothing was ever inserted. */
  #lastInsertId(): string | null {
    const id = this.#db.prepare('SELECT last_insert_rowid()').pluck().safeIntegers().get() as bigint;
    return id === 0n ? null : id.toString();
  }
}

/** Any error of a call as the fault that is answered. */
export function faultOf(error: unknown): Fault {
  if (error instanceof DatabaseError) return error.fault;
  return driverError(
    error instanceof Error ? error.message : String(error),
    isSqliteError(error) ? kindOf(error.code) : null,
  ).fault;
}

const SINGLE_ONLY: Readonly<Record<Operation, string>> = {
  query: 'query() supports only a single statement; use multiple query() calls',
  execute: 'execute() supports only a single statement; use multiple execute() calls or database::transaction',
  transaction: 'transaction step supports only a single statement; split into multiple statements',
};

/** better-sqlite3 tells these two only by their text. */
function prepareError(error: unknown, sql: string, operation: Operation): DatabaseError {
  const message = error instanceof Error ? error.message : String(error);
  if (message.includes('contains no statements')) {
    const driver = operation === 'transaction' ? '(tx)' : 'Sqlite';
    return new DatabaseError({ code: 'DRIVER_ERROR', driver, inner_code: null, message: 'empty SQL' }, error);
  }
  if (message.includes('more than one statement')) return driverError(SINGLE_ONLY[operation], 'MULTI_STATEMENT', error);
  const text = sql.length > MAX_SQL_CHARS ? `${sql.slice(0, MAX_SQL_CHARS)}…` : sql;
  const kind = isSqliteError(error) && error.code !== 'SQLITE_ERROR' ? kindOf(error.code) : null;
  return driverError(`${message} in ${text}`, kind, error);
}

function tooBig(): DatabaseError {
  return driverError(
    `the result is larger than ${MAX_RESULT_CHARS} characters of JSON: ask for fewer rows (LIMIT) or columns`,
    'TooBig',
  );
}

function isSqliteError(error: unknown): error is InstanceType<typeof SqliteDriver.SqliteError> {
  return error instanceof SqliteDriver.SqliteError;
}
