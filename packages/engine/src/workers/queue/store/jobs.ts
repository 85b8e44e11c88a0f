/** Jobs: taken in, postponed, gathered; and read page by page. */
import type { Database, StoreTools } from '../../../storage/store-module.js';
import { seqOf } from '../adapters/builtin/receipt.js';
import { INSERT_JOB, INSERT_WITH_OPTIONS } from './inserts.js';
import type { DueRow, ExpiryRow, JobRow, OptionsJob } from './rows.js';
import { JOB_COLUMNS, JOBS } from './schema.js';
import { soundness } from './soundness.js';

/** Bytes of payload in one page; a page has at least one job. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

export function jobWrites(db: Database) {
  const insertJob = db.prepare(INSERT_JOB);
  const insertWithOptions = db.prepare(INSERT_WITH_OPTIONS);
  // Rowid, then the indexes queue_jobs_lookup, queue_dead_receipt and queue_ended_receipt.
  const hasJob = db.prepare(
    'SELECT 1 FROM queue_jobs WHERE seq = ? AND receipt = ? UNION ALL SELECT 1 FROM queue_jobs WHERE lookup = ?',
  );
  const hasEnded = db.prepare(
    'SELECT 1 FROM queue_dead WHERE receipt = @receipt UNION ALL SELECT 1 FROM queue_ended WHERE receipt = @receipt',
  );
  // Primary key of queue_unique.
  const uniqueOwner = db.prepare('SELECT receipt, until FROM queue_unique WHERE line = ? AND key = ?');
  const takeUnique = db.prepare('INSERT OR REPLACE INTO queue_unique (line, key, receipt, until) VALUES (?, ?, ?, ?)');
  const dropUnique = db.prepare('DELETE FROM queue_unique WHERE until < ?');
  const postpone = db.prepare(
    'UPDATE queue_jobs SET due = ?, delay = ?, attempts = ?, lost = ?, errors = ? WHERE seq = ?',
  );
  // Index queue_jobs_lane.
  const join = db.prepare('UPDATE queue_jobs SET lane = ? WHERE lane = ?');
  const regroup = db.prepare("UPDATE queue_jobs SET lane = ?, group_key = '' WHERE lane = ?");

  function isWaiting(receipt: string): boolean {
    return hasJob.get(seqOf(receipt), receipt, receipt) !== undefined;
  }

  /** @returns the receipt of the job that is there already, by its own receipt or its unique key, or null when this one was stored */
  function acceptWithOptions(job: OptionsJob, now: number): string | null {
    if (job.lookup !== null && (isWaiting(job.lookup) || hasEnded.get({ receipt: job.lookup }) !== undefined)) {
      return job.lookup;
    }
    if (job.uniqueKey !== null) {
      const owner = uniqueOwner.get(job.line, job.uniqueKey) as { receipt: string; until: number | null } | undefined;
      // A job that went to the quarantine has left its key behind.
      if (owner !== undefined && (owner.until === null ? isWaiting(owner.receipt) : owner.until > now)) {
        return owner.receipt;
      }
      takeUnique.run(job.line, job.uniqueKey, job.receipt, job.uniqueUntil);
    }
    insertWithOptions.run(
      job.seq,
      job.line,
      job.lane,
      job.receipt,
      job.functionId,
      job.namespace,
      job.group,
      null,
      job.data,
      job.data.length,
      job.metadata,
      job.traceparent,
      job.baggage,
      job.createdAt,
      job.maxAttempts,
      job.backoffMs,
      job.due,
      job.delay,
      job.options,
      job.expiresAt,
      job.lookup,
    );
    return null;
  }

  return {
    /** Relative delays never grow because the clock was set back while the engine was down. */
    start(now: number): void {
      db.prepare('UPDATE queue_jobs SET due = @now + delay WHERE due IS NOT NULL AND due > @now + delay').run({
        now,
      });
    },

    accept(
      seq: number,
      line: number,
      lane: number,
      receipt: string,
      functionId: string,
      namespace: string,
      group: string | null,
      data: string,
      metadata: string | null,
      traceparent: string | null,
      baggage: string | null,
      createdAt: number,
      maxAttempts: number,
      backoffMs: number,
    ): void {
      insertJob.run(
        seq,
        line,
        lane,
        receipt,
        functionId,
        namespace,
        group,
        null,
        data,
        data.length,
        metadata,
        traceparent,
        baggage,
        createdAt,
        maxAttempts,
        backoffMs,
      );
    },

    acceptWithOptions,

    /** All or nothing: an operation that throws is undone as a whole. */
    acceptMany(jobs: readonly OptionsJob[], now: number): (string | null)[] {
      return jobs.map((job) => acceptWithOptions(job, now));
    },

    postpone(seq: number, due: number, delay: number, attempts: number, lost: number, errors: string | null): void {
      postpone.run(due, delay, attempts, lost, errors, seq);
    },

    /** A queue became fifo: the jobs of its lanes without a group are one group, in the order of their numbers. */
    gather(into: number, lanes: readonly number[]): void {
      for (const lane of lanes) regroup.run(into, lane);
    },

    /** Lanes that are parts of one order become one. */
    join(into: number, lanes: readonly number[]): void {
      for (const lane of lanes) join.run(into, lane);
    },

    dropUnique(now: number): void {
      dropUnique.run(now);
    },
  };
}

export function jobReads(db: Database, tools: StoreTools) {
  const { jobDamage, isSound } = soundness(db, tools);
  // Index queue_jobs_lane. Postponed jobs are read by their number when they are due.
  const page = db.prepare(
    `SELECT ${JOB_COLUMNS}, ${jobDamage} FROM ${JOBS} WHERE j.lane = ? AND j.seq > ? AND j.due IS NULL ORDER BY j.seq LIMIT ?`,
  );
  const place = db.prepare('SELECT seq, lane, due, delay FROM queue_jobs WHERE seq = ?');
  const load = db.prepare(`SELECT ${JOB_COLUMNS}, ${jobDamage} FROM ${JOBS} WHERE j.seq = ?`);
  // Index queue_jobs_time.
  const due = db.prepare(
    `SELECT seq, lane, due, delay FROM queue_jobs
     WHERE due IS NOT NULL AND (delay IS NULL) = ? AND (due, seq) > (?, ?) ORDER BY due, seq LIMIT ?`,
  );
  // Index queue_jobs_expiry.
  const expiries = db.prepare(
    `SELECT seq, expires_at AS at FROM queue_jobs
     WHERE expires_at IS NOT NULL AND (expires_at, seq) > (?, ?) ORDER BY expires_at, seq LIMIT ?`,
  );
  // Index queue_jobs_due.
  const postponed = db.prepare(
    'SELECT seq, lane, due, delay FROM queue_jobs WHERE lane = ? AND seq > ? AND due IS NOT NULL ORDER BY seq LIMIT ?',
  );

  function take(rows: IterableIterator<JobRow>): JobRow[] {
    const taken: JobRow[] = [];
    let bytes = 0;
    for (const row of rows) {
      isSound(row);
      taken.push(row);
      if ((bytes += row.size) >= MAX_PAGE_BYTES) break;
    }
    return taken;
  }

  return {
    page(lane: number, after: number, limit: number): JobRow[] {
      return take(page.iterate(lane, after, limit) as IterableIterator<JobRow>);
    },

    /** The next postponed jobs after one of them, by one of the clocks: 1 = the wall's. */
    due(wall: number, afterDue: number, afterSeq: number, limit: number): DueRow[] {
      return due.all(wall, afterDue, afterSeq, limit) as DueRow[];
    },

    /** The next jobs that expire after one of them. */
    expiries(afterAt: number, afterSeq: number, limit: number): ExpiryRow[] {
      return expiries.all(afterAt, afterSeq, limit) as ExpiryRow[];
    },

    /** Postponed jobs of a lane, by their number. */
    postponed(lane: number, after: number, limit: number): DueRow[] {
      return postponed.all(lane, after, limit) as DueRow[];
    },

    /** Which of some jobs are stored, and when they are due. */
    places(seqs: readonly number[]): DueRow[] {
      return seqs.flatMap((seq) => (place.get(seq) as DueRow | undefined) ?? []);
    },

    load(seqs: readonly number[]): JobRow[] {
      const rows: JobRow[] = [];
      for (const seq of seqs) {
        const row = load.get(seq) as JobRow | undefined;
        if (row !== undefined && isSound(row)) rows.push(row);
      }
      return rows;
    },
  };
}
