/** What an enqueue may ask for beside the job itself: one schema for all ways to say it. */
import { scanObject } from '@trine/protocol';
import { z } from 'zod';
import { MAX_TIMER_MS } from '../../core/clock.js';
import { describeInputFault } from '../../core/input-fault.js';
import { deserializationError } from '../../core/raw-input.js';

/** Longest relative time that a job may ask for, in milliseconds: ten years. */
export const MAX_JOB_MS = 10 * 366 * 24 * 3_600_000;
/** Entries of `backoff_list_ms`. */
const MAX_BACKOFFS = 100;
/** Length of keys and groups, in UTF-16 units. */
const MAX_KEY_LENGTH = 1_024;

const milliseconds = z.number().int().min(0).max(MAX_JOB_MS);
const key = z.string().min(1).max(MAX_KEY_LENGTH);

export const jobOptions = z.strictObject({
  delay_ms: milliseconds.optional().describe('Run this much later. Not with `run_at`; not in a fifo queue.'),
  run_at: z
    .union([z.number().int().min(0), z.string().min(1)])
    .transform((at, context) => {
      const ms = typeof at === 'number' ? at : Date.parse(at);
      if (Number.isSafeInteger(ms)) return ms;
      context.addIssue('expected milliseconds since the epoch or a date such as 2030-01-01T09:00:00Z');
      return z.NEVER;
    })
    .optional()
    .describe('Run at this time: milliseconds since the epoch, or an ISO 8601 date.'),
  priority: z.number().int().min(0).max(255).optional().describe('0 to 255, higher first. Not in a fifo queue.'),
  unique_key: key
    .optional()
    .describe('While a job with this key has not ended, another one answers its receipt with `deduplicated: true`.'),
  unique_ms: milliseconds
    .min(1)
    .optional()
    .describe('With `unique_key`: the key counts as taken for this long, whatever becomes of the job.'),
  group: z.string().max(MAX_KEY_LENGTH).optional().describe('Of a fifo queue, instead of the value in the payload.'),
  rate_key: key.optional().describe("Whose share of the queue's `rate_limit_per_key` the job's start counts for."),
  expires_in_ms: milliseconds.min(1).optional().describe('Drop the job if it has not started by then.'),
  max_retries: z.number().int().min(0).optional().describe('Deliveries in all, at least 1, instead of the queue’s.'),
  backoff_ms: milliseconds.optional().describe('Instead of the queue’s.'),
  backoff_list_ms: z
    .array(milliseconds)
    .min(1)
    .max(MAX_BACKOFFS)
    .optional()
    .describe('Waits after the 1st, 2nd, ... failure; the last one counts for all further ones.'),
  timeout_ms: z.number().int().min(1).max(MAX_TIMER_MS).optional().describe('Instead of the queue’s.'),
});

export type JobOptions = z.infer<typeof jobOptions>;

export const jobOptionNames: ReadonlySet<string> = new Set(Object.keys(jobOptions.shape));

/** @throws TrineError `deserialization_error` under the name of the function that was called */
export function parseJobOptions(functionId: string, value: unknown): JobOptions {
  const parsed = jobOptions.safeParse(value);
  if (!parsed.success) throw deserializationError(functionId, describeInputFault(parsed.error, value));
  const { delay_ms, run_at, unique_ms, unique_key } = parsed.data;
  if (delay_ms !== undefined && run_at !== undefined)
    throw deserializationError(functionId, '`delay_ms` and `run_at` exclude each other');
  if (unique_ms !== undefined && unique_key === undefined)
    throw deserializationError(functionId, '`unique_ms` needs `unique_key`');
  return parsed.data;
}

/**
 * Takes `queue: { ...options }` out of a caller's metadata. It counts only if it is an object of
 * known keys: anything else is the caller's own and stays.
 */
export function optionsInMetadata(
  functionId: string,
  metadata: string,
): { readonly options: JobOptions; readonly rest: string } | undefined {
  const spans = scanObject(metadata);
  const at = spans?.keys.lastIndexOf('queue') ?? -1;
  if (spans === undefined || at < 0) return undefined;
  const own = scanObject(metadata.slice(spans.starts[at], spans.ends[at]));
  if (own === undefined || own.keys.length === 0 || !own.keys.every((name) => jobOptionNames.has(name))) {
    return undefined;
  }
  const members = spans.keys.flatMap((name, i) =>
    name === 'queue' ? [] : [`${JSON.stringify(name)}:${metadata.slice(spans.starts[i], spans.ends[i])}`],
  );
  return {
    options: parseJobOptions(functionId, JSON.parse(metadata.slice(spans.starts[at], spans.ends[at]))),
    rest: `{${members.join(',')}}`,
  };
}
