import { memberText, ownText } from '@trine/protocol';
import type { NewJob } from './adapters/index.js';
import type { NamedQueueConfig } from './config.js';
import { groupMissing, groupNull } from './errors.js';
import type { LinePolicy } from './line-runner.js';

/** What an enqueue brings. */
export interface EnqueueRequest {
  readonly receipt: string;
  readonly functionId: string;
  readonly namespace: string;
  /** Raw JSON text. */
  readonly data: string;
  readonly metadata: string | undefined;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
  readonly createdAt: number;
}

export function isFifo(config: NamedQueueConfig): boolean {
  return config.type === 'fifo';
}

/** How a queue's jobs are run, from its configuration. */
export function policyOf(name: string, config: NamedQueueConfig): LinePolicy {
  return {
    place: { queue: name },
    concurrency: config.concurrency,
    timeoutMs: config.timeout_ms,
    rules: { maxBackoffMs: config.max_backoff_ms, jitter: config.jitter },
    conditionFunctionId: undefined,
    metadata: undefined,
  };
}

/**
 * The job that an enqueue makes: retries, backoff and group are stamped here, later edits of the
 * configuration are for later jobs.
 *
 * @throws TrineError `enqueue_error` when a fifo queue's group is missing or null
 */
export function jobFor(name: string, config: NamedQueueConfig, request: EnqueueRequest): NewJob {
  // Written out, not spread: this is the hot path, and a copy by spread costs several times more.
  return {
    receipt: request.receipt,
    functionId: request.functionId,
    namespace: request.namespace,
    group: isFifo(config) ? groupOf(name, config.message_group_field ?? '', request.data) : undefined,
    data: request.data,
    metadata: request.metadata,
    traceparent: request.traceparent,
    baggage: request.baggage,
    createdAt: request.createdAt,
    maxAttempts: Math.max(1, config.max_retries),
    backoffMs: config.backoff_ms,
  };
}

/** The group as its JSON text without spaces at the ends; strings as they are, so `"a"` and `"\u0061"` are one group. */
function groupOf(queue: string, field: string, data: string): string {
  const text = memberText(data, field);
  if (text === undefined) throw groupMissing(queue, field);
  if (text === 'null') throw groupNull(queue, field);
  return text.includes('\\') && text.startsWith('"') ? JSON.stringify(JSON.parse(text)) : ownText(text, data.length);
}
