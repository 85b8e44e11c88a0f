/**
 * The queue's SQL. Runs inside the storage thread; the adapter beside it names the operations.
 *
 * A *line* is a named queue or a topic's subscription. A *lane* is the part of a line whose jobs stand
 * behind each other: the jobs of one function, or of one group in a fifo line. Lane ids, line ids and
 * sequence numbers (one counter for jobs and messages) are given out by the main thread: there is one
 * writer.
 *
 * What is not here: leases. They live in memory, and what is stored was not ended.
 */
import { defineStore, type Database } from '../../storage/store-module.js';

/** Bytes of payload in one page; a page has at least one job. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

const MIGRATION_1 = `
CREATE TABLE queue_lines (
  id INTEGER PRIMARY KEY,
  is_topic INTEGER NOT NULL,
  name TEXT NOT NULL,
  namespace TEXT NOT NULL,
  function_id TEXT NOT NULL,
  settings TEXT NOT NULL,
  offline_since INTEGER,
  ended_at INTEGER,
  expired INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX queue_lines_identity ON queue_lines (is_topic, name, namespace, function_id);

CREATE TABLE queue_messages (
  id INTEGER PRIMARY KEY,
  topic TEXT NOT NULL,
  receipt TEXT NOT NULL,
  data TEXT NOT NULL,
  size INTEGER NOT NULL,
  traceparent TEXT,
  baggage TEXT,
  created_at INTEGER NOT NULL,
  refs INTEGER NOT NULL
) STRICT;
CREATE INDEX queue_messages_held ON queue_messages (topic, id, size) WHERE refs = 0;

CREATE TABLE queue_jobs (
  seq INTEGER PRIMARY KEY,
  line INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  due INTEGER,
  delay INTEGER,
  receipt TEXT NOT NULL,
  job_id TEXT,
  function_id TEXT NOT NULL,
  namespace TEXT NOT NULL,
  group_key TEXT,
  message INTEGER,
  data TEXT,
  size INTEGER NOT NULL,
  metadata TEXT,
  traceparent TEXT,
  baggage TEXT,
  created_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  backoff_ms INTEGER NOT NULL,
  lost INTEGER NOT NULL,
  redrives INTEGER NOT NULL,
  errors TEXT
) STRICT;
CREATE INDEX queue_jobs_lane ON queue_jobs (lane, seq, size);
CREATE INDEX queue_jobs_due ON queue_jobs (lane, seq, due) WHERE due IS NOT NULL;

CREATE TABLE queue_dead (
  seq INTEGER PRIMARY KEY,
  line INTEGER NOT NULL,
  job_id TEXT NOT NULL,
  receipt TEXT NOT NULL,
  function_id TEXT NOT NULL,
  namespace TEXT NOT NULL,
  group_key TEXT,
  data TEXT NOT NULL,
  size INTEGER NOT NULL,
  metadata TEXT,
  traceparent TEXT,
  baggage TEXT,
  created_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  backoff_ms INTEGER NOT NULL,
  redrives INTEGER NOT NULL,
  errors TEXT,
  error TEXT NOT NULL,
  error_code TEXT NOT NULL,
  failed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX queue_dead_line ON queue_dead (line, failed_at, seq);
CREATE INDEX queue_dead_job ON queue_dead (job_id);
CREATE INDEX queue_dead_receipt ON queue_dead (receipt);
`;

/** A stored job as it travels to the main thread. */
export type JobRow = {
  readonly seq: number;
  readonly receipt: string;
  readonly jobId: string | null;
  readonly functionId: string;
  readonly namespace: string;
  readonly group: string | null;
  readonly message: number | null;
  readonly data: string;
  readonly size: number;
  readonly metadata: string | null;
  readonly traceparent: string | null;
  readonly baggage: string | null;
  readonly createdAt: number;
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly backoffMs: number;
  readonly lost: number;
  readonly redrives: number;
  readonly errors: string | null;
  readonly due: number | null;
};

export type DeadRow = {
  readonly seq: number;
  readonly line: number;
  readonly jobId: string;
  readonly receipt: string;
  readonly functionId: string;
  readonly namespace: string;
  readonly group: string | null;
  readonly data: string;
  readonly attempts: number;
  readonly errors: string | null;
  readonly error: string;
  readonly errorCode: string;
  readonly failedAt: number;
};

/** What `redrive` needs of a dead letter to find its lane. */
export type DeadKey = Pick<DeadRow, 'seq' | 'line' | 'functionId' | 'namespace' | 'group'> & { readonly size: number };

export type LineRow = {
  readonly id: number;
  readonly isTopic: number;
  readonly name: string;
  readonly namespace: string;
  readonly functionId: string;
  readonly settings: string;
  readonly offlineSince: number | null;
  readonly endedAt: number | null;
  readonly expired: number;
};

export type LaneRow = {
  readonly lane: number;
  readonly line: number;
  readonly functionId: string;
  readonly namespace: string;
  readonly group: string | null;
  readonly count: number;
  readonly bytes: number;
  readonly last: number;
};

export type Snapshot = {
  readonly lastSeq: number;
  readonly lastLane: number;
  readonly lines: readonly LineRow[];
  readonly lanes: readonly LaneRow[];
  readonly delayed: readonly { readonly seq: number; readonly lane: number; readonly due: number }[];
  readonly dead: readonly { readonly line: number; readonly count: number }[];
  readonly held: readonly { readonly topic: string; readonly count: number; readonly bytes: number }[];
};

const JOB_COLUMNS = `j.seq, j.receipt, j.job_id AS jobId, j.function_id AS functionId, j.namespace, j.group_key AS "group", j.message,
  coalesce(j.data, m.data) AS data, j.size, j.metadata, coalesce(j.traceparent, m.traceparent) AS traceparent,
  coalesce(j.baggage, m.baggage) AS baggage, j.created_at AS createdAt, j.attempts, j.max_attempts AS maxAttempts,
  j.backoff_ms AS backoffMs, j.lost, j.redrives, j.errors, j.due`;
const JOBS = 'queue_jobs j LEFT JOIN queue_messages m ON m.id = j.message';
const DEAD_COLUMNS = `seq, line, job_id AS jobId, receipt, function_id AS functionId, namespace, group_key AS "group", data, attempts,
  errors, error, error_code AS errorCode, failed_at AS failedAt`;

export default defineStore({
  name: 'queue',
  migrations: [MIGRATION_1],

  writes(db: Database) {
    const putLine = db.prepare(
      `INSERT INTO queue_lines (id, is_topic, name, namespace, function_id, settings, offline_since) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET settings = excluded.settings, offline_since = excluded.offline_since, ended_at = NULL`,
    );
    const lineExists = db.prepare('SELECT 1 FROM queue_lines WHERE id = ?').pluck();
    const setOffline = db.prepare('UPDATE queue_lines SET offline_since = ? WHERE id = ?');
    const setEnded = db.prepare('UPDATE queue_lines SET ended_at = ? WHERE id = ?');
    const addExpired = db.prepare('UPDATE queue_lines SET expired = expired + ? WHERE id = ?');
    const deleteLine = db.prepare(
      'DELETE FROM queue_lines WHERE id = @line AND NOT EXISTS (SELECT 1 FROM queue_dead WHERE line = @line)',
    );
    const insertJob = db.prepare(
      `INSERT INTO queue_jobs (seq, line, lane, receipt, function_id, namespace, group_key, message, data, size, metadata,
         traceparent, baggage, created_at, attempts, max_attempts, backoff_ms, lost, redrives)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 0, 0)`,
    );
    const insertMessage = db.prepare(
      'INSERT INTO queue_messages (id, topic, receipt, data, size, traceparent, baggage, created_at, refs) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
    );
    // Rowid lookups.
    const deleteJob = db.prepare('DELETE FROM queue_jobs WHERE seq = ? RETURNING message').pluck();
    const unref = db.prepare('UPDATE queue_messages SET refs = refs - 1 WHERE id = ? RETURNING refs').pluck();
    const deleteMessage = db.prepare('DELETE FROM queue_messages WHERE id = ?');
    const postpone = db.prepare(
      'UPDATE queue_jobs SET due = ?, delay = ?, attempts = ?, lost = ?, errors = ? WHERE seq = ?',
    );
    const bury = db.prepare(
      `INSERT INTO queue_dead (seq, line, job_id, receipt, function_id, namespace, group_key, data, size, metadata, traceparent,
         baggage, created_at, attempts, max_attempts, backoff_ms, redrives, errors, error, error_code, failed_at)
       SELECT j.seq, j.line, coalesce(j.job_id, ?), j.receipt, j.function_id, j.namespace, j.group_key, coalesce(j.data, m.data), j.size,
         j.metadata, coalesce(j.traceparent, m.traceparent), coalesce(j.baggage, m.baggage), j.created_at, ?, j.max_attempts,
         j.backoff_ms, j.redrives, ?, ?, ?, ?
       FROM ${JOBS} WHERE j.seq = ?`,
    );
    const revive = db.prepare(
      `INSERT INTO queue_jobs (seq, line, lane, receipt, job_id, function_id, namespace, group_key, data, size, metadata,
         traceparent, baggage, created_at, attempts, max_attempts, backoff_ms, lost, redrives)
       SELECT ?, line, ?, receipt, job_id, function_id, namespace, group_key, data, size, metadata, traceparent, baggage,
         created_at, 0, max_attempts, backoff_ms, 0, redrives + 1
       FROM queue_dead WHERE seq = ?`,
    );
    const deleteDead = db.prepare('DELETE FROM queue_dead WHERE seq = ?');
    // Index queue_messages_held.
    const held = db.prepare(
      'SELECT id, receipt, size, created_at AS createdAt FROM queue_messages WHERE topic = ? AND refs = 0 ORDER BY id LIMIT ?',
    );
    const claim = db.prepare('UPDATE queue_messages SET refs = 1 WHERE id = ?');
    const dropHeld = db
      .prepare(
        `DELETE FROM queue_messages WHERE id IN (SELECT id FROM queue_messages WHERE topic = ? AND refs = 0 ORDER BY id)
       AND created_at < ? RETURNING size`,
      )
      .pluck();
    // Index queue_jobs_lane.
    const oldest = db.prepare(
      'SELECT seq, size FROM queue_jobs WHERE lane = ? AND seq > ? AND due IS NULL ORDER BY seq LIMIT ?',
    );

    function end(seq: number): boolean {
      const message = deleteJob.get(seq) as number | null | undefined;
      if (message === undefined) return false;
      if (message !== null && unref.get(message) === 0) deleteMessage.run(message);
      return true;
    }

    return {
      /** Relative delays never grow because the clock was set back while the engine was down. */
      start(now: number): void {
        db.prepare('UPDATE queue_jobs SET due = @now + delay WHERE due IS NOT NULL AND due > @now + delay').run({
          now,
        });
      },

      putLine(
        id: number,
        isTopic: number,
        name: string,
        namespace: string,
        functionId: string,
        settings: string,
        offlineSince: number | null,
      ): void {
        putLine.run(id, isTopic, name, namespace, functionId, settings, offlineSince);
      },

      /** Creates or renews a subscription and gives it what the topic held, under `reserved` numbers from `firstSeq` on. */
      subscribe(
        id: number,
        topic: string,
        namespace: string,
        functionId: string,
        settings: string,
        lane: number,
        firstSeq: number,
        reserved: number,
        maxAttempts: number,
        backoffMs: number,
      ): { readonly count: number; readonly bytes: number } {
        putLine.run(id, 1, topic, namespace, functionId, settings, null);
        let count = 0;
        let bytes = 0;
        for (const message of held.all(topic, reserved) as {
          id: number;
          receipt: string;
          size: number;
          createdAt: number;
        }[]) {
          insertJob.run(
            firstSeq + count,
            id,
            lane,
            message.receipt,
            functionId,
            namespace,
            null,
            message.id,
            null,
            message.size,
            null,
            null,
            null,
            message.createdAt,
            maxAttempts,
            backoffMs,
          );
          claim.run(message.id);
          count++;
          bytes += message.size;
        }
        return { count, bytes };
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

      /** @param deliveries - per subscription: seq, line, lane, receipt, function, namespace, max attempts, backoff */
      publish(
        id: number,
        topic: string,
        receipt: string,
        data: string,
        traceparent: string | null,
        baggage: string | null,
        createdAt: number,
        deliveries: readonly (string | number)[],
      ): void {
        insertMessage.run(
          id,
          topic,
          receipt,
          data,
          data.length,
          traceparent,
          baggage,
          createdAt,
          deliveries.length / DELIVERY_WIDTH,
        );
        for (let i = 0; i < deliveries.length; i += DELIVERY_WIDTH) {
          const [seq, line, lane, own, functionId, namespace, maxAttempts, backoffMs] = deliveries.slice(
            i,
            i + DELIVERY_WIDTH,
          );
          if (lineExists.get(line) === undefined)
            throw new Error(`a subscription of topic '${topic}' could not be stored`);
          insertJob.run(
            seq,
            line,
            lane,
            own,
            functionId,
            namespace,
            null,
            id,
            null,
            data.length,
            null,
            null,
            null,
            createdAt,
            maxAttempts,
            backoffMs,
          );
        }
      },

      /** Ends a job: done, discarded or expired. */
      end,

      expire(line: number, seqs: readonly number[]): void {
        let expired = 0;
        for (const seq of seqs) if (end(seq)) expired++;
        addExpired.run(expired, line);
      },

      /** The oldest jobs of a lane that lie beyond what is in memory. */
      expireStored(
        line: number,
        lane: number,
        after: number,
        limit: number,
      ): { readonly count: number; readonly bytes: number } {
        let bytes = 0;
        const rows = oldest.all(lane, after, limit) as { seq: number; size: number }[];
        for (const row of rows) {
          end(row.seq);
          bytes += row.size;
        }
        addExpired.run(rows.length, line);
        return { count: rows.length, bytes };
      },

      postpone(seq: number, due: number, delay: number, attempts: number, lost: number, errors: string | null): void {
        postpone.run(due, delay, attempts, lost, errors, seq);
      },

      deadLetter(
        seq: number,
        jobId: string,
        attempts: number,
        errors: string | null,
        error: string,
        code: string,
        failedAt: number,
      ): void {
        bury.run(jobId, attempts, errors, error, code, failedAt, seq);
        end(seq);
      },

      /** @param moves - per dead letter: its seq, the new seq, the lane. Answers the new seqs of those that were there. */
      redrive(moves: readonly number[]): number[] {
        const moved: number[] = [];
        for (let i = 0; i < moves.length; i += 3) {
          const [dead, seq, lane] = [moves[i] as number, moves[i + 1] as number, moves[i + 2] as number];
          if (revive.run(seq, lane, dead).changes === 0) continue;
          deleteDead.run(dead);
          moved.push(seq);
        }
        return moved;
      },

      discard(seq: number): boolean {
        return deleteDead.run(seq).changes > 0;
      },

      setOffline(line: number, since: number | null): void {
        setOffline.run(since, line);
      },

      endLine(line: number, at: number): void {
        setEnded.run(at, line);
      },

      /** Forgets a line; it stays while it has dead letters. */
      deleteLine(line: number): boolean {
        return deleteLine.run({ line }).changes > 0;
      },

      dropHeld(topic: string, before: number): { readonly count: number; readonly bytes: number } {
        const sizes = dropHeld.all(topic, before) as number[];
        return { count: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
      },
    };
  },

  reads(db: Database) {
    // Index queue_jobs_lane. Postponed jobs are read by their number when they are due.
    const page = db.prepare(
      `SELECT ${JOB_COLUMNS} FROM ${JOBS} WHERE j.lane = ? AND j.seq > ? AND j.due IS NULL ORDER BY j.seq LIMIT ?`,
    );
    const load = db.prepare(`SELECT ${JOB_COLUMNS} FROM ${JOBS} WHERE j.seq = ?`);
    // Index queue_dead_line.
    const deadKeys = db.prepare(
      `SELECT seq, line, function_id AS functionId, namespace, group_key AS "group", size FROM queue_dead
       WHERE line = ? AND (failed_at, seq) > (?, ?) ORDER BY failed_at, seq LIMIT ?`,
    );
    // Indexes queue_dead_job and queue_dead_receipt.
    const findDead = db.prepare(
      `SELECT seq, line, function_id AS functionId, namespace, group_key AS "group", size FROM queue_dead WHERE job_id = @id OR receipt = @id`,
    );

    function take(rows: IterableIterator<JobRow>): JobRow[] {
      const taken: JobRow[] = [];
      let bytes = 0;
      for (const row of rows) {
        taken.push(row);
        if ((bytes += row.size) >= MAX_PAGE_BYTES) break;
      }
      return taken;
    }

    return {
      snapshot(): Snapshot {
        const one = (sql: string): number => (db.prepare(sql).pluck().get() as number | null) ?? 0;
        return {
          lastSeq: Math.max(
            one('SELECT max(seq) FROM queue_jobs'),
            one('SELECT max(id) FROM queue_messages'),
            one('SELECT max(seq) FROM queue_dead'),
          ),
          lastLane: one('SELECT max(lane) FROM queue_jobs'),
          lines: db
            .prepare(
              `SELECT id, is_topic AS isTopic, name, namespace, function_id AS functionId, settings, offline_since AS offlineSince,
                 ended_at AS endedAt, expired FROM queue_lines ORDER BY id`,
            )
            .all() as LineRow[],
          lanes: db
            .prepare(
              `SELECT l.lane, j.line, j.function_id AS functionId, j.namespace, j.group_key AS "group", l.count, l.bytes, l.last
               FROM (SELECT lane, count(*) AS count, sum(size) AS bytes, min(seq) AS first, max(seq) AS last FROM queue_jobs GROUP BY lane) l
               JOIN queue_jobs j ON j.seq = l.first ORDER BY l.first`,
            )
            .all() as LaneRow[],
          delayed: db
            .prepare('SELECT seq, lane, due FROM queue_jobs WHERE due IS NOT NULL')
            .all() as Snapshot['delayed'],
          dead: db.prepare('SELECT line, count(*) AS count FROM queue_dead GROUP BY line').all() as Snapshot['dead'],
          held: db
            .prepare(
              'SELECT topic, count(*) AS count, sum(size) AS bytes FROM queue_messages WHERE refs = 0 GROUP BY topic',
            )
            .all() as Snapshot['held'],
        };
      },

      page(lane: number, after: number, limit: number): JobRow[] {
        return take(page.iterate(lane, after, limit) as IterableIterator<JobRow>);
      },

      load(seqs: readonly number[]): JobRow[] {
        const rows: JobRow[] = [];
        for (const seq of seqs) {
          const row = load.get(seq) as JobRow | undefined;
          if (row !== undefined) rows.push(row);
        }
        return rows;
      },

      /** Dead letters of some lines, newest first. */
      browseDead(lines: readonly number[], offset: number, limit: number): DeadRow[] {
        const marks = lines.map(() => '?').join(', ');
        return db
          .prepare(
            `SELECT ${DEAD_COLUMNS} FROM queue_dead WHERE line IN (${marks}) ORDER BY failed_at DESC, seq DESC LIMIT ? OFFSET ?`,
          )
          .all(...lines, limit, offset) as DeadRow[];
      },

      /** Keys of a line's dead letters, oldest first. */
      deadKeys(line: number, limit: number): DeadKey[] {
        return deadKeys.all(line, -1, -1, limit) as DeadKey[];
      },

      findDead(id: string): DeadKey[] {
        return findDead.all({ id }) as DeadKey[];
      },
    };
  },
});

/** Values per delivery in `publish`. */
export const DELIVERY_WIDTH = 8;
