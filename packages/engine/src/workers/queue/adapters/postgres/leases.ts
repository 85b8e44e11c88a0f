/**
 * Leases jobs, as many as the line's consumers want, and keeps them at hand until they are asked for.
 *
 * A line:
 *
 *   fed    -> hungry    someone asked and nothing was at hand: a fetch begins
 *   hungry -> fed       a fetch brought something
 *   hungry -> hungry    it brought nothing: the next one begins when something is accepted, ends, gets due,
 *                       or another engine says so (NOTIFY); at the latest at the next poll
 *
 * A fetch looks at the lanes (by hops through an index: its cost is that of the lanes, not of the jobs),
 * takes those whose function is live on this engine, and leases from them with SKIP LOCKED.
 *
 * Serial lines: only the first job of a lane counts, and the unique index on `lease_group` lets one
 * engine have the lane. When two take the same lane in one moment, one of them fails and looks again.
 *
 * Hot path: one statement per fetch where the lanes are known.
 */
import { toErrorBody } from '@trine/protocol';
import type { Timer } from '../../../../core/clock.js';
import type { Lease } from '../index.js';
import type { PgCore } from './core.js';
import { isUniqueViolation, isUnreachable } from './failures.js';
import { JOB_COLUMNS, jobOf, type JobRow } from './jobs.js';
import type { Lane, PgLease, PgLine } from './line.js';
import { limitsOf, noteStarts, type Limits } from './limits.js';
import { statement, type Query } from './server.js';

/** Lanes in one look. */
const MAX_LANES = 256;
/** For so long the lanes of a busy line are taken as known, in milliseconds. */
const LANES_FRESH_MS = 100;
/** Wait before the next fetch when others hold what is ready, or the server refuses, in milliseconds. */
const CONTENDED_MS = 25;
const REFUSED_MS = 1_000;

/** By hops over the index jobs_ready. */
const READY_LINES = statement(
  'ready_lines',
  `WITH RECURSIVE hop AS (
    (SELECT line FROM trine.jobs WHERE state = 0 ORDER BY line LIMIT 1)
    UNION ALL
    SELECT n.line FROM hop CROSS JOIN LATERAL (
      SELECT line FROM trine.jobs WHERE state = 0 AND line > hop.line ORDER BY line LIMIT 1) n)
  SELECT line FROM hop`,
);

/** The lanes behind $2, by hops over the index jobs_ready. */
const LANES = statement(
  'lanes',
  `WITH RECURSIVE hop AS (
    (SELECT lane, function_id, namespace, rate_key, 1 AS nr FROM trine.jobs
      WHERE line = $1 AND state = 0 AND lane > $2 ORDER BY lane, priority DESC, seq LIMIT 1)
    UNION ALL
    SELECT n.lane, n.function_id, n.namespace, n.rate_key, hop.nr + 1 FROM hop CROSS JOIN LATERAL (
      SELECT lane, function_id, namespace, rate_key FROM trine.jobs
      WHERE line = $1 AND state = 0 AND lane > hop.lane ORDER BY lane, priority DESC, seq LIMIT 1) n
    WHERE hop.nr < $3)
  SELECT lane, function_id, namespace, rate_key FROM hop`,
);

/** The first job of each lane behind $2. By hops over the index jobs_grouped; jobs_group_lease. */
const HEADS = statement(
  'heads',
  `WITH RECURSIVE hop AS (
    (SELECT lane, seq, state, function_id, namespace, rate_key, expires_at, 1 AS nr FROM trine.jobs
      WHERE line = $1 AND group_key IS NOT NULL AND lane > $2 ORDER BY lane, seq LIMIT 1)
    UNION ALL
    SELECT n.lane, n.seq, n.state, n.function_id, n.namespace, n.rate_key, n.expires_at, hop.nr + 1
    FROM hop CROSS JOIN LATERAL (
      SELECT lane, seq, state, function_id, namespace, rate_key, expires_at FROM trine.jobs
      WHERE line = $1 AND group_key IS NOT NULL AND lane > hop.lane ORDER BY lane, seq LIMIT 1) n
    WHERE hop.nr < $3)
  SELECT lane, seq, function_id, namespace, rate_key, state = 0 AND (expires_at IS NULL OR expires_at > trine.now_ms())
    AND NOT EXISTS (SELECT FROM trine.jobs o WHERE o.line = $1 AND o.lease_group = hop.lane) AS ready
  FROM hop`,
);

/** Index jobs_ready per lane: the best of each, lanes in turn within a priority. */
const LEASE = statement(
  'lease',
  `WITH found AS (
    SELECT c.* FROM unnest($4::text[], $5::bigint[]) AS w (lane, most) CROSS JOIN LATERAL (
      SELECT j.seq, j.priority, j.lane FROM trine.jobs j
      WHERE j.line = $1 AND j.state = 0 AND j.lane = w.lane AND (j.expires_at IS NULL OR j.expires_at > (SELECT trine.now_ms()))
      ORDER BY j.priority DESC, j.seq LIMIT least(w.most, $6) FOR UPDATE SKIP LOCKED) c),
  ranked AS (SELECT seq, priority, row_number() OVER (PARTITION BY lane ORDER BY priority DESC, seq) AS turn FROM found),
  picked AS (SELECT seq, turn FROM ranked ORDER BY priority DESC, turn, seq LIMIT $6)
  UPDATE trine.jobs j SET state = 2, owner = $2, token = $3, started_at = (SELECT trine.now_ms()), leases = j.leases + 1
  FROM picked p WHERE j.seq = p.seq AND EXISTS (SELECT FROM trine.engines WHERE id = $2)
  RETURNING ${JOB_COLUMNS}, p.turn`,
);

/** Primary key; jobs_group_lease. */
const LEASE_HEADS = statement(
  'lease_heads',
  `WITH picked AS (
    SELECT j.seq FROM trine.jobs j WHERE j.seq = ANY ($4::bigint[]) AND j.state = 0
    ORDER BY j.seq LIMIT $5 FOR UPDATE SKIP LOCKED)
  UPDATE trine.jobs j SET state = 2, owner = $2, token = $3, started_at = (SELECT trine.now_ms()), leases = j.leases + 1, lease_group = j.lane
  FROM picked p WHERE j.seq = p.seq AND EXISTS (SELECT FROM trine.engines WHERE id = $2)
    AND NOT EXISTS (SELECT FROM trine.jobs o WHERE o.line = $1 AND o.lease_group = j.lane)
  RETURNING ${JOB_COLUMNS}, 0 AS turn`,
);

/** Index jobs_leased. */
const RELEASE_LOST = statement(
  'release_lost',
  `UPDATE trine.jobs SET state = 0, lease_group = NULL, leases = leases - 1
   WHERE state = 2 AND owner = $1 AND token = ANY ($2::bigint[]) RETURNING line`,
);

interface LaneRow {
  readonly lane: string;
  readonly seq: number;
  readonly function_id: string;
  readonly namespace: string;
  readonly rate_key: string | null;
  readonly ready: boolean;
}

type LeasedRow = JobRow & { readonly turn: number };

export class Leases {
  readonly #core: PgCore;
  readonly #mayLease: () => boolean;
  readonly #release: (lease: PgLease) => Promise<void>;
  readonly #timers = new Map<PgLine, Timer>();
  #token = 0;
  /** Leases whose answer was lost: the server may have given jobs to them. */
  readonly #lost = new Set<number>();
  #looking = false;
  #lookAgain = false;

  /**
   * @param mayLease - are there few enough ends that are not stored yet?
   * @param release - stores that a job was not started
   */
  constructor(core: PgCore, mayLease: () => boolean, release: (lease: PgLease) => Promise<void>) {
    this.#core = core;
    this.#mayLease = mayLease;
    this.#release = release;
  }

  consume(line: PgLine, concurrency: number): void {
    line.demand = concurrency;
    line.lanesAt = -Infinity;
    if (concurrency === 0) line.hungry = false;
    const tooMany = line.held - concurrency;
    if (tooMany > 0) void this.giveBack(line, tooMany);
    this.wake(line);
  }

  reserve(line: PgLine): Lease | undefined {
    const core = this.#core;
    if (core.draining || core.stopped || line.paused || !this.#mayLease()) return undefined;
    for (;;) {
      const lease = line.atHand.shift();
      if (lease === undefined) break;
      const { functionId, namespace } = lease.job;
      if (core.events.missing(line, functionId, namespace) === undefined) return lease;
      line.lanesAt = -Infinity;
      void this.#return(line, [lease]);
    }
    line.hungry = true;
    this.wake(line);
    return undefined;
  }

  /** Something of this line may be ready. */
  wake(line: PgLine, lanesChanged = false): void {
    if (lanesChanged) line.lanesAt = -Infinity;
    if (line.fetching) line.again = true;
    else if (line.hungry && this.#want(line) > 0) void this.#feed(line);
  }

  /** Wakes the lines that have something ready: one question, however many lines wait. */
  async look(): Promise<void> {
    if (this.#looking) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = true;
    try {
      do {
        this.#lookAgain = false;
        for (const { line: id } of await this.#core.server.query<{ readonly line: number }>(READY_LINES)) {
          const line = this.#core.linesById.get(id);
          if (line !== undefined) this.wake(line, true);
        }
      } while (this.#lookAgain);
    } catch (error) {
      if (this.#core.stopped || isUnreachable(error)) return;
      this.#core.host.log.error('ready jobs could not be looked for: trying again', {
        error: toErrorBody(error).message,
      });
    } finally {
      this.#looking = false;
    }
  }

  /** Gives jobs back that are at hand: all, or so many. */
  async giveBack(line: PgLine, most = Infinity): Promise<void> {
    const leases = [...line.atHand].slice(-Math.min(most, line.atHand.size));
    for (const lease of leases) line.atHand.take((each) => each === lease);
    if (leases.length > 0) await this.#return(line, leases);
  }

  /**
   * Gives back what was leased by statements whose answers were lost: nobody here knows of it. A statement that the
   * server carries out later still is made up for by `Upkeep`.
   */
  async releaseLost(): Promise<void> {
    const core = this.#core;
    const tokens = [...this.#lost];
    if (tokens.length === 0) return;
    const rows = await core.server.query<{ readonly line: number }>(RELEASE_LOST, [core.owner, tokens]);
    for (const token of tokens) this.#lost.delete(token);
    for (const { line: id } of rows) {
      const line = core.linesById.get(id);
      if (line !== undefined) this.wake(line, true);
    }
    core.tell(rows.map(({ line }) => line));
  }

  stop(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  #want(line: PgLine): number {
    const core = this.#core;
    const may = core.server.isReady && !core.draining && !core.stopped && !line.paused && this.#mayLease();
    return may && line.id !== undefined ? line.demand - line.held : 0;
  }

  async #feed(line: PgLine): Promise<void> {
    line.fetching = true;
    try {
      do {
        line.again = false;
        const want = this.#want(line);
        if (want <= 0) break;
        const leases = line.serial ? await this.#fetchSerial(line, want) : await this.#fetch(line, want);
        this.#keep(line, leases);
      } while (line.again && line.hungry);
    } catch (error) {
      this.#failed(line, error);
    }
    line.fetching = false;
    if (line.atHand.size > 0) this.#core.events.ready(line);
  }

  #keep(line: PgLine, leases: readonly PgLease[]): void {
    if (leases.length === 0) return;
    line.held += leases.length;
    line.hungry = false;
    for (const lease of leases) {
      line.atHand.push(lease);
      this.#core.leases.set(lease.job.seq, lease);
    }
    // It may have been told to stop meanwhile.
    const core = this.#core;
    if (core.draining || line.paused) void this.giveBack(line);
    else if (line.held > line.demand) void this.giveBack(line, line.held - line.demand);
  }

  #failed(line: PgLine, error: unknown): void {
    if (this.#core.stopped || isUnreachable(error)) return;
    this.#core.host.log.error('jobs could not be leased: trying again', {
      [line.kind === 'queue' ? 'queue' : 'topic']: line.name,
      error: toErrorBody(error).message,
    });
    this.#later(line, REFUSED_MS);
  }

  async #fetch(line: PgLine, want: number): Promise<readonly PgLease[]> {
    const { host, server } = this.#core;
    if (line.lanes.length > 0 && host.clock.monotonic() - line.lanesAt < LANES_FRESH_MS) {
      const leases = await this.#lease(line, this.#live(line, line.lanes), want);
      if (leases.length === want) return leases;
      line.lanesAt = -Infinity; // the rest may lie in lanes that are new: the next fetch looks
      if (leases.length > 0) return leases;
    }
    let ready = false;
    const leases = await this.#inPages(line, async (after) => {
      const rows = await server.query<LaneRow>(LANES, [line.id, after, MAX_LANES]);
      line.lanes = rows.map(laneOf);
      line.lanesAt = host.clock.monotonic();
      const live = this.#live(line, line.lanes);
      ready ||= live.length > 0;
      return { rows, leases: await this.#lease(line, live, want) };
    });
    // Others have what is ready in their hands, for a moment.
    if (leases.length === 0 && ready && !line.limited) this.#later(line, CONTENDED_MS);
    return leases;
  }

  #fetchSerial(line: PgLine, want: number): Promise<readonly PgLease[]> {
    return this.#inPages(line, async (after) => {
      const rows = await this.#core.server.query<LaneRow>(HEADS, [line.id, after, MAX_LANES]);
      const runnable = rows.filter(({ ready }) => ready);
      const live = new Set(this.#live(line, runnable.map(laneOf)).map(({ lane }) => lane));
      const heads = runnable.filter(({ lane }) => live.has(lane));
      return { rows, leases: heads.length === 0 ? [] : await this.#leaseHeads(line, heads, want) };
    });
  }

  /** Looks at lanes page by page, once around from where the last look ended, until one has something. */
  async #inPages(
    line: PgLine,
    look: (after: string) => Promise<{ readonly rows: readonly LaneRow[]; readonly leases: readonly PgLease[] }>,
  ): Promise<readonly PgLease[]> {
    const start = line.cursor;
    let after = start;
    for (let wrapped = start === ''; ;) {
      const { rows, leases } = await look(after);
      const isPage = rows.length === MAX_LANES;
      after = isPage ? (rows.at(-1) as LaneRow).lane : '';
      line.cursor = after;
      const isRound = isPage ? wrapped && start !== '' && after >= start : wrapped;
      if (leases.length > 0 || isRound) return leases;
      if (!isPage) wrapped = true;
    }
  }

  #live(line: PgLine, lanes: readonly Lane[]): readonly Lane[] {
    const { events } = this.#core;
    const known = new Map<string, boolean>();
    return lanes.filter(({ functionId, namespace }) => {
      const key = `${namespace}\u0000${functionId}`;
      let live = known.get(key);
      if (live === undefined) known.set(key, (live = events.missing(line, functionId, namespace) === undefined));
      return live;
    });
  }

  async #lease(line: PgLine, lanes: readonly Lane[], want: number): Promise<readonly PgLease[]> {
    if (lanes.length === 0) return [];
    const token = ++this.#token;
    const take = async (query: Query, limits: Limits | undefined): Promise<readonly PgLease[]> => {
      const most = limits === undefined ? want : Math.min(want, limits.total);
      const names = lanes.map(({ lane }) => lane);
      const each = lanes.map(({ rateKey }) => limits?.ofKey(rateKey) ?? most);
      const { owner } = this.#core;
      const rows = await query<LeasedRow>(LEASE, [line.id, owner, token, names, each, most]);
      rows.sort((a, b) => b.priority - a.priority || a.turn - b.turn || a.seq - b.seq);
      return rows.map((row) => this.#leaseOf(line, row, owner, token));
    };
    return this.#noted(token, this.#limited(line, lanes, take));
  }

  async #leaseHeads(line: PgLine, heads: readonly LaneRow[], want: number): Promise<readonly PgLease[]> {
    const token = ++this.#token;
    const take = async (query: Query, limits: Limits | undefined): Promise<readonly PgLease[]> => {
      const left = new Map<string, number>();
      const seqs = heads
        .filter(({ rate_key: key }) => {
          if (limits === undefined || key === null) return true;
          const more = left.get(key) ?? limits.ofKey(key);
          left.set(key, more - 1);
          return more > 0;
        })
        .map(({ seq }) => seq);
      const most = limits === undefined ? want : Math.min(want, limits.total);
      const { owner } = this.#core;
      const rows = await query<LeasedRow>(LEASE_HEADS, [line.id, owner, token, seqs, most]);
      rows.sort((a, b) => a.seq - b.seq);
      return rows.map((row) => this.#leaseOf(line, row, owner, token));
    };
    try {
      return await this.#noted(token, this.#limited(line, heads.map(laneOf), take));
    } catch (error) {
      if (!isUniqueViolation(error)) throw error;
      this.#later(line, CONTENDED_MS);
      return [];
    }
  }

  async #noted<T>(token: number, leasing: Promise<T>): Promise<T> {
    try {
      return await leasing;
    } catch (error) {
      if (isUnreachable(error)) this.#lost.add(token);
      throw error;
    }
  }

  /** With limits over all engines: their counts are read and changed under a lock on the line. */
  async #limited(
    line: PgLine,
    lanes: readonly Lane[],
    take: (query: Query, limits: Limits | undefined) => Promise<readonly PgLease[]>,
  ): Promise<readonly PgLease[]> {
    const { server } = this.#core;
    if (!line.limited) return take(server.query, undefined);
    let againMs: number | undefined;
    const leases = await server.transaction(async (query) => {
      const limits = await limitsOf(query, line, lanes);
      againMs = limits.againMs;
      if (limits.total <= 0) return [];
      const taken = await take(query, limits);
      await noteStarts(query, line, taken, limits.now);
      return taken;
    });
    if (leases.length === 0 && againMs !== undefined) this.#later(line, againMs);
    return leases;
  }

  #leaseOf(line: PgLine, row: LeasedRow, owner: number, token: number): PgLease {
    return { job: jobOf(row), line, owner, token, startedAt: this.#core.host.clock.now() };
  }

  #later(line: PgLine, delayMs: number): void {
    if (this.#timers.has(line)) return;
    const timer = this.#core.host.clock.setTimer(() => {
      this.#timers.delete(line);
      this.wake(line, true);
    }, delayMs);
    this.#timers.set(line, timer);
  }

  #return(line: PgLine, leases: readonly PgLease[]): Promise<unknown> {
    line.held -= leases.length;
    return Promise.all(leases.map((lease) => this.#release(lease)));
  }
}

function laneOf(row: LaneRow): Lane {
  return {
    lane: row.lane,
    functionId: row.function_id,
    namespace: row.namespace,
    rateKey: row.rate_key ?? undefined,
  };
}
