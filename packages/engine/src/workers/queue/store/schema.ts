/** The queue's tables, and the columns that travel. */
import type { CheckedTable } from '../../../storage/store-module.js';

export const MIGRATION_1 = `
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
export const MIGRATION_2 = `
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
export const MIGRATION_4 = `
CREATE INDEX queue_jobs_time ON queue_jobs ((delay IS NULL), due, seq) WHERE due IS NOT NULL;
`;

/** `refs` changes with each delivery of a message, on the hot path, and is not covered. */
export const MESSAGES: CheckedTable = { table: 'queue_messages', key: 'id', except: ['refs'] };
export const JOBS_TABLE: CheckedTable = {
  table: 'queue_jobs',
  key: 'seq',
  orphan: (alias) =>
    `${alias}.message IS NOT NULL AND NOT EXISTS (SELECT 1 FROM queue_messages WHERE id = ${alias}.message)`,
};
export const DEAD: CheckedTable = { table: 'queue_dead', key: 'seq' };

export const JOB_COLUMNS = `j.seq, j.receipt, j.job_id AS jobId, j.function_id AS functionId, j.namespace, j.group_key AS "group", j.message,
  coalesce(j.data, m.data) AS data, j.size, j.metadata, coalesce(j.traceparent, m.traceparent) AS traceparent,
  coalesce(j.baggage, m.baggage) AS baggage, j.created_at AS createdAt, j.attempts, j.max_attempts AS maxAttempts,
  j.backoff_ms AS backoffMs, j.lost, j.redrives, j.errors, j.due, j.delay, j.options, j.line, j.lane`;
export const JOBS = 'queue_jobs j LEFT JOIN queue_messages m ON m.id = j.message';
export const ENDED_COLUMNS =
  'seq, receipt, function_id AS functionId, namespace, created_at AS createdAt, attempts, size';
export const DEAD_COLUMNS = `seq, line, job_id AS jobId, receipt, function_id AS functionId, namespace, group_key AS "group", data, attempts,
  errors, error, error_code AS errorCode, failed_at AS failedAt, size, created_at AS createdAt`;
export const DEAD_KEY = `seq, line, function_id AS functionId, namespace, group_key AS "group", size, options,
  receipt, created_at AS createdAt, attempts`;
