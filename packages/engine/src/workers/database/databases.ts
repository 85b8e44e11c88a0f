import { toErrorBody, TrineError } from '@trine/protocol';
import type { Clock } from '../../core/clock.js';
import type { Log } from '../../core/log.js';
import { fileOf, type DatabaseConfig, type DatabaseEntry } from './config.js';
import { Database } from './database.js';
import { DatabaseError } from './errors.js';

export interface DatabasesOptions {
  readonly projectDir: string;
  readonly clock: Clock;
  readonly log: Log;
}

interface OpenDatabase {
  entry: DatabaseEntry;
  readonly database: Database;
}

/** The database that calls without a `db` mean, where there are several. */
const DEFAULT_NAME = 'primary';

/** The configured databases by name. */
export class Databases {
  readonly #options: DatabasesOptions;
  #open: ReadonlyMap<string, OpenDatabase> = new Map();

  constructor(options: DatabasesOptions) {
    this.#options = options;
  }

  /**
   * Brings what is open in line with a configuration: opens what is new or names another file, closes
   * what is gone, leaves the others alone. All or nothing.
   *
   * @throws TrineError naming the database that could not be opened; nothing has changed then
   */
  async apply(config: DatabaseConfig): Promise<void> {
    const { projectDir, clock, log } = this.#options;
    const next = new Map<string, OpenDatabase>();
    const opened: Database[] = [];
    try {
      for (const [name, entry] of Object.entries(config.databases)) {
        const file = fileOf(entry.url, projectDir);
        const existing = this.#open.get(name);
        if (existing?.database.file === file) {
          next.set(name, { entry, database: existing.database });
          continue;
        }
        const database = await openOne({ name, file, acquireTimeoutMs: entry.pool.acquire_timeout_ms, clock, log });
        opened.push(database);
        next.set(name, { entry, database });
      }
    } catch (error) {
      await Promise.all(opened.map((database) => database.close()));
      throw error;
    }
    const kept = new Set([...next.values()].map(({ database }) => database));
    const gone = [...this.#open.values()].filter(({ database }) => !kept.has(database));
    this.#open = next;
    for (const { entry, database } of next.values()) database.acquireTimeoutMs = entry.pool.acquire_timeout_ms;
    await Promise.all(gone.map(({ database }) => database.close()));
  }

  /** Names, sorted. */
  get names(): string[] {
    return [...this.#open.keys()].sort();
  }

  /** Every configured database, sorted by name. */
  list(): { readonly name: string; readonly entry: DatabaseEntry }[] {
    return this.names.map((name) => ({ name, entry: (this.#open.get(name) as OpenDatabase).entry }));
  }

  has(name: string): boolean {
    return this.#open.has(name);
  }

  /**
   * The name that a call means: what it says, else the only database, else `primary`.
   *
   * @throws DatabaseError `MISSING_DB`, `UNKNOWN_DB`
   */
  resolve(name: string | null | undefined): string {
    const meant =
      name ?? (this.#open.size === 1 ? this.names[0] : this.#open.has(DEFAULT_NAME) ? DEFAULT_NAME : undefined);
    if (meant === undefined) throw new DatabaseError({ code: 'MISSING_DB', available: this.names });
    if (!this.#open.has(meant)) throw unknownDb(meant, this.names);
    return meant;
  }

  /** @throws DatabaseError `UNKNOWN_DB` */
  get(name: string): Database {
    const open = this.#open.get(name);
    if (open === undefined) throw unknownDb(name, this.names);
    return open.database;
  }

  async close(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open = new Map();
    await Promise.all(open.map(({ database }) => database.close()));
  }
}

function unknownDb(db: string, available: readonly string[]): DatabaseError {
  return new DatabaseError({ code: 'UNKNOWN_DB', db, available });
}

async function openOne(options: Parameters<typeof Database.open>[0]): Promise<Database> {
  try {
    return await Database.open(options);
  } catch (error) {
    const reason =
      error instanceof DatabaseError && 'message' in error.fault ? error.fault.message : toErrorBody(error).message;
    const what = `databases.${options.name}: cannot open ${options.file} (${reason})`;
    throw new TrineError(
      'database_unopened',
      `${what}: check the url, and that this user may write to the file and its folder`,
      { cause: error },
    );
  }
}
