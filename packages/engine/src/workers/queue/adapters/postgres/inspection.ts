/** Looking at jobs, and taking back what waits. */
import type { Job } from '../../job.js';
import type { JobRecord, JobState, Line, LineStats, PurgeTarget } from '../index.js';
import { failuresOf, type PgCore } from './core.js';
import { JOB_COLUMNS, jobOf, type JobRow } from './jobs.js';
import type { Leases } from './leases.js';
import type { PgLease, PgLine } from './line.js';
import { LONG_QUERY_TIMEOUT_MS, statement } from './server.js';

/** Jobs in one statement. */
const CHUNK = 5_000;

/**
 * Indexes jobs_ready, jobs_delayed_line, jobs_leased, dead_line. One statement sees one moment: a job that
 * moves meanwhile is in one of the counts.
 */
const STATS = statement(
  'stats',
  `WITH ready AS (
    SELECT function_id, namespace, count(*) AS count, sum(size) AS bytes FROM trine.jobs
    WHERE line = $1 AND state = 0 GROUP BY function_id, namespace),
  delayed AS (SELECT count(*) AS count, sum(size) AS bytes FROM trine.jobs WHERE line = $1 AND state = 1),
  leased AS (SELECT count(*) AS count, sum(size) AS bytes FROM trine.jobs WHERE line = $1 AND state = 2)
  SELECT delayed.count AS delayed, leased.count AS leased, (SELECT count(*) FROM trine.dead WHERE line = $1) AS dead,
    (coalesce(delayed.bytes, 0) + coalesce(leased.bytes, 0) + coalesce((SELECT sum(bytes) FROM ready), 0))::bigint AS bytes,
    (SELECT coalesce(json_agg(ready), '[]') FROM ready) AS ready
  FROM delayed, leased`,
);
/** Indexes jobs_receipt, dead_receipt, ended_receipt. */
const FIND_JOB = statement(
  'find_job',
  `SELECT line, state, function_id, namespace, attempts, created_at, errors, due, started_at FROM trine.jobs WHERE receipt = $1`,
);
const FIND_DEAD = statement(
  'find_dead',
  `SELECT line, function_id, namespace, attempts, created_at, errors, failed_at, error, error_code
   FROM trine.dead WHERE receipt = $1 ORDER BY id DESC LIMIT 1`,
);
const FIND_ENDED = statement(
  'find_ended',
  `SELECT line, state, function_id, namespace, attempts, created_at, errors, ended_at
   FROM trine.ended WHERE receipt = $1 ORDER BY id DESC LIMIT 1`,
);
/** Index jobs_receipt. */
const CANCEL = statement(
  'cancel',
  'DELETE FROM trine.jobs WHERE receipt = $1 AND state < 2 RETURNING line, function_id, namespace, attempts, created_at, receipt',
);
/** Indexes jobs_ready, jobs_delayed_line. */
const PURGE = statement(
  'purge',
  `DELETE FROM trine.jobs WHERE seq IN (
     SELECT seq FROM trine.jobs WHERE line = $1 AND state = $2 LIMIT ${CHUNK} FOR UPDATE SKIP LOCKED)
   RETURNING line, receipt, function_id, namespace, attempts, created_at`,
);
/** Index jobs_ready. */
const PEEK = statement(
  'peek',
  `SELECT ${JOB_COLUMNS} FROM trine.jobs j WHERE j.line = $1 AND j.state = 0 ORDER BY j.priority DESC, j.seq LIMIT $2`,
);
const FORGET_OLD = statement(
  'forget_old',
  'DELETE FROM trine.ended WHERE line = $1 AND ended_at < trine.now_ms() - $2',
);
const FORGET_MANY = statement(
  'forget_many',
  `DELETE FROM trine.ended WHERE id IN (
     SELECT id FROM trine.ended WHERE line = $1 ORDER BY ended_at DESC, id DESC OFFSET $2)`,
);
/** Unique keys whose window is over, or whose job has ended. */
const FORGET_KEYS = statement(
  'forget_keys',
  `DELETE FROM trine.unique_keys u WHERE u.until <= trine.now_ms()
     OR (u.until IS NULL AND NOT EXISTS (SELECT FROM trine.jobs j WHERE j.receipt = u.receipt))`,
);

interface StatsRow {
  readonly delayed: number;
  readonly leased: number;
  readonly dead: number;
  readonly bytes: number;
  readonly ready: readonly { readonly function_id: string; readonly namespace: string; readonly count: number }[];
}

interface FoundRow {
  readonly line: number;
  readonly receipt: string;
  readonly function_id: string;
  readonly namespace: string;
  readonly attempts: number;
  readonly created_at: number;
  readonly errors: string | null;
}

export class Inspection {
  readonly #core: PgCore;
  readonly #leases: Leases;
  readonly #ended: (line: PgLine) => void;

  /** @param ended - jobs of a line went without running: what stood behind them may go */
  constructor(core: PgCore, leases: Leases, ended: (line: PgLine) => void) {
    this.#core = core;
    this.#leases = leases;
    this.#ended = ended;
  }

  async stats(lines: readonly Line[]): Promise<LineStats> {
    const total = { waiting: 0, delayed: 0, running: 0, waitingForFunction: 0, dead: 0, bytes: 0 };
    const { server, events } = this.#core;
    for (const line of lines as readonly PgLine[]) {
      const [counts] = await server.query<StatsRow>(STATS, [this.#core.idOf(line)], LONG_QUERY_TIMEOUT_MS);
      for (const { function_id: functionId, namespace, count } of counts?.ready ?? []) {
        total.waiting += count;
        if (events.missing(line, functionId, namespace) !== undefined) total.waitingForFunction += count;
      }
      // What is at hand has not been started.
      const { leased = 0, delayed = 0, dead = 0, bytes = 0 } = counts ?? {};
      const atHand = Math.min(line.atHand.size, leased);
      total.waiting += atHand;
      total.running += leased - atHand;
      total.delayed += delayed;
      total.dead += dead;
      total.bytes += bytes;
    }
    return total;
  }

  async lookup(receipt: string): Promise<JobRecord | undefined> {
    const own = this.#leased(receipt);
    if (own !== undefined) return this.#recordOf(own);
    // Twice: a dead letter that is moved back in this moment is in neither place when it is looked at.
    return (await this.#find(receipt)) ?? (await this.#find(receipt));
  }

  async #find(receipt: string): Promise<JobRecord | undefined> {
    const { server, linesById, ended } = this.#core;
    const base = (row: FoundRow): Omit<JobRecord, 'state'> => {
      const line = linesById.get(row.line);
      return {
        receipt,
        kind: line?.kind ?? 'queue',
        name: line?.name ?? '',
        functionId: row.function_id,
        namespace: row.namespace,
        attempts: row.attempts,
        failures: failuresOf(row.errors),
        createdAt: row.created_at,
      };
    };
    type JobFound = FoundRow & {
      readonly state: number;
      readonly due: number | null;
      readonly started_at: number | null;
    };
    const [job] = await server.query<JobFound>(FIND_JOB, [receipt]);
    if (job !== undefined) {
      if (job.state === 0) return { ...base(job), state: 'waiting' };
      if (job.state === 1) return { ...base(job), state: 'delayed', dueAt: job.due ?? undefined };
      return { ...base(job), state: 'running', startedAt: job.started_at ?? undefined };
    }
    type DeadFound = FoundRow & { readonly failed_at: number; readonly error: string; readonly error_code: string };
    const [dead] = await server.query<DeadFound>(FIND_DEAD, [receipt]);
    if (dead !== undefined) {
      return { ...base(dead), state: 'dead', endedAt: dead.failed_at, error: dead.error, code: dead.error_code };
    }
    const known = ended.get(receipt);
    if (known !== undefined) return known;
    type EndedFound = FoundRow & { readonly state: string; readonly ended_at: number };
    const [kept] = await server.query<EndedFound>(FIND_ENDED, [receipt]);
    return kept === undefined ? undefined : { ...base(kept), state: kept.state as JobState, endedAt: kept.ended_at };
  }

  async cancel(receipt: string): Promise<JobState | undefined> {
    const own = this.#leased(receipt);
    if (own !== undefined) await this.#leases.giveBack(own.line);
    const [row] = await this.#core.server.query<FoundRow>(CANCEL, [receipt]);
    if (row === undefined) return (await this.lookup(receipt))?.state;
    this.#gone([row], 'cancelled');
    return 'cancelled';
  }

  async purge(line: PgLine, what: Exclude<PurgeTarget, 'dead'>): Promise<number> {
    if (what === 'waiting') await this.#leases.giveBack(line);
    for (let purged = 0; ;) {
      const values = [this.#core.idOf(line), what === 'waiting' ? 0 : 1];
      const rows = await this.#core.server.query<FoundRow>(PURGE, values, LONG_QUERY_TIMEOUT_MS);
      this.#gone(rows, 'purged');
      purged += rows.length;
      if (rows.length < CHUNK) return purged;
    }
  }

  async peek(line: PgLine, limit: number): Promise<readonly Job[]> {
    const atHand = [...line.atHand].slice(0, limit).map(({ job }) => job);
    const values = [this.#core.idOf(line), limit - atHand.length];
    const rows = await this.#core.server.query<JobRow>(PEEK, values, LONG_QUERY_TIMEOUT_MS);
    return [...atHand, ...rows.map(jobOf)];
  }

  async sweep(): Promise<void> {
    const { lines, server } = this.#core;
    await server.query(FORGET_KEYS, [], LONG_QUERY_TIMEOUT_MS);
    for (const { id, rules } of [...lines.values()]) {
      // A queue that is not configured keeps what it has.
      if (id === undefined || rules === undefined) continue;
      await server.query(FORGET_OLD, [id, rules.keepEndedMs], LONG_QUERY_TIMEOUT_MS);
      await server.query(FORGET_MANY, [id, rules.keepEndedCount], LONG_QUERY_TIMEOUT_MS);
    }
  }

  /** What this engine has: until its end is stored, and noted among those that ended. */
  #leased(receipt: string): PgLease | undefined {
    for (const lease of this.#core.leases.values()) if (lease.job.receipt === receipt) return lease;
    return undefined;
  }

  #recordOf(lease: PgLease): JobRecord {
    const { job, line, startedAt } = lease;
    const { receipt, functionId, namespace, attempts, failures, createdAt } = job;
    const record = { receipt, kind: line.kind, name: line.name, functionId, namespace, attempts, failures, createdAt };
    const isAtHand = [...line.atHand].includes(lease);
    return isAtHand ? { ...record, state: 'waiting' } : { ...record, state: 'running', startedAt };
  }

  #gone(rows: readonly FoundRow[], state: JobState): void {
    const lines = new Set<PgLine>();
    for (const row of rows) {
      const line = this.#core.linesById.get(row.line);
      if (line === undefined) continue;
      lines.add(line);
      const { receipt, function_id: functionId, namespace, attempts, created_at: createdAt } = row;
      this.#core.record(line, { receipt, functionId, namespace, attempts, createdAt }, state);
    }
    for (const line of lines) this.#ended(line);
  }
}
