import { memberText, ownText } from '@trine/protocol';
import type { NewJob, NewJobExtras, QueueRules } from './adapters/index.js';
import { DEFAULT_MAX_IN_MEMORY, type NamedQueueConfig } from './config.js';
import { fifoRefuses, groupMissing, groupNull, noGroups } from './errors.js';
import type { JobOptions } from './job-options.js';
import { retryPattern } from './job.js';
import type { LinePolicy } from './line-runner.js';

/** What an enqueue brings. */
export interface EnqueueRequest {
  /** Chosen by the client; undefined = the broker makes one. */
  readonly receipt: string | undefined;
  readonly functionId: string;
  readonly namespace: string;
  /** Raw JSON text. */
  readonly data: string;
  readonly metadata: string | undefined;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
  readonly createdAt: number;
  readonly options: JobOptions | undefined;
}

/** Priority goes up to this; more is clamped where it comes from a payload. */
const MAX_PRIORITY = 255;

export function isFifo(config: NamedQueueConfig): boolean {
  return config.type === 'fifo';
}

/** How a queue's jobs are run, from its configuration. */
export function policyOf(name: string, config: NamedQueueConfig): LinePolicy {
  return {
    place: { queue: name },
    concurrency: config.concurrency,
    timeoutMs: config.timeout_ms,
    rules: {
      maxBackoffMs: config.max_backoff_ms,
      jitter: config.jitter,
      noRetryOn: config.no_retry_on?.map(retryPattern),
    },
    conditionFunctionId: undefined,
    metadata: undefined,
    consumers: config.consumers,
    deadLetterFunction: config.dead_letter_function ?? undefined,
  };
}

/** What a queue's configuration asks of the broker. */
export function rulesOf(config: NamedQueueConfig): QueueRules {
  const { rate_limit: rate, rate_limit_per_key: perKey } = config;
  const maxWaiting = config.max_waiting ?? (config.durability === 'memory' ? DEFAULT_MAX_IN_MEMORY : undefined);
  return {
    serial: isFifo(config),
    rate: rate ? { max: rate.max, perMs: rate.per_ms } : undefined,
    ratePerKey: perKey ? { max: perKey.max, perMs: perKey.per_ms } : undefined,
    globalConcurrency: config.global_concurrency ?? undefined,
    keepEndedMs: config.keep_ended_ms,
    keepEndedCount: config.keep_ended_count,
    keepDeadMs: config.keep_dead_ms,
    durability: config.durability,
    ...(maxWaiting === undefined ? {} : { maxWaiting }),
    defaults: {
      maxAttempts: Math.max(1, config.max_retries),
      backoffMs: config.backoff_ms,
      backoffListMs: config.backoff_list_ms ?? undefined,
      groupField: config.message_group_field ?? undefined,
      priorityField: config.priority_field ?? undefined,
      maxPriority: config.max_priority ?? MAX_PRIORITY,
    },
    maxPriority: config.max_priority ?? (config.priority_field ? MAX_PRIORITY : undefined),
    timeoutMs: config.timeout_ms,
  };
}

/**
 * The job that an enqueue makes: retries, backoff and group are stamped here, later edits of the
 * configuration are for later jobs.
 *
 * @throws TrineError `enqueue_error` when a fifo queue's group is missing or null, or for an option that the queue refuses
 */
export function jobFor(name: string, config: NamedQueueConfig, request: EnqueueRequest): NewJob {
  const { options } = request;
  const plain = options === undefined && !config.backoff_list_ms && !config.priority_field;
  // Written out, not spread: this is the hot path, and a copy by spread costs several times more.
  return {
    receipt: request.receipt,
    functionId: request.functionId,
    namespace: request.namespace,
    group: groupFor(name, config, request),
    data: request.data,
    metadata: request.metadata,
    traceparent: request.traceparent,
    baggage: request.baggage,
    createdAt: request.createdAt,
    maxAttempts: Math.max(1, options?.max_retries ?? config.max_retries),
    backoffMs: options?.backoff_ms ?? config.backoff_ms,
    extras: plain ? undefined : extrasFor(name, config, request),
  };
}

function extrasFor(name: string, config: NamedQueueConfig, request: EnqueueRequest): NewJobExtras | undefined {
  const options = request.options ?? {};
  if (isFifo(config)) {
    for (const field of ['priority', 'delay_ms', 'run_at'] as const) {
      if (options[field] !== undefined) throw fifoRefuses(name, field);
    }
  }
  const { expires_in_ms: expiresInMs } = options;
  // A backoff of the job's own beats the queue's list.
  const list = options.backoff_list_ms ?? (options.backoff_ms === undefined ? config.backoff_list_ms : undefined);
  return {
    delayMs: options.delay_ms,
    runAt: options.run_at,
    priority: isFifo(config) ? undefined : (options.priority ?? priorityOf(config, request.data)),
    uniqueKey: options.unique_key,
    uniqueMs: options.unique_ms,
    rateKey: options.rate_key,
    expiresAt: expiresInMs === undefined ? undefined : request.createdAt + expiresInMs,
    timeoutMs: options.timeout_ms,
    backoffListMs: list ?? undefined,
  };
}

function groupFor(name: string, config: NamedQueueConfig, { data, options }: EnqueueRequest): string | undefined {
  const own = options?.group;
  if (!isFifo(config)) {
    if (own !== undefined) throw noGroups(name);
    return undefined;
  }
  return own === undefined ? groupOf(name, config.message_group_field ?? '', data) : JSON.stringify(own);
}

function priorityOf(config: NamedQueueConfig, data: string): number | undefined {
  if (!config.priority_field) return undefined;
  const value = Number(memberText(data, config.priority_field));
  return Number.isInteger(value) && value > 0 ? Math.min(value, config.max_priority ?? MAX_PRIORITY) : undefined;
}

/** The group as its JSON text without spaces at the ends; strings as they are, so `"a"` and `"\u0061"` are one group. */
function groupOf(queue: string, field: string, data: string): string {
  const text = memberText(data, field);
  if (text === undefined) throw groupMissing(queue, field);
  if (text === 'null') throw groupNull(queue, field);
  return text.includes('\\') && text.startsWith('"') ? JSON.stringify(JSON.parse(text)) : ownText(text, data.length);
}
