import type { TriggerBinding } from '../../core/worker-host.js';
import type { SubscriptionSettings } from './adapters/index.js';
import { DEFAULT_BACKOFF_MS, DEFAULT_CONCURRENCY, DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT_MS } from './config.js';
import { DEFAULT_MAX_BACKOFF_MS } from './job.js';

/** Messages that wait for one subscription; then its oldest expire. */
export const DEFAULT_MAX_BACKLOG = 1_000_000;
/** Payload that waits for one subscription, in UTF-16 units. */
export const DEFAULT_MAX_BACKLOG_BYTES = 1024 ** 3;

/**
 * Reads a trigger's config: `{ topic | queue, condition_function_id?, queue_config? }`, keys of
 * `queue_config` in camelCase or snake_case. As in the reference, unknown keys and wrong types in
 * `queue_config` count as absent.
 *
 * @throws Error when neither `topic` nor `queue` names a topic
 */
export function parseSubscriber(trigger: TriggerBinding): {
  readonly topic: string;
  readonly settings: SubscriptionSettings;
} {
  const config = asObject(trigger.config);
  const topic = [config['topic'], config['queue']].find((name) => typeof name === 'string' && name !== '');
  if (typeof topic !== 'string') {
    throw new Error('`topic` (or `queue`) is required for a durable:subscriber trigger: a string that is not empty');
  }
  const condition = config['condition_function_id'];
  const own = asObject(config['queue_config']);
  const number = (...keys: readonly string[]): number | undefined => {
    for (const source of [own, config]) {
      for (const key of keys) {
        const value = source[key];
        if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
      }
    }
    return undefined;
  };
  const retries = number('maxRetries', 'max_retries');
  return {
    topic,
    settings: {
      fifo: own['type'] === 'fifo',
      concurrency: number('concurrency') ?? DEFAULT_CONCURRENCY,
      maxAttempts: retries === undefined ? DEFAULT_MAX_RETRIES : retries + 1,
      backoffMs: number('backoffDelayMs', 'backoff_delay_ms', 'backoffMs', 'backoff_ms') ?? DEFAULT_BACKOFF_MS,
      maxBackoffMs: number('maxBackoffMs', 'max_backoff_ms') ?? DEFAULT_MAX_BACKOFF_MS,
      timeoutMs: number('timeoutMs', 'timeout_ms') || DEFAULT_TIMEOUT_MS,
      maxBacklog: number('maxBacklog', 'max_backlog') ?? DEFAULT_MAX_BACKLOG,
      maxBacklogBytes: number('maxBacklogBytes', 'max_backlog_bytes') ?? DEFAULT_MAX_BACKLOG_BYTES,
      jitter: 0,
      consumers: own['consumers'] === 'newest' ? 'newest' : 'replicas',
      ...(typeof condition === 'string' && condition !== '' ? { conditionFunctionId: condition } : {}),
      ...(trigger.metadata === undefined ? {} : { metadata: trigger.metadata.json }),
    },
  };
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
