import type { Clock, Timer } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import { DatabaseError, invalidParam } from './errors.js';

export interface PreparedStatement {
  readonly db: string;
  readonly sql: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** Handles that can be held at once. */
const MAX_HANDLES = 10_000;
/** Expired handles are forgotten this often, in milliseconds. */
const SWEEP_MS = 30_000;
/** Longest life of a handle, in seconds. */
export const MAX_TTL_SECONDS = 86_400;

/**
 * Prepared statements by handle. A handle holds a text, not a connection: nothing is kept busy by one
 * that nobody uses, and it outlives a restart of its database's thread.
 */
export class PreparedStatements {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #statements = new Map<string, PreparedStatement>();
  #sweep: Timer | undefined;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** @throws DatabaseError `INVALID_PARAM` when too many handles are held */
  add(db: string, sql: string, ttlSeconds: number): { readonly id: string; readonly expiresAt: number } {
    this.#forgetExpired();
    if (this.#statements.size >= MAX_HANDLES) {
      throw invalidParam(
        0,
        `${MAX_HANDLES} prepared statements are held, which is the limit: reuse handles, or give them a shorter ttl_seconds`,
      );
    }
    const id = this.#random.uuid();
    const expiresAt = this.#clock.now() + Math.min(ttlSeconds, MAX_TTL_SECONDS) * 1_000;
    this.#statements.set(id, { db, sql, expiresAt });
    this.#planSweep();
    return { id, expiresAt };
  }

  /** @throws DatabaseError `STATEMENT_NOT_FOUND` when there is none, or it has expired */
  get(id: string): PreparedStatement {
    const statement = this.#statements.get(id);
    if (statement === undefined || statement.expiresAt <= this.#clock.now()) {
      this.#statements.delete(id);
      throw new DatabaseError({ code: 'STATEMENT_NOT_FOUND', handle_id: id });
    }
    return statement;
  }

  /** Forgets the handles of databases that are no longer there. */
  keepOnly(isThere: (db: string) => boolean): void {
    for (const [id, { db }] of this.#statements) if (!isThere(db)) this.#statements.delete(id);
  }

  get size(): number {
    return this.#statements.size;
  }

  stop(): void {
    this.#sweep?.cancel();
    this.#statements.clear();
  }

  #planSweep(): void {
    this.#sweep ??= this.#clock.setTimer(() => {
      this.#sweep = undefined;
      this.#forgetExpired();
      if (this.#statements.size > 0) this.#planSweep();
    }, SWEEP_MS);
  }

  #forgetExpired(): void {
    const now = this.#clock.now();
    for (const [id, { expiresAt }] of this.#statements) if (expiresAt <= now) this.#statements.delete(id);
  }
}
