/** The queues and subscriptions of one simulated run. */
import type { Durability } from '../../../core/store.js';
import type { Chance } from './chance.js';

export interface QueueSetup {
  readonly name: string;
  /** `turning`: its type is changed while it runs. */
  type: 'standard' | 'fifo';
  readonly turning: boolean;
  readonly concurrency: number;
  readonly maxRetries: number;
  readonly backoffMs: number;
  readonly timeoutMs: number;
  readonly rate: { readonly max: number; readonly per_ms: number } | undefined;
  readonly ratePerKey: { readonly max: number; readonly per_ms: number } | undefined;
  readonly keepEnded: boolean;
  readonly durability: Durability;
}

export interface SubscriptionSetup {
  readonly topic: string;
  readonly functionId: string;
  readonly fifo: boolean;
  readonly concurrency: number;
  readonly maxAttempts: number;
  readonly backoffMs: number;
  readonly timeoutMs: number;
}

export interface Setup {
  readonly queues: readonly QueueSetup[];
  readonly subscriptions: readonly SubscriptionSetup[];
  readonly functions: readonly string[];
  readonly replayRetentionMs: number;
  readonly topicDurability: Durability;
}

const RATE_MS = 5_000;
const TIMEOUT_MS = 20_000;
const BACKOFF_MS = 1_000;
const REPLAY_MS = 600_000;

export function makeSetup(chance: Chance): Setup {
  const durability = (): Durability => chance.pick(['full', 'full', 'full', 'normal', 'memory']);
  const queue = (name: string, own: Partial<QueueSetup> = {}): QueueSetup => ({
    name,
    type: 'standard',
    turning: false,
    concurrency: chance.between(1, 4),
    maxRetries: chance.between(1, 4),
    backoffMs: chance.pick([0, BACKOFF_MS, BACKOFF_MS]),
    timeoutMs: TIMEOUT_MS,
    rate: undefined,
    ratePerKey: undefined,
    keepEnded: false,
    durability: durability(),
    ...own,
  });
  const topicDurability = durability();
  const subscription = (functionId: string): SubscriptionSetup => ({
    topic: 'news',
    functionId,
    fifo: chance.is(0.5),
    concurrency: chance.between(1, 3),
    maxAttempts: chance.between(1, 4),
    backoffMs: BACKOFF_MS,
    timeoutMs: TIMEOUT_MS,
  });
  return {
    queues: [
      queue('plain'),
      queue('fifo', { type: 'fifo' }),
      chance.pick([
        queue('rated', { rate: { max: chance.between(1, 3), per_ms: RATE_MS } }),
        queue('keyed', { ratePerKey: { max: chance.between(1, 2), per_ms: RATE_MS } }),
        queue('kept', { keepEnded: true }),
        queue('turning', { turning: true }),
      ]),
    ],
    subscriptions: chance.is(0.6) ? [subscription('reader-a'), subscription('reader-b')] : [],
    functions: ['work-a', 'work-b'],
    topicDurability,
    replayRetentionMs: chance.is(0.3) ? REPLAY_MS : 0,
  };
}

/** What an acknowledgement of a queue or topic is worth. */
export function durabilityOf(setup: Setup, place: string): Durability {
  return setup.queues.find(({ name }) => name === place)?.durability ?? setup.topicDurability;
}

/** The configuration of the queue worker. */
export function configOf(setup: Setup): unknown {
  return {
    replay_retention_ms: setup.replayRetentionMs,
    topic_configs: { news: { durability: setup.topicDurability } },
    queue_configs: Object.fromEntries(
      setup.queues.map((queue) => [
        queue.name,
        {
          type: queue.type,
          ...(queue.type === 'fifo' ? { message_group_field: 'group' } : {}),
          concurrency: queue.concurrency,
          max_retries: queue.maxRetries,
          backoff_ms: queue.backoffMs,
          timeout_ms: queue.timeoutMs,
          durability: queue.durability,
          ...(queue.rate === undefined ? {} : { rate_limit: queue.rate }),
          ...(queue.ratePerKey === undefined ? {} : { rate_limit_per_key: queue.ratePerKey }),
          ...(queue.keepEnded ? { keep_ended_ms: 3_600_000, keep_ended_count: 100 } : {}),
        },
      ]),
    ),
  };
}
