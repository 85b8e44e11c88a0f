/** Jobs as rows. */
import type { Job } from '../../job.js';
import { extrasOf, failuresOf } from './core.js';

export interface JobRow {
  readonly seq: number;
  readonly receipt: string;
  readonly job_id: string | null;
  readonly function_id: string;
  readonly namespace: string;
  readonly group_key: string | null;
  readonly data: string;
  readonly metadata: string | null;
  readonly traceparent: string | null;
  readonly baggage: string | null;
  readonly created_at: number;
  readonly max_attempts: number;
  readonly backoff_ms: number;
  readonly options: string | null;
  readonly attempts: number;
  readonly lost: number;
  readonly leases: number;
  readonly errors: string | null;
  readonly priority: number;
  readonly lane: string;
}

/** The columns of a `JobRow` of table `j`. */
export const JOB_COLUMNS = `j.seq, j.receipt, j.job_id, j.function_id, j.namespace, j.group_key, j.metadata,
  coalesce(j.data, (SELECT m.data FROM trine.messages m WHERE m.id = j.message)) AS data,
  j.traceparent, j.baggage, j.created_at, j.max_attempts, j.backoff_ms, j.options, j.attempts, j.lost, j.leases,
  j.errors, j.priority, j.lane`;

export function jobOf(row: JobRow): Job {
  return {
    seq: row.seq,
    receipt: row.receipt,
    jobId: row.job_id ?? undefined,
    functionId: row.function_id,
    namespace: row.namespace,
    group: row.group_key ?? undefined,
    data: row.data,
    metadata: row.metadata ?? undefined,
    traceparent: row.traceparent ?? undefined,
    baggage: row.baggage ?? undefined,
    createdAt: row.created_at,
    maxAttempts: row.max_attempts,
    backoffMs: row.backoff_ms,
    extras: extrasOf(row.options),
    attempts: row.attempts,
    lost: row.lost,
    redelivered: row.leases > 1 || row.attempts > 0 || row.lost > 0,
    failures: failuresOf(row.errors),
  };
}
