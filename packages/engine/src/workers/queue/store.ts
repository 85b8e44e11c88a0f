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
import {
  damagedRowError,
  defineStore,
  isDamaged,
  type CheckedTable,
  type Database,
} from '../../storage/store-module.js';

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

/**
 * What a job may ask for, pausing, unique keys, ended jobs on record, messages that stay for a replay.
 *
 * `lookup` is the receipt where it does not tell the job's number: a client chose it, or the job was
 * redriven under a new number. `refs` of a message: 0 = held for the first subscriber, -1 = delivered
 * and kept until `keep_until`.
 */
const MIGRATION_2 = `
ALTER TABLE queue_jobs ADD COLUMN options TEXT;
ALTER TABLE queue_jobs ADD COLUMN expires_at INTEGER;
ALTER TABLE queue_jobs ADD COLUMN lookup TEXT;
CREATE INDEX queue_jobs_lookup ON queue_jobs (lookup) WHERE lookup IS NOT NULL;
CREATE INDEX queue_jobs_expiry ON queue_jobs (expires_at) WHERE expires_at IS NOT NULL;
UPDATE queue_jobs SET lookup = receipt;

ALTER TABLE queue_dead ADD COLUMN options TEXT;
ALTER TABLE queue_lines ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;

ALTER TABLE queue_messages ADD COLUMN keep_until INTEGER;
CREATE INDEX queue_messages_kept ON queue_messages (topic, id) WHERE keep_until IS NOT NULL;
CREATE TABLE queue_topics (topic TEXT PRIMARY KEY, kept_since INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE queue_unique (
  line INTEGER NOT NULL,
  key TEXT NOT NULL,
  receipt TEXT NOT NULL,
  until INTEGER,
  PRIMARY KEY (line, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_unique_until ON queue_unique (until) WHERE until IS NOT NULL;

CREATE TABLE queue_ended (
  seq INTEGER PRIMARY KEY,
  line INTEGER NOT NULL,
  receipt TEXT NOT NULL,
  state TEXT NOT NULL,
  function_id TEXT NOT NULL,
  namespace TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  errors TEXT,
  created_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL
) STRICT;
CREATE INDEX queue_ended_line ON queue_ended (line, ended_at, seq);
CREATE INDEX queue_ended_receipt ON queue_ended (receipt);
`;

/** Postponed jobs by their time: memory holds the next ones only. `delay` is null where the time is one of the wall clock. */
const MIGRATION_4 = `
CREATE INDEX queue_jobs_time ON queue_jobs ((delay IS NULL), due, seq) WHERE due IS NOT NULL;
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
  /** Null where `due` is a time of the wall clock. */
  readonly delay: number | null;
  /** JSON text of `JobExtras`. */
  readonly options: string | null;
  readonly line: number;
  readonly lane: number;
  /** Not 0: it is on its way to the quarantine, and `data` may be null. */
  readonly damaged: number;
};

/** What is left of a job that ended without running, for those who ask for its receipt. */
export type EndedRow = Pick<JobRow, 'seq' | 'receipt' | 'functionId' | 'namespace' | 'createdAt' | 'attempts'> & {
  readonly size: number;
};

/** An ended job on record. */
export type KeptRow = Pick<JobRow, 'receipt' | 'functionId' | 'namespace' | 'createdAt' | 'attempts' | 'errors'> & {
  readonly line: number;
  readonly state: string;
  readonly endedAt: number;
};

export type Found =
  | { readonly kind: 'job'; readonly job: JobRow }
  | { readonly kind: 'dead'; readonly dead: DeadRow }
  | { readonly kind: 'ended'; readonly ended: KeptRow };

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
  readonly size: number;
  readonly createdAt: number;
  readonly damaged: number;
};

/** What `redrive` needs of a dead letter to find its lane. */
export type DeadKey = EndedRow & Pick<DeadRow, 'line' | 'group'> & { readonly options: string | null };

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
  readonly paused: number;
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
  /** How many of `count` are postponed. */
  readonly delayed: number;
  readonly options: string | null;
};

/** When a postponed job is due; `delay` is null where that is a time of the wall clock. */
export type DueRow = {
  readonly seq: number;
  readonly lane: number;
  readonly due: number;
  readonly delay: number | null;
};

export type Snapshot = {
  readonly lastSeq: number;
  readonly lastLane: number;
  readonly lines: readonly LineRow[];
  readonly lanes: readonly LaneRow[];
  readonly expiring: readonly { readonly seq: number; readonly lane: number; readonly at: number }[];
  /** Since when messages of a topic are kept for a replay, wall clock. */
  readonly kept: readonly { readonly topic: string; readonly since: number }[];
  readonly dead: readonly { readonly line: number; readonly count: number }[];
  readonly held: readonly { readonly topic: string; readonly count: number; readonly bytes: number }[];
};

/** `refs` changes with each delivery of a message, on the hot path, and is not covered. */
const MESSAGES: CheckedTable = { table: 'queue_messages', key: 'id', except: ['refs'] };
const JOBS_TABLE: CheckedTable = {
  table: 'queue_jobs',
  key: 'seq',
  orphan: (alias) =>
    `${alias}.message IS NOT NULL AND NOT EXISTS (SELECT 1 FROM queue_messages WHERE id = ${alias}.message)`,
};
const DEAD: CheckedTable = { table: 'queue_dead', key: 'seq' };

const JOB_COLUMNS = `j.seq, j.receipt, j.job_id AS jobId, j.function_id AS functionId, j.namespace, j.group_key AS "group", j.message,
  coalesce(j.data, m.data) AS data, j.size, j.metadata, coalesce(j.traceparent, m.traceparent) AS traceparent,
  coalesce(j.baggage, m.baggage) AS baggage, j.created_at AS createdAt, j.attempts, j.max_attempts AS maxAttempts,
  j.backoff_ms AS backoffMs, j.lost, j.redrives, j.errors, j.due, j.delay, j.options, j.line, j.lane`;
const JOBS = 'queue_jobs j LEFT JOIN queue_messages m ON m.id = j.message';
const ENDED_COLUMNS = 'seq, receipt, function_id AS functionId, namespace, created_at AS createdAt, attempts, size';
const DEAD_COLUMNS = `seq, line, job_id AS jobId, receipt, function_id AS functionId, namespace, group_key AS "group", data, attempts,
  errors, error, error_code AS errorCode, failed_at AS failedAt, size, created_at AS createdAt`;
const DEAD_KEY = `seq, line, function_id AS functionId, namespace, group_key AS "group", size, options,
  receipt, created_at AS createdAt, attempts`;

export default defineStore({
  name: 'queue',
  migrations: [MIGRATION_1, MIGRATION_2, '-- rows carry checksums', MIGRATION_4],
  checked: [MESSAGES, JOBS_TABLE, DEAD],
  whenFull: [
    'end',
    'endWithOptions',
    'endKept',
    'endMany',
    'endStored',
    'expire',
    'postpone',
    'deadLetter',
    'discard',
    'dropDead',
    'dropHeld',
    'dropKept',
    'dropUnique',
    'forgetEnded',
    'setOffline',
    'endLine',
    'deleteLine',
  ],

  writes(db: Database, tools) {
    const putLine = db.prepare(
      `INSERT INTO queue_lines (id, is_topic, name, namespace, function_id, settings, offline_since) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET settings = excluded.settings, offline_since = excluded.offline_since, ended_at = NULL`,
    );
    const setPaused = db.prepare('UPDATE queue_lines SET paused = ? WHERE id = ?');
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
    const insertWithOptions = db.prepare(
      `INSERT INTO queue_jobs (seq, line, lane, receipt, function_id, namespace, group_key, message, data, size, metadata,
         traceparent, baggage, created_at, attempts, max_attempts, backoff_ms, lost, redrives, due, delay, options, expires_at, lookup)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 0, 0, ?, ?, ?, ?, ?)`,
    );
    // Primary key of queue_unique.
    const uniqueOwner = db.prepare('SELECT receipt, until FROM queue_unique WHERE line = ? AND key = ?');
    const takeUnique = db.prepare(
      'INSERT OR REPLACE INTO queue_unique (line, key, receipt, until) VALUES (?, ?, ?, ?)',
    );
    const freeUnique = db.prepare(
      'DELETE FROM queue_unique WHERE line = ? AND key = ? AND receipt = ? AND until IS NULL',
    );
    const dropUnique = db.prepare('DELETE FROM queue_unique WHERE until < ?');
    // Rowid lookup.
    const ending = db.prepare('SELECT line, receipt, options FROM queue_jobs WHERE seq = ?');
    const keep = db.prepare(
      `INSERT OR REPLACE INTO queue_ended (seq, line, receipt, state, function_id, namespace, attempts, errors, created_at, ended_at)
       SELECT seq, line, receipt, ?, function_id, namespace, ?, ?, created_at, ? FROM queue_jobs WHERE seq = ?`,
    );
    // Index queue_ended_line.
    const forgetOld = db.prepare('DELETE FROM queue_ended WHERE line = ? AND ended_at < ?');
    const forgetMany = db.prepare(
      `DELETE FROM queue_ended WHERE seq IN
         (SELECT seq FROM queue_ended WHERE line = ? ORDER BY ended_at DESC, seq DESC LIMIT -1 OFFSET ?)`,
    );
    const insertMessage = db.prepare(
      `INSERT INTO queue_messages (id, topic, receipt, data, size, traceparent, baggage, created_at, refs, keep_until)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    // Rowid lookups.
    const deleteJob = db.prepare('DELETE FROM queue_jobs WHERE seq = ? RETURNING message').pluck();
    const unref = db.prepare(
      'UPDATE queue_messages SET refs = refs - 1 WHERE id = ? RETURNING refs, keep_until AS keepUntil',
    );
    const deleteMessage = db.prepare('DELETE FROM queue_messages WHERE id = ?');
    const keepMessage = db.prepare('UPDATE queue_messages SET refs = -1 WHERE id = ?');
    const ref = db.prepare('UPDATE queue_messages SET refs = max(refs, 0) + 1 WHERE id = ?');
    const keptSince = db.prepare('INSERT OR IGNORE INTO queue_topics (topic, kept_since) VALUES (?, ?)');
    const notKept = db.prepare('DELETE FROM queue_topics WHERE topic = ?');
    // Index queue_messages_kept.
    const replayable = db.prepare(
      `SELECT id, size, created_at AS createdAt FROM queue_messages
       WHERE topic = ? AND id > ? AND id <= ? AND created_at >= ? AND keep_until IS NOT NULL ORDER BY id LIMIT ?`,
    );
    const dropKept = db.prepare('DELETE FROM queue_messages WHERE topic = ? AND keep_until < ? AND refs = -1');
    const postpone = db.prepare(
      'UPDATE queue_jobs SET due = ?, delay = ?, attempts = ?, lost = ?, errors = ? WHERE seq = ?',
    );
    const bury = db.prepare(
      `INSERT INTO queue_dead (seq, line, job_id, receipt, function_id, namespace, group_key, data, size, metadata, traceparent,
         baggage, created_at, attempts, max_attempts, backoff_ms, redrives, options, errors, error, error_code, failed_at)
       SELECT j.seq, j.line, coalesce(j.job_id, ?), j.receipt, j.function_id, j.namespace, j.group_key, coalesce(j.data, m.data), j.size,
         j.metadata, coalesce(j.traceparent, m.traceparent), coalesce(j.baggage, m.baggage), j.created_at, ?, j.max_attempts,
         j.backoff_ms, j.redrives, j.options, ?, ?, ?, ?
       FROM ${JOBS} WHERE j.seq = ? AND NOT ${isDamaged(db, JOBS_TABLE, 'j')}`,
    );
    const revive = db.prepare(
      `INSERT INTO queue_jobs (seq, line, lane, receipt, job_id, function_id, namespace, group_key, data, size, metadata,
         traceparent, baggage, created_at, attempts, max_attempts, backoff_ms, lost, redrives, options, lookup)
       SELECT ?, line, ?, receipt, job_id, function_id, namespace, ?, data, size, metadata, traceparent, baggage,
         created_at, 0, coalesce(?, max_attempts), coalesce(?, backoff_ms), 0, redrives + 1, ?, receipt
       FROM queue_dead WHERE seq = ? AND NOT ${isDamaged(db, DEAD)}`,
    );
    const deadExists = db.prepare('SELECT 1 FROM queue_dead WHERE seq = ?').pluck();
    const jobExists = db.prepare('SELECT 1 FROM queue_jobs WHERE seq = ?').pluck();
    const deleteDead = db.prepare('DELETE FROM queue_dead WHERE seq = ?');
    const editDead = db.prepare(
      `UPDATE queue_dead SET data = coalesce(@data, data), size = coalesce(@size, size),
         function_id = coalesce(@functionId, function_id) WHERE seq = @seq`,
    );
    // Index queue_dead_line.
    const dropDead = db.prepare(
      `DELETE FROM queue_dead WHERE seq IN (SELECT seq FROM queue_dead WHERE line = ? AND failed_at < ? ORDER BY failed_at LIMIT ?)
         RETURNING ${ENDED_COLUMNS}`,
    );
    // Index queue_jobs_lane.
    const regroup = db.prepare("UPDATE queue_jobs SET lane = ?, group_key = '' WHERE lane = ?");
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
      `SELECT ${ENDED_COLUMNS} FROM queue_jobs WHERE lane = ? AND seq > ? AND due IS NULL ORDER BY seq LIMIT ?`,
    );

    function end(seq: number): boolean {
      const message = deleteJob.get(seq) as number | null | undefined;
      if (message === undefined) return false;
      if (message !== null) {
        const { refs, keepUntil } = unref.get(message) as { refs: number; keepUntil: number | null };
        if (refs === 0 && keepUntil === null) deleteMessage.run(message);
        else if (refs === 0) keepMessage.run(message);
      }
      return true;
    }

    /** Ends a job that may have a unique key. */
    function endWithOptions(seq: number): boolean {
      const job = ending.get(seq) as { line: number; receipt: string; options: string | null } | undefined;
      if (typeof job?.options === 'string') {
        const { uniqueKey } = JSON.parse(job.options) as { uniqueKey?: string };
        if (uniqueKey !== undefined) freeUnique.run(job.line, uniqueKey, job.receipt);
      }
      return end(seq);
    }

    /** @returns the receipt of the job that has the unique key already, or null when this one was stored */
    function acceptWithOptions(job: OptionsJob, now: number): string | null {
      if (job.uniqueKey !== null) {
        const owner = uniqueOwner.get(job.line, job.uniqueKey) as { receipt: string; until: number | null } | undefined;
        if (owner !== undefined && (owner.until === null || owner.until > now)) return owner.receipt;
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
          insertWithOptions.run(
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
            null,
            null,
            null,
            null,
            message.receipt,
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
        keepUntil: number | null,
        deliveries: readonly (string | number)[],
      ): void {
        if (keepUntil !== null) keptSince.run(topic, createdAt);
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
          keepUntil,
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

      acceptWithOptions,

      /** All or nothing: an operation that throws is undone as a whole. */
      acceptMany(jobs: readonly OptionsJob[], now: number): (string | null)[] {
        return jobs.map((job) => acceptWithOptions(job, now));
      },

      /** Ends a job: done, discarded or expired. */
      end,
      endWithOptions,

      /** Ends a job that stays on record for a while. */
      endKept(
        seq: number,
        state: string,
        attempts: number,
        errors: string | null,
        at: number,
        keepCount: number,
        line: number,
        forgetBefore: number,
      ): boolean {
        keep.run(state, attempts, errors, at, seq);
        forgetOld.run(line, forgetBefore);
        if (seq % FORGET_EVERY === 0) forgetMany.run(line, keepCount);
        return endWithOptions(seq);
      },

      /** Ends jobs that are not running; those that were there are answered. */
      endMany(seqs: readonly number[]): number[] {
        return seqs.filter((seq) => endWithOptions(seq));
      },

      setPaused(line: number, paused: number): void {
        setPaused.run(paused, line);
      },

      /** @param created - per new queue: id, name */
      createQueues(created: readonly (string | number)[]): void {
        for (let i = 0; i < created.length; i += 2) putLine.run(created[i], 0, created[i + 1], '', '', '{}', null);
      },

      /** A queue became fifo: the jobs of its lanes without a group are one group, in the order of their numbers. */
      gather(into: number, lanes: readonly number[]): void {
        for (const lane of lanes) regroup.run(into, lane);
      },

      /** Messages of a topic again for one subscription, under `reserved` numbers from `firstSeq` on. */
      replay(
        topic: string,
        after: number,
        upTo: number,
        since: number,
        line: number,
        lane: number,
        firstSeq: number,
        receipts: readonly string[],
        functionId: string,
        namespace: string,
        maxAttempts: number,
        backoffMs: number,
      ): { readonly count: number; readonly bytes: number; readonly last: number } {
        const messages = replayable.all(topic, after, upTo, since, receipts.length) as {
          id: number;
          size: number;
          createdAt: number;
        }[];
        let bytes = 0;
        messages.forEach((message, i) => {
          ref.run(message.id);
          insertWithOptions.run(
            firstSeq + i,
            line,
            lane,
            receipts[i],
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
            null,
            null,
            '{"replayed":true}',
            null,
            null,
          );
          bytes += message.size;
        });
        return { count: messages.length, bytes, last: messages.at(-1)?.id ?? upTo };
      },

      /** Messages that were kept for a replay and no job needs. */
      dropKept(topic: string, now: number, stillKept: boolean): void {
        dropKept.run(topic, now);
        if (!stillKept) notKept.run(topic);
      },

      dropUnique(now: number): void {
        dropUnique.run(now);
      },

      forgetEnded(line: number, before: number, keepCount: number): void {
        forgetOld.run(line, before);
        forgetMany.run(line, keepCount);
      },

      /** Dead letters that failed before a time. Answers those that went. */
      dropDead(line: number, before: number, limit: number): EndedRow[] {
        return dropDead.all(line, before, limit) as EndedRow[];
      },

      editDead(seq: number, data: string | null, functionId: string | null): boolean {
        return editDead.run({ seq, data, size: data?.length ?? null, functionId }).changes > 0;
      },

      expire(line: number, seqs: readonly number[]): void {
        let expired = 0;
        for (const seq of seqs) if (endWithOptions(seq)) expired++;
        addExpired.run(expired, line);
      },

      /** The oldest jobs of a lane that lie beyond what is in memory. `countFor`: the line that counts them as expired. */
      endStored(lane: number, after: number, limit: number, countFor: number | null): EndedRow[] {
        const rows = oldest.all(lane, after, limit) as EndedRow[];
        for (const row of rows) endWithOptions(row.seq);
        if (countFor !== null) addExpired.run(rows.length, countFor);
        return rows;
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
        if (bury.run(jobId, attempts, errors, error, code, failedAt, seq).changes > 0) endWithOptions(seq);
        else if (jobExists.get(seq) !== undefined) tools.damaged(JOBS_TABLE, seq);
      },

      /** @param moves - per dead letter: its seq, the new seq, the lane, group, options. Answers the new seqs of those that were there. */
      redrive(
        moves: readonly (string | number | null)[],
        maxAttempts: number | null,
        backoffMs: number | null,
      ): number[] {
        const moved: number[] = [];
        for (let i = 0; i < moves.length; i += MOVE_WIDTH) {
          const [dead, seq, lane, group, options] = moves.slice(i, i + MOVE_WIDTH) as [number, number, ...unknown[]];
          if (revive.run(seq, lane, group, maxAttempts, backoffMs, options, dead).changes === 0) {
            if (deadExists.get(dead) !== undefined) tools.damaged(DEAD, dead);
            continue;
          }
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

  reads(db: Database, tools) {
    const jobDamage = `${isDamaged(db, JOBS_TABLE, 'j')} + 2 * (m.id IS NOT NULL AND ${isDamaged(db, MESSAGES, 'm')}) AS damaged`;
    const deadDamage = `${isDamaged(db, DEAD)} AS damaged`;
    // Index queue_jobs_lane. Postponed jobs are read by their number when they are due.
    const page = db.prepare(
      `SELECT ${JOB_COLUMNS}, ${jobDamage} FROM ${JOBS} WHERE j.lane = ? AND j.seq > ? AND j.due IS NULL ORDER BY j.seq LIMIT ?`,
    );
    const load = db.prepare(`SELECT ${JOB_COLUMNS}, ${jobDamage} FROM ${JOBS} WHERE j.seq = ?`);
    // Index queue_dead_line.
    const deadKeys = db.prepare(
      `SELECT ${DEAD_KEY} FROM queue_dead
       WHERE line = ? AND (failed_at, seq) > (?, ?) ORDER BY failed_at, seq LIMIT ?`,
    );
    // Indexes queue_dead_job and queue_dead_receipt.
    const findDead = db.prepare(`SELECT ${DEAD_KEY} FROM queue_dead WHERE job_id = @id OR receipt = @id`);
    // Rowid, then the indexes queue_jobs_lookup, queue_dead_receipt, queue_dead_job and queue_ended_receipt.
    const bySeq = db.prepare(`SELECT ${JOB_COLUMNS}, ${jobDamage} FROM ${JOBS} WHERE j.seq = ? AND j.receipt = ?`);
    const byLookup = db.prepare(`SELECT ${JOB_COLUMNS}, ${jobDamage} FROM ${JOBS} WHERE j.lookup = ?`);
    const deadByReceipt = db.prepare(
      `SELECT ${DEAD_COLUMNS}, ${deadDamage} FROM queue_dead WHERE receipt = @id OR job_id = @id`,
    );
    const endedByReceipt = db.prepare(
      `SELECT line, receipt, state, function_id AS functionId, namespace, attempts, errors, created_at AS createdAt,
         ended_at AS endedAt FROM queue_ended WHERE receipt = ?`,
    );

    const lastSeqs = [
      'seq FROM queue_jobs',
      'id FROM queue_messages',
      'seq FROM queue_dead',
      'seq FROM queue_ended',
    ].map((what) => db.prepare(`SELECT max(${what.replace(' ', ') ')}`).pluck());
    const lastLane = db.prepare('SELECT max(lane) FROM queue_jobs').pluck();
    const lines = db.prepare(
      `SELECT id, is_topic AS isTopic, name, namespace, function_id AS functionId, settings, offline_since AS offlineSince,
         ended_at AS endedAt, expired, paused FROM queue_lines ORDER BY id`,
    );
    const lanes = db.prepare(
      `SELECT l.lane, j.line, j.function_id AS functionId, j.namespace, j.group_key AS "group", l.count, l.bytes, l.last,
         coalesce(d.delayed, 0) AS delayed, j.options
       FROM (SELECT lane, count(*) AS count, sum(size) AS bytes, min(seq) AS first, max(seq) AS last FROM queue_jobs GROUP BY lane) l
       JOIN queue_jobs j ON j.seq = l.first
       LEFT JOIN (SELECT lane, count(*) AS delayed FROM queue_jobs INDEXED BY queue_jobs_due WHERE due IS NOT NULL GROUP BY lane) d
         ON d.lane = l.lane ORDER BY l.first`,
    );
    // Index queue_jobs_time.
    const due = db.prepare(
      `SELECT seq, lane, due, delay FROM queue_jobs
       WHERE due IS NOT NULL AND (delay IS NULL) = ? AND (due, seq) > (?, ?) ORDER BY due, seq LIMIT ?`,
    );
    // Index queue_jobs_due.
    const postponed = db.prepare(
      'SELECT seq, lane, due, delay FROM queue_jobs WHERE lane = ? AND seq > ? AND due IS NOT NULL ORDER BY seq LIMIT ?',
    );
    const expiring = db.prepare('SELECT seq, lane, expires_at AS at FROM queue_jobs WHERE expires_at IS NOT NULL');
    const kept = db.prepare('SELECT topic, kept_since AS since FROM queue_topics');
    const dead = db.prepare('SELECT line, count(*) AS count FROM queue_dead GROUP BY line');
    const heldCounts = db.prepare(
      'SELECT topic, count(*) AS count, sum(size) AS bytes FROM queue_messages WHERE refs = 0 GROUP BY topic',
    );

    /** Is a job fit to be used? If not, it goes to the quarantine, its message first: without it, it is useless. */
    function isSound(row: JobRow): boolean {
      if (row.damaged === 0) return true;
      if (row.message !== null) tools.damaged(MESSAGES, row.message);
      tools.damaged(JOBS_TABLE, row.seq);
      return false;
    }

    function isSoundDead(row: DeadRow): boolean {
      if (row.damaged === 0) return true;
      tools.damaged(DEAD, row.seq);
      return false;
    }

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
      snapshot(): Snapshot {
        return {
          lastSeq: Math.max(...lastSeqs.map((statement) => (statement.get() as number | null) ?? 0)),
          lastLane: (lastLane.get() as number | null) ?? 0,
          lines: lines.all() as LineRow[],
          lanes: lanes.all() as LaneRow[],
          expiring: expiring.all() as Snapshot['expiring'],
          kept: kept.all() as Snapshot['kept'],
          dead: dead.all() as Snapshot['dead'],
          held: heldCounts.all() as Snapshot['held'],
        };
      },

      page(lane: number, after: number, limit: number): JobRow[] {
        return take(page.iterate(lane, after, limit) as IterableIterator<JobRow>);
      },

      /** The next postponed jobs after one of them, by one of the clocks: 1 = the wall's. */
      due(wall: number, afterDue: number, afterSeq: number, limit: number): DueRow[] {
        return due.all(wall, afterDue, afterSeq, limit) as DueRow[];
      },

      /** Postponed jobs of a lane, by their number. */
      postponed(lane: number, after: number, limit: number): DueRow[] {
        return postponed.all(lane, after, limit) as DueRow[];
      },

      load(seqs: readonly number[]): JobRow[] {
        const rows: JobRow[] = [];
        for (const seq of seqs) {
          const row = load.get(seq) as JobRow | undefined;
          if (row !== undefined && isSound(row)) rows.push(row);
        }
        return rows;
      },

      /** One page of dead letters of some lines, newest first, ended before it is larger than `maxBytes`. */
      browseDead(
        lines: readonly number[],
        offset: number,
        limit: number,
        maxBytes: number,
        filter: DeadConditions,
      ): { readonly rows: readonly DeadRow[]; readonly total: number; readonly cut: boolean } {
        const marks = lines.map(() => '?').join(', ');
        const conditions = [`line IN (${marks})`];
        const values: (string | number)[] = [...lines];
        for (const [condition, value] of [
          ['function_id = ?', filter.functionId],
          ['error_code = ?', filter.code],
          ['instr(error, ?) > 0', filter.error],
          ['failed_at >= ?', filter.since],
          ['failed_at < ?', filter.until],
        ] as const) {
          if (value === undefined) continue;
          conditions.push(condition);
          values.push(value);
        }
        const where = conditions.join(' AND ');
        const total = db
          .prepare(`SELECT count(*) FROM queue_dead WHERE ${where}`)
          .pluck()
          .get(...values) as number;
        const rows: DeadRow[] = [];
        let bytes = 0;
        const page = db.prepare(
          `SELECT ${DEAD_COLUMNS}, ${deadDamage} FROM queue_dead WHERE ${where} ORDER BY failed_at DESC, seq DESC LIMIT ? OFFSET ?`,
        );
        for (const row of page.iterate(...values, limit, offset) as IterableIterator<DeadRow>) {
          if (!isSoundDead(row)) continue;
          bytes += row.size + (row.errors?.length ?? 0) + row.error.length;
          if (rows.length > 0 && bytes > maxBytes) return { rows, total, cut: true };
          rows.push(row);
        }
        return { rows, total, cut: false };
      },

      /** A job by its receipt, whatever became of it. `seq`: the number that the receipt tells, or -1. */
      find(receipt: string, seq: number): Found | undefined {
        const job = (bySeq.get(seq, receipt) ?? byLookup.get(receipt)) as JobRow | undefined;
        if (job !== undefined) {
          if (!isSound(job)) throw damagedRowError(`job '${receipt}'`);
          return { kind: 'job', job };
        }
        const dead = deadByReceipt.get({ id: receipt }) as DeadRow | undefined;
        if (dead !== undefined) {
          if (!isSoundDead(dead)) throw damagedRowError(`dead letter '${receipt}'`);
          return { kind: 'dead', dead };
        }
        const ended = endedByReceipt.get(receipt) as KeptRow | undefined;
        return ended === undefined ? undefined : { kind: 'ended', ended };
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
/** Values per dead letter in `redrive`. */
export const MOVE_WIDTH = 5;
/** Ended jobs beyond a queue's count are forgotten at each so many'th of them. */
const FORGET_EVERY = 64;

/** A job with more than the usual fields, as it travels to the storage thread. */
export type OptionsJob = {
  readonly seq: number;
  readonly line: number;
  readonly lane: number;
  readonly receipt: string;
  readonly functionId: string;
  readonly namespace: string;
  readonly group: string | null;
  readonly data: string;
  readonly metadata: string | null;
  readonly traceparent: string | null;
  readonly baggage: string | null;
  readonly createdAt: number;
  readonly maxAttempts: number;
  readonly backoffMs: number;
  readonly due: number | null;
  readonly delay: number | null;
  readonly options: string | null;
  readonly expiresAt: number | null;
  readonly lookup: string | null;
  readonly uniqueKey: string | null;
  readonly uniqueUntil: number | null;
};

export type DeadConditions = {
  readonly functionId?: string | undefined;
  readonly code?: string | undefined;
  readonly error?: string | undefined;
  readonly since?: number | undefined;
  readonly until?: number | undefined;
};
