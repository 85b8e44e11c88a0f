/**
 * What goes on by time: this engine's lease, jobs that get due or expire, engines that died.
 *
 * An engine in table `engines`:
 *
 *   (connected) -> alive     a row with `lease_until`
 *   alive -> alive           renewed, by the server's clock
 *   alive -> lapsed          not renewed in time: whoever notices deletes the row, and jobs whose owner is gone
 *                            are ready again
 *   lapsed -> alive          it is back: under a new number. What it ran may run elsewhere; its answers count
 *                            where nobody leased the job since
 *
 * One timer for what is due next, and a poll every few seconds that makes up for every notification
 * and timer that was missed.
 */
import { toErrorBody } from '@trine/protocol';
import type { Timer } from '../../../../core/clock.js';
import type { PgCore } from './core.js';
import { isUnreachable } from './failures.js';
import type { Leases } from './leases.js';
import { statement, type Query } from './server.js';

/** The safety poll, in milliseconds: poolers may not pass on notifications. */
export const POLL_EVERY_MS = 5_000;
/** The lease is renewed this many times before it runs out. */
const RENEWALS_PER_LEASE = 3;
/** Jobs in one statement. */
const CHUNK = 1_000;
/** Shortest sleep until the next due job, in milliseconds. */
const MIN_SLEEP_MS = 5;
/** A lease that this engine does not know, because the answer was lost, is released after this time, in milliseconds: later than any statement may take. */
const UNKNOWN_AFTER_MS = 15_000;

const ENTER = statement(
  'enter',
  'INSERT INTO trine.engines (name, lease_until) VALUES ($1, trine.now_ms() + $2) RETURNING id',
);
/** Primary key. */
const RENEW = statement(
  'renew',
  'UPDATE trine.engines SET lease_until = trine.now_ms() + $2 WHERE id = $1 RETURNING (SELECT count(*) FROM trine.engines) AS engines',
);
const LEAVE = statement('leave', 'DELETE FROM trine.engines WHERE id = $1');
const BURY = statement(
  'bury',
  `DELETE FROM trine.engines WHERE id IN (
     SELECT id FROM trine.engines WHERE lease_until < (SELECT trine.now_ms()) AND id <> $1 FOR UPDATE SKIP LOCKED)`,
);
/** Index jobs_leased. */
const ORPHANS = statement(
  'orphans',
  `UPDATE trine.jobs j SET state = 0, lease_group = NULL
   WHERE j.state = 2 AND NOT EXISTS (SELECT FROM trine.engines e WHERE e.id = j.owner) RETURNING j.line`,
);
/** Index jobs_leased. */
const UNKNOWN = statement(
  'unknown',
  `UPDATE trine.jobs j SET state = 0, lease_group = NULL
   WHERE j.state = 2 AND j.owner = $1 AND j.started_at < trine.now_ms() - $3 AND NOT j.seq = ANY ($2::bigint[]) RETURNING j.line`,
);
/** Index jobs_leased. */
const RELEASE_ALL = statement(
  'release_all',
  'UPDATE trine.jobs SET state = 0, lease_group = NULL WHERE state = 2 AND owner = $1 RETURNING line',
);
/** Index jobs_delayed. */
const PROMOTE = statement(
  'promote',
  `UPDATE trine.jobs j SET state = 0, due = NULL WHERE j.seq IN (
     SELECT seq FROM trine.jobs WHERE state = 1 AND due <= (SELECT trine.now_ms()) ORDER BY due LIMIT ${CHUNK} FOR UPDATE SKIP LOCKED)
   RETURNING j.line`,
);
/** Index jobs_expiring. */
const EXPIRE = statement(
  'expire',
  `DELETE FROM trine.jobs j WHERE j.seq IN (
     SELECT seq FROM trine.jobs WHERE expires_at <= (SELECT trine.now_ms()) AND state < 2 LIMIT ${CHUNK} FOR UPDATE SKIP LOCKED)
   RETURNING j.line, j.receipt, j.function_id, j.namespace, j.attempts, j.created_at`,
);
/** Indexes jobs_delayed and jobs_expiring. */
const NEXT = statement(
  'next',
  `SELECT least((SELECT min(due) FROM trine.jobs WHERE state = 1),
     (SELECT min(expires_at) FROM trine.jobs WHERE expires_at IS NOT NULL AND state < 2)) - trine.now_ms() AS wait`,
);
/** Index jobs_ready: jobs that came while their queue became fifo. */
const LOOSE = statement(
  'loose',
  `SELECT trine.arrange(l.id, true) FROM trine.lines l WHERE l.serial
     AND EXISTS (SELECT FROM trine.jobs j WHERE j.line = l.id AND j.state = 0 AND j.lane < 'g')`,
);
/** Subscriptions whose engines are gone. */
const OFFLINE = statement(
  'offline',
  `UPDATE trine.lines l SET offline_since = trine.now_ms() WHERE l.kind = 'subscription' AND l.ended_at IS NULL
     AND l.offline_since IS NULL AND NOT EXISTS (SELECT FROM trine.consumers c WHERE c.line = l.id)`,
);

interface ExpiredRow {
  readonly line: number;
  readonly receipt: string;
  readonly function_id: string;
  readonly namespace: string;
  readonly attempts: number;
  readonly created_at: number;
}

export class Upkeep {
  readonly #core: PgCore;
  readonly #leases: Leases;
  readonly #poll: () => Promise<void>;
  readonly #entered: () => Promise<void>;
  #timer: Timer | undefined;
  #dueAt = Infinity;
  #poller: Timer | undefined;
  #renewer: Timer | undefined;
  #running: Promise<void> | undefined;
  #again = false;

  /**
   * @param entered - this engine has a new number: what it serves is to be entered again
   * @param poll - what else is to be looked at from time to time
   */
  constructor(core: PgCore, leases: Leases, entered: () => Promise<void>, poll: () => Promise<void>) {
    this.#core = core;
    this.#leases = leases;
    this.#entered = entered;
    this.#poll = poll;
  }

  /** Renews this engine's lease, or makes it anew. Answers whether it has a new number. */
  async enter(query: Query): Promise<boolean> {
    const core = this.#core;
    const { lease_ms: leaseMs } = core.config;
    const [renewed] = await query<{ readonly engines: number }>(RENEW, [core.owner, leaseMs]);
    if (renewed !== undefined) {
      core.others = renewed.engines - 1;
      return false;
    }
    const [entered] = await query<{ readonly id: number }>(ENTER, [`${process.pid}`, leaseMs]);
    if (core.owner !== 0) {
      core.host.log.warn('the lease of this engine ran out: what it ran may run elsewhere too', {
        engine: entered?.id,
      });
      for (const line of core.lines.values()) void this.#leases.giveBack(line);
    }
    core.owner = entered?.id ?? 0;
    core.others = 1; // until the next renewal counts them
    return true;
  }

  start(): void {
    this.#startPolls();
    this.lookNow();
  }

  /** Does at once what the next poll would do. */
  lookNow(): void {
    void this.#pollOnce().catch((error: unknown) => this.#failed(error));
  }

  /** Something gets due or expires after so long. */
  soon(delayMs: number): void {
    const { clock } = this.#core.host;
    const at = clock.monotonic() + delayMs;
    if (at >= this.#dueAt || this.#core.stopped) return;
    this.#timer?.cancel();
    this.#dueAt = at;
    this.#timer = clock.setTimer(() => {
      this.#dueAt = Infinity;
      void this.run();
    }, delayMs);
  }

  /** Promotes and expires what is due. */
  run(): Promise<void> {
    if (this.#running !== undefined) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (!this.#again) return;
      this.#again = false;
      void this.run();
    });
    return this.#running;
  }

  /** Gives everything back and leaves. */
  async leave(): Promise<void> {
    const core = this.#core;
    const rows = await core.server.query<{ readonly line: number }>(RELEASE_ALL, [core.owner]);
    await core.server.query(LEAVE, [core.owner]);
    await core.server.query(OFFLINE);
    if (core.others > 0) await core.notify([...new Set(rows.map(({ line }) => line))].slice(0, CHUNK / 2).join(','));
  }

  stop(): void {
    this.#timer?.cancel();
    this.#poller?.cancel();
    this.#renewer?.cancel();
  }

  async renew(): Promise<void> {
    const core = this.#core;
    if (!core.server.isReady) return;
    if (await this.enter(core.server.query)) await this.#entered();
  }

  async #run(): Promise<void> {
    const { server } = this.#core;
    if (!server.isReady || this.#core.stopped) return;
    try {
      const woken = new Set<number>();
      for (;;) {
        const rows = await server.query<{ readonly line: number }>(PROMOTE);
        for (const { line } of rows) woken.add(line);
        if (rows.length < CHUNK) break;
      }
      for (;;) {
        const rows = await server.query<ExpiredRow>(EXPIRE);
        for (const row of rows) this.#expired(row, woken);
        if (rows.length < CHUNK) break;
      }
      this.#wake(woken);
      const [next] = await server.query<{ readonly wait: number | null }>(NEXT);
      if (typeof next?.wait === 'number') this.soon(Math.max(MIN_SLEEP_MS, next.wait));
    } catch (error) {
      this.#failed(error);
    }
  }

  #expired(row: ExpiredRow, woken: Set<number>): void {
    woken.add(row.line);
    const line = this.#core.linesById.get(row.line);
    if (line === undefined) return;
    const { receipt, function_id: functionId, namespace, attempts, created_at: createdAt } = row;
    this.#core.record(line, { receipt, functionId, namespace, attempts, createdAt }, 'expired');
  }

  #wake(ids: ReadonlySet<number>): void {
    const { linesById } = this.#core;
    for (const id of ids) {
      const line = linesById.get(id);
      if (line !== undefined) this.#leases.wake(line, true);
    }
    this.#core.tell(ids);
  }

  #startPolls(): void {
    const core = this.#core;
    const { clock } = core.host;
    const every = (ms: number, run: () => Promise<void>, keep: (timer: Timer) => void): void => {
      const next = (): void => {
        if (core.stopped) return;
        const again = (): void =>
          void run()
            .catch((error: unknown) => this.#failed(error))
            .finally(next);
        keep(clock.setTimer(again, ms));
      };
      next();
    };
    every(
      core.config.lease_ms / RENEWALS_PER_LEASE,
      () => this.renew(),
      (timer) => (this.#renewer = timer),
    );
    every(
      Math.min(POLL_EVERY_MS, core.config.lease_ms),
      () => this.#pollOnce(),
      (timer) => (this.#poller = timer),
    );
  }

  async #pollOnce(): Promise<void> {
    const core = this.#core;
    const { server } = core;
    await server.ping();
    if (!server.isReady) return;
    await this.#leases.releaseLost();
    await server.query(BURY, [core.owner]);
    const woken = new Set<number>();
    for (const { line } of await server.query<{ readonly line: number }>(ORPHANS)) woken.add(line);
    const known = [...core.leases.values()].map(({ job }) => job.seq);
    for (const { line } of await server.query<{ readonly line: number }>(UNKNOWN, [
      core.owner,
      known,
      UNKNOWN_AFTER_MS,
    ]))
      woken.add(line);
    await server.query(OFFLINE);
    await server.query(LOOSE);
    this.#wake(woken);
    await this.run();
    await this.#poll();
    await this.#leases.look();
  }

  #failed(error: unknown): void {
    if (this.#core.stopped || isUnreachable(error)) return;
    this.#core.host.log.error('due jobs could not be looked at: trying again', { error: toErrorBody(error).message });
  }
}
