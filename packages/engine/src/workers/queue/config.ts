import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import type { TopicRules } from './adapters/index.js';
import { rabbitConfig } from './adapters/rabbitmq/config.js';
import { redisConfig } from './adapters/redis/config.js';
import { postgresConfig } from './adapters/postgres/config.js';
import { DEFAULT_MAX_BACKOFF_MS } from './job.js';

/** A job that gives no answer for this long has failed, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 30 * 60_000;
export const DEFAULT_CONCURRENCY = 10;
export const DEFAULT_BACKOFF_MS = 1_000;
export const DEFAULT_MAX_RETRIES = 3;
/** A week, in milliseconds. */
export const DEFAULT_SUBSCRIPTION_RETENTION_MS = 7 * 24 * 3_600_000;
/** The queue that is always there. */
export const DEFAULT_QUEUE = 'default';
/** Longest time that can be configured, in milliseconds: what the platform's timers keep. */
const MAX_MS = 2 ** 31 - 1;

/** Jobs that wait in a queue that is in memory only, unless configured. */
export const DEFAULT_MAX_IN_MEMORY = 100_000;

const milliseconds = z.number().int().min(0).max(MAX_MS);

/** Ended jobs that one queue may keep on record. */
const MAX_KEPT_ENDED = 1_000_000;
/** Starts in one rate window: each is remembered until it leaves the window. */
const MAX_RATE = 1_000_000;

const rate = z.strictObject({
  max: z.number().int().min(1).max(MAX_RATE).describe('Jobs that may start.'),
  per_ms: milliseconds.min(1).describe('In any window of this length.'),
});

const durability = z.enum(['full', 'normal', 'memory']);

const namedQueue = z.strictObject({
  type: z
    .string()
    .default('standard')
    .describe('`standard`: concurrent. `fifo`: in order per value of `message_group_field`. Live.'),
  max_retries: z
    .number()
    .int()
    .min(0)
    .default(DEFAULT_MAX_RETRIES)
    .describe('Deliveries in all before a job is dead-lettered, at least 1. Stamped at enqueue.'),
  concurrency: z
    .number()
    .int()
    .min(0)
    .default(DEFAULT_CONCURRENCY)
    .describe('Jobs that run at once; in a fifo queue, groups. At least 1. Live.'),
  message_group_field: z
    .string()
    .nullish()
    .describe('Top-level field of the payload whose value is the group. Required for fifo.'),
  backoff_ms: milliseconds
    .default(DEFAULT_BACKOFF_MS)
    .describe('Wait after the first failure, doubled after each further one. Stamped at enqueue.'),
  max_backoff_ms: milliseconds.default(DEFAULT_MAX_BACKOFF_MS).describe('Longest wait between deliveries. Live.'),
  jitter: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('Share of a wait that is left to chance: 0.5 makes 10 s something from 5 to 10 s. Live.'),
  backoff_list_ms: z
    .array(milliseconds)
    .min(1)
    .nullish()
    .describe(
      'Waits after the 1st, 2nd, ... failure instead of `backoff_ms`; the last one counts for all further ones. Stamped at enqueue.',
    ),
  no_retry_on: z
    .array(z.string().min(1))
    .nullish()
    .describe('A failure whose whole code or message matches one of these (`*` = anything) is the last. Live.'),
  rate_limit: rate.nullish().describe('Starts per time over the whole queue. Live.'),
  rate_limit_per_key: rate.nullish().describe('Starts per time for each `rate_key` that jobs are enqueued with. Live.'),
  global_concurrency: z
    .number()
    .int()
    .min(1)
    .nullish()
    .describe('Jobs that run at once on all engines that share the queue. Live.'),
  consumers: z
    .enum(['replicas', 'newest'])
    .default('replicas')
    .describe(
      '`replicas`: workers of one name and namespace share the jobs, the least loaded first. `newest`: the newest alone. Live.',
    ),
  dead_letter_function: z
    .string()
    .min(1)
    .nullish()
    .describe('Called with each dead letter after it is stored; at most once. Live.'),
  keep_ended_ms: milliseconds
    .default(0)
    .describe('How long finished jobs stay on record on disk for `iii::queue::job`; with `keep_ended_count`. Live.'),
  keep_ended_count: z
    .number()
    .int()
    .min(0)
    .max(MAX_KEPT_ENDED)
    .default(0)
    .describe('How many finished jobs stay on record on disk. Live.'),
  durability: durability
    .default('full')
    .describe(
      'What an acknowledged job survives. `full`: a power cut. `normal`: a crash of the engine; a power cut may take the last moments. `memory`: nothing, it is gone when the engine stops. Live between `full` and `normal`.',
    ),
  max_waiting: z
    .number()
    .int()
    .min(1)
    .nullish()
    .describe(
      `Jobs that may wait; then \`enqueue\` answers \`queue_full\`. Default: no bound, ${DEFAULT_MAX_IN_MEMORY} with \`durability: memory\`. Live.`,
    ),
  keep_dead_ms: milliseconds.default(0).describe('Dead letters are dropped after this time; 0 keeps them. Live.'),
  timeout_ms: milliseconds
    .min(1)
    .default(DEFAULT_TIMEOUT_MS)
    .describe('A delivery without an answer after this long has failed. Live.'),
  poll_interval_ms: z.number().int().min(0).nullish().describe('Accepted and ignored: nothing is polled.'),
  max_priority: z
    .number()
    .int()
    .min(0)
    .max(255)
    .nullish()
    .describe('Highest priority that `priority_field` gives. Default 255.'),
  priority_field: z
    .string()
    .nullish()
    .describe(
      'Top-level field of the payload whose whole number is the priority of a job that names none. Ignored by fifo queues.',
    ),
});

const topic = z.strictObject({
  replay_retention_ms: milliseconds.nullish(),
  subscription_retention_ms: milliseconds.min(1).nullish(),
  durability: durability
    .nullish()
    .describe('What an acknowledged message survives, as for a queue. Live, but for `memory`.'),
});

const builtinConfig = z.strictObject({
  store_method: z
    .enum(['in_memory', 'file_based'])
    .nullish()
    .describe('`file_based` (default): on disk before a reply. `in_memory`: gone when the engine stops.'),
  file_path: z
    .string()
    .min(1)
    .nullish()
    .describe("The SQLite file, relative to the project folder. Default: the engine's own file in the data folder."),
  save_interval_ms: z
    .number()
    .int()
    .nullish()
    .describe('Accepted and ignored: nothing is written later than its reply.'),
});

const elsewhere = z.looseObject({}).nullish();

export const queueConfig = z
  .strictObject({
    adapter: z
      .discriminatedUnion('name', [
        z.strictObject({ name: z.literal('builtin'), config: builtinConfig.nullish() }),
        z.strictObject({ name: z.literal('redis'), config: redisConfig.nullish() }),
        z.strictObject({ name: z.literal('rabbitmq'), config: rabbitConfig.nullish() }),
        z.strictObject({ name: z.literal('bridge'), config: elsewhere }),
        z.strictObject({ name: z.literal('postgres'), config: postgresConfig }),
      ])
      .nullish()
      .describe('What keeps the jobs. Default `builtin`.'),
    queue_configs: z
      .record(z.string(), namedQueue)
      .nullish()
      .describe('Named queues. `default` exists without being listed. Live.'),
    replay_retention_ms: milliseconds
      .default(0)
      .describe('How long a message of a topic stays after it was published, for `iii::durable::replay`. Live.'),
    subscription_retention_ms: milliseconds
      .min(1)
      .default(DEFAULT_SUBSCRIPTION_RETENTION_MS)
      .describe('How long a subscription without a worker keeps receiving, and an ended one keeps its backlog. Live.'),
    topic_configs: z
      .record(z.string(), topic)
      .nullish()
      .describe('The two times above, and `durability`, for single topics. Live.'),
  })
  .nullish();

export type QueueWorkerConfig = z.infer<typeof queueConfig>;
export type NamedQueueConfig = z.infer<typeof namedQueue>;

/** What `iii worker add queue` writes. */
export const defaultBlock = { adapter: { name: 'builtin' } } as const;

/** @throws Error naming the queue and what is wrong, in the words of the reference */
export function validateQueueConfig(config: QueueWorkerConfig): void {
  const adapter = config?.adapter?.name ?? 'builtin';
  if (adapter === 'bridge') {
    throw new Error(
      `adapter.name: the ${adapter} adapter of queue is not in this version: use builtin, postgres, rabbitmq or redis`,
    );
  }
  for (const [name, queue] of Object.entries(config?.queue_configs ?? {})) {
    if (queue.type !== 'standard' && queue.type !== 'fifo') {
      throw new Error(`Queue '${name}' has invalid type '${queue.type}'. Must be 'standard' or 'fifo'`);
    }
    if (queue.type === 'fifo' && !queue.message_group_field) {
      throw new Error(`Queue '${name}' is of type 'fifo' but 'message_group_field' is not set`);
    }
    if (queue.concurrency < 1) throw new Error(`Queue '${name}' has 'concurrency' 0; it must be at least 1`);
    if (queue.max_priority === 0) throw new Error(`Queue '${name}' has 'max_priority' 0; it must be between 1 and 255`);
  }
}

/** Every queue by name, `default` included. */
export function namedQueues(config: QueueWorkerConfig): Map<string, NamedQueueConfig> {
  const queues = new Map(Object.entries(config?.queue_configs ?? {}));
  if (!queues.has(DEFAULT_QUEUE)) queues.set(DEFAULT_QUEUE, namedQueue.parse({}));
  return queues;
}

/** The times of one topic. */
export function topicRules(config: QueueWorkerConfig, topic: string): TopicRules {
  const own = config?.topic_configs?.[topic];
  return {
    replayRetentionMs: own?.replay_retention_ms ?? config?.replay_retention_ms ?? 0,
    subscriptionRetentionMs:
      own?.subscription_retention_ms ?? config?.subscription_retention_ms ?? DEFAULT_SUBSCRIPTION_RETENTION_MS,
    durability: own?.durability ?? 'full',
  };
}

/**
 * The file that a configuration names; undefined = the engine's own.
 *
 * @throws Error when a folder stands there: the reference keeps its data in one
 */
export function queueFile(config: QueueWorkerConfig, projectDir: string): string | undefined {
  const builtin = config?.adapter?.name === 'builtin' ? config.adapter.config : undefined;
  if (builtin?.store_method === 'in_memory') return ':memory:';
  if (typeof builtin?.file_path !== 'string') return undefined;
  const path = resolve(projectDir, builtin.file_path);
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    throw new Error(
      `adapter.config.file_path: ${path} is a folder that holds data of the reference engine: name an SQLite file, e.g. ${builtin.file_path}.db`,
    );
  }
  return path;
}
