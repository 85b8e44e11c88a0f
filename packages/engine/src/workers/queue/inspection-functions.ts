/** What can be seen of queues, topics and dead letters. */
import { Payload } from '@trine/protocol';
import { z } from 'zod';
import type { FunctionDefinition } from '../../core/worker-host.js';
import { needCapability } from './adapters/index.js';
import { MAX_DEAD_PAGE_LENGTH } from './dead-letters.js';
import { QueueCode } from './errors.js';
import { guarded, named, nameOf, type QueueParts } from './function-input.js';

/** Dead letters in one page. */
export const MAX_PAGE = 1_000;
const DEFAULT_PAGE = 50;

const page = named.extend({
  offset: z.number().int().min(0).default(0),
  limit: z
    .number()
    .int()
    .min(0)
    .default(DEFAULT_PAGE)
    .describe(`At most ${MAX_PAGE}; a page also ends at ${MAX_DEAD_PAGE_LENGTH / 1024 / 1024} MiB.`),
});
const browse = page.extend({
  function_id: z.string().optional(),
  error_code: z.string().optional(),
  error: z.string().optional().describe('Part of the error text.'),
  since_ms: z.number().int().optional().describe('Failed at or after this time, milliseconds since the epoch.'),
  until_ms: z.number().int().optional().describe('Failed before this time.'),
});

export function inspectionFunctions(parts: QueueParts): FunctionDefinition[] {
  return [listTopics(parts), topicStats(parts), dlqTopics(parts), dlqMessages(parts), dlqBrowse(parts)];
}

function listTopics({ broker, queues, topics }: QueueParts): FunctionDefinition {
  return {
    id: 'engine::queue::list_topics',
    description: 'Named queues and durable topics',
    handler: () =>
      guarded(QueueCode.listTopicsFailed, 'Failed to list topics', async () => [
        ...(await queues.names()).map((name) => {
          const queue = queues.get(name);
          const entry = { name, broker_type: 'function_queue', subscriber_count: queue?.config.concurrency ?? 0 };
          return queue === undefined ? { ...entry, unconfigured: true } : entry;
        }),
        ...(await Promise.all(
          (await topics.names()).map(async (name) => ({
            name,
            broker_type: broker.adapter,
            subscriber_count: await triggersOf(topics, name),
          })),
        )),
      ]),
  };
}

function topicStats({ broker, queues, topics, deadLetters }: QueueParts): FunctionDefinition<z.infer<typeof named>> {
  return {
    id: 'engine::queue::topic_stats',
    description: 'Counts of a queue or topic',
    request: named,
    async handler(input) {
      const name = nameOf('engine::queue::topic_stats', input, 'topic');
      return guarded(QueueCode.topicStatsFailed, 'Failed to get topic stats', async () => {
        const lines = await deadLetters.resolve(name);
        const total = await broker.stats(lines);
        const queue = queues.get(name);
        const unconfigured = queue === undefined && lines.some(({ kind }) => kind === 'queue');
        return {
          depth: total.waiting + total.running,
          consumer_count: queue === undefined ? await triggersOf(topics, name) : queue.config.concurrency,
          dlq_depth: total.dead,
          config: null,
          waiting: total.waiting,
          delayed: total.delayed,
          running: total.running,
          waiting_for_function: total.waitingForFunction,
          held: await topics.held(name),
          ...(lines.length > 0 && lines.every(({ paused }) => paused) ? { paused: true } : {}),
          ...(unconfigured ? { unconfigured: true } : {}),
        };
      });
    },
  };
}

function dlqTopics({ broker, queues, topics }: QueueParts): FunctionDefinition {
  return {
    id: 'engine::queue::dlq_topics',
    description: 'Dead letters by queue and topic',
    handler: () =>
      guarded(QueueCode.dlqTopicsFailed, 'Failed to list DLQ topics', async () => {
        const ofQueues = (await queues.names()).map(async (topic) => {
          const line = await queues.line(topic);
          const { dead } = await broker.stats(line === undefined ? [] : [line]);
          return { topic, broker_type: 'function_queue', message_count: dead };
        });
        const ofTopics = (await topics.names()).map(async (topic) => {
          const { dead } = await broker.stats(await topics.lines(topic));
          return { topic, broker_type: broker.adapter, message_count: dead };
        });
        return Promise.all([...ofQueues, ...ofTopics]);
      }),
  };
}

function dlqMessages({ deadLetters }: QueueParts): FunctionDefinition<z.infer<typeof page>> {
  const id = 'engine::queue::dlq_messages';
  return {
    id,
    description: 'Dead letters of a queue or topic, newest first; engine::queue::dlq_browse has totals and filters',
    request: page,
    async handler(input) {
      const name = nameOf(id, input, 'topic');
      const { entries, cut } = await guarded(QueueCode.dlqMessagesFailed, 'Failed to browse DLQ messages', () =>
        deadLetters.page(name, input.offset, Math.min(input.limit, MAX_PAGE)),
      );
      const last = entries.at(-1);
      if (!cut || last === undefined) return Payload.fromJson(`[${entries.join(',')}]`);
      // The answer is a list: that it is shorter than asked for is said in its last entry.
      const marked = `${last.slice(0, -1)},"page_cut":${JSON.stringify(cutMessage(input.offset + entries.length))}}`;
      return Payload.fromJson(`[${[...entries.slice(0, -1), marked].join(',')}]`);
    },
  };
}

function dlqBrowse({ broker, deadLetters }: QueueParts): FunctionDefinition<z.infer<typeof browse>> {
  const id = 'engine::queue::dlq_browse';
  return {
    id,
    description: 'Dead letters of a queue or topic with their total, filtered, page by page, newest first',
    request: browse,
    response: z.object({
      total: z.number().describe('How many match.'),
      next_offset: z.number().nullable().describe('Where the next page starts; null after the last.'),
      page_cut: z.string().optional().describe('Why the page is shorter than `limit`.'),
      messages: z.array(z.unknown()).describe('As `engine::queue::dlq_messages` answers them.'),
    }),
    async handler(input) {
      const name = nameOf(id, input, 'topic');
      const { function_id, error_code, error, since_ms, until_ms, offset } = input;
      const filter = { functionId: function_id, code: error_code, error, since: since_ms, until: until_ms };
      const filters = Object.values(filter).some((value) => value !== undefined);
      if (filters) needCapability(broker, 'dead_filter', id);
      const limit = Math.min(input.limit, MAX_PAGE);
      const { entries, total, cut } = await guarded(QueueCode.dlqMessagesFailed, 'Failed to browse DLQ messages', () =>
        deadLetters.page(name, offset, limit, filters ? filter : undefined),
      );
      const next = offset + entries.length;
      const reason = cut ? `"page_cut":${JSON.stringify(cutMessage(next))},` : '';
      return Payload.fromJson(
        `{"total":${total},"next_offset":${next < total ? next : 'null'},${reason}"messages":[${entries.join(',')}]}`,
      );
    },
  };
}

function cutMessage(next: number): string {
  return (
    `this page ends here because it would be larger than ${MAX_DEAD_PAGE_LENGTH / 1024 / 1024} MiB: ` +
    `go on with offset ${next}, or ask with a smaller limit`
  );
}

async function triggersOf(topics: QueueParts['topics'], topic: string): Promise<number> {
  return (await topics.lines(topic)).reduce((count, line) => count + topics.triggersOf(line), 0);
}
