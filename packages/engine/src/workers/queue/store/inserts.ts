/** Statements that several parts of the queue's SQL use. */

export const PUT_LINE = `INSERT INTO queue_lines (id, is_topic, name, namespace, function_id, settings, offline_since) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET settings = excluded.settings, offline_since = excluded.offline_since, ended_at = NULL`;

export const INSERT_JOB = `INSERT INTO queue_jobs (seq, line, lane, receipt, function_id, namespace, group_key, message, data, size, metadata,
       traceparent, baggage, created_at, attempts, max_attempts, backoff_ms, lost, redrives)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 0, 0)`;

export const INSERT_WITH_OPTIONS = `INSERT INTO queue_jobs (seq, line, lane, receipt, function_id, namespace, group_key, message, data, size, metadata,
       traceparent, baggage, created_at, attempts, max_attempts, backoff_ms, lost, redrives, due, delay, options, expires_at, lookup)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 0, 0, ?, ?, ?, ?, ?)`;
