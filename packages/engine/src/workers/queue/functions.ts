import { DEFAULT_NAMESPACE, ErrorCode, Payload, TrineError } from '@trine/protocol';
import { z } from 'zod';
import { deserializationError, RawInput } from '../../core/raw-input.js';
import type { FunctionDefinition, WorkerHost } from '../../core/worker-host.js';
import type { Line, LineStats } from './adapters/index.js';
import type { DeadLetters } from './dead-letters.js';
import { forbidden, QueueCode, storeFailure, topicNotSet } from './errors.js';
import type { Queues } from './queues.js';
import type { Topics } from './topics.js';

/** Dead letters in one page. */
export const MAX_PAGE = 1_000;
const DEFAULT_PAGE = 50;

export interface QueueParts {
  readonly host: WorkerHost;
  readonly queues: Queues;
  readonly topics: Topics;
  readonly deadLetters: DeadLetters;
}

export function queueFunctions(parts: QueueParts): FunctionDefinition[] {
  return [
    enqueueFunction('engine::queue::enqueue', 'Put a call on a named queue; what TriggerAction.Enqueue runs', parts),
    enqueueFunction('iii::queue::enqueue', 'Put a call on a named queue', parts),
    publishFunction(parts),
    ...deadLetterFunctions(parts),
    ...inspectionFunctions(parts),
    ...subscriptionFunctions(parts),
  ];
}

function enqueueFunction(id: string, description: string, { host, queues }: QueueParts): FunctionDefinition {
  return {
    id,
    description,
    raw: true,
    request: z.object({
      queue: z.string(),
      function_id: z.string(),
      data: z.unknown().describe('What the function receives, as it is.'),
      messageReceiptId: z.string().optional(),
      traceparent: z.string().nullish(),
      baggage: z.string().nullish(),
      namespace: z.string().nullish(),
      metadata: z.unknown().optional(),
    }),
    response: z.object({ messageReceiptId: z.string() }),
    handler(_input, context) {
      const input = new RawInput(id, context.payload);
      const queue = input.string('queue');
      const functionId = input.string('function_id');
      const namespace = optionalString(id, input, 'namespace') ?? DEFAULT_NAMESPACE;
      if (!context.mayCall(functionId, namespace)) throw forbidden(functionId);
      const receipt = optionalString(id, input, 'messageReceiptId') ?? host.random.uuid();
      const stored = queues.enqueue(queue, {
        receipt,
        functionId,
        namespace,
        data: input.requiredText('data'),
        metadata: input.text('metadata'),
        traceparent: optionalString(id, input, 'traceparent') ?? context.traceparent,
        baggage: optionalString(id, input, 'baggage') ?? context.baggage,
        createdAt: host.clock.now(),
      });
      return stored.then(() => Payload.fromJson(`{"messageReceiptId":${JSON.stringify(receipt)}}`));
    },
  };
}

function publishFunction({ host, topics }: QueueParts): FunctionDefinition {
  const id = 'iii::durable::publish';
  return {
    id,
    description: 'Publish a message to every subscription of a durable topic; answered when it is stored',
    raw: true,
    request: z.object({ topic: z.string(), data: z.unknown().describe('What subscribers receive, as it is.') }),
    async handler(_input, { payload, traceparent, baggage }) {
      const input = new RawInput(id, payload);
      const topic =
        input.text('topic') === undefined && input.text('queue') !== undefined
          ? input.string('queue')
          : input.string('topic');
      const data = input.requiredText('data');
      if (topic === '') throw topicNotSet();
      await guarded(QueueCode.publishFailed, `Failed to publish to topic '${topic}'`, () =>
        topics.publish({ topic, data, traceparent, baggage, createdAt: host.clock.now() }),
      );
      return undefined;
    },
  };
}

const named = z.object({
  queue: z.string().optional().describe('Name of a queue or topic; `topic` is the same.'),
  topic: z.string().optional(),
});
const message = named.extend({ message_id: z.string().describe('Id or receipt of the message.') });

function deadLetterFunctions({ deadLetters }: QueueParts): FunctionDefinition[] {
  const redrive: FunctionDefinition<z.infer<typeof named>> = {
    id: 'iii::queue::redrive',
    description: 'Run all dead letters of a queue or topic again',
    request: named,
    response: z.object({ queue: z.string(), redriven: z.number() }),
    async handler(input) {
      const queue = nameOf('iii::queue::redrive', input, 'queue');
      const redriven = await guarded(QueueCode.redriveFailed, `Failed to redrive DLQ for queue '${queue}'`, () =>
        deadLetters.redrive(queue),
      );
      return { queue, redriven };
    },
  };
  const one = (
    id: string,
    description: string,
    run: (queue: string, messageId: string) => Promise<boolean>,
  ): FunctionDefinition<z.infer<typeof message>> => ({
    id,
    description,
    request: message,
    response: z.object({ queue: z.string(), message_id: z.string(), redriven: z.number() }),
    async handler(input) {
      const queue = nameOf(id, input, 'queue');
      if (input.message_id === '') throw new TrineError(QueueCode.messageIdNotSet, 'Message ID is required');
      return { queue, message_id: input.message_id, redriven: (await run(queue, input.message_id)) ? 1 : 0 };
    },
  });
  return [
    redrive,
    one('iii::queue::redrive_message', 'Run one dead letter again', (queue, id) =>
      guarded(QueueCode.redriveMessageFailed, `Failed to redrive DLQ message '${id}' for queue '${queue}'`, () =>
        deadLetters.redriveOne(queue, id),
      ),
    ),
    one('iii::queue::discard_message', 'Delete one dead letter', (queue, id) =>
      guarded(QueueCode.discardMessageFailed, 'Failed to discard DLQ message', () => deadLetters.discardOne(queue, id)),
    ),
  ];
}

const page = named.extend({
  offset: z.number().int().min(0).default(0),
  limit: z.number().int().min(0).default(DEFAULT_PAGE),
});

function inspectionFunctions({ queues, topics, deadLetters }: QueueParts): FunctionDefinition[] {
  const listTopics: FunctionDefinition = {
    id: 'engine::queue::list_topics',
    description: 'Named queues and durable topics',
    handler: () => [
      ...[...queues.names()].sort().map((name) => {
        const queue = queues.get(name);
        const entry = { name, broker_type: 'function_queue', subscriber_count: queue?.config.concurrency ?? 0 };
        return queue === undefined ? { ...entry, unconfigured: true } : entry;
      }),
      ...[...topics.topics()]
        .sort()
        .map((name) => ({ name, broker_type: 'builtin', subscriber_count: triggersOf(topics, name) })),
    ],
  };
  const topicStats: FunctionDefinition<z.infer<typeof named>> = {
    id: 'engine::queue::topic_stats',
    description: 'Counts of a queue or topic',
    request: named,
    handler(input) {
      const name = nameOf('engine::queue::topic_stats', input, 'topic');
      const total = sum(deadLetters.resolve(name));
      const queue = queues.get(name);
      return {
        depth: total.waiting + total.running,
        consumer_count: queue === undefined ? triggersOf(topics, name) : queue.config.concurrency,
        dlq_depth: total.dead,
        config: null,
        waiting: total.waiting,
        delayed: total.delayed,
        running: total.running,
        waiting_for_function: total.waitingForFunction,
        held: topics.held(name),
        ...(queue === undefined && queues.names().has(name) ? { unconfigured: true } : {}),
      };
    },
  };
  const dlqTopics: FunctionDefinition = {
    id: 'engine::queue::dlq_topics',
    description: 'Dead letters by queue and topic',
    handler: () => [
      ...[...queues.names()]
        .sort()
        .map((topic) => ({ topic, broker_type: 'function_queue', message_count: queues.line(topic)?.stats.dead ?? 0 })),
      ...[...topics.topics()].sort().map((topic) => ({
        topic,
        broker_type: 'builtin',
        message_count: sum(topics.of(topic).map(({ line }) => line)).dead,
      })),
    ],
  };
  const dlqMessages: FunctionDefinition<z.infer<typeof page>> = {
    id: 'engine::queue::dlq_messages',
    description: 'Dead letters of a queue or topic, newest first',
    request: page,
    async handler(input) {
      const name = nameOf('engine::queue::dlq_messages', input, 'topic');
      const text = await guarded(QueueCode.dlqMessagesFailed, 'Failed to browse DLQ messages', () =>
        deadLetters.page(name, input.offset, Math.min(input.limit, MAX_PAGE)),
      );
      return Payload.fromJson(text);
    },
  };
  return [listTopics, topicStats, dlqTopics, dlqMessages];
}

const unsubscribe = z.object({
  topic: z.string(),
  function_id: z.string(),
  namespace: z.string().nullish(),
  discard_backlog: z.boolean().default(false).describe('Also drop what waits; otherwise it is kept for 7 days.'),
});

function subscriptionFunctions({ topics }: QueueParts): FunctionDefinition[] {
  const list: FunctionDefinition<{ readonly topic?: string | undefined }> = {
    id: 'engine::queue::subscriptions',
    description: 'Durable subscriptions, those whose workers are away included',
    request: z.object({ topic: z.string().optional() }),
    handler: ({ topic }) =>
      (topic === undefined ? topics.all() : [...topics.of(topic)]).map(({ line, triggers, settings }) => {
        const { waiting, delayed, running, waitingForFunction, dead } = line.stats;
        return {
          topic: line.name,
          function_id: line.functionId,
          namespace: line.namespace,
          state: line.endedAt !== undefined ? 'ended' : triggers.size > 0 ? 'live' : 'offline',
          triggers: triggers.size,
          waiting,
          delayed,
          running,
          waiting_for_function: waitingForFunction,
          dead,
          expired: line.expired,
          max_backlog: settings.maxBacklog,
          offline_since_ms: line.offlineSince ?? null,
          ended_at_ms: line.endedAt ?? null,
        };
      }),
  };
  const end: FunctionDefinition<z.infer<typeof unsubscribe>> = {
    id: 'iii::durable::unsubscribe',
    description: 'End a durable subscription',
    request: unsubscribe,
    async handler({ topic, function_id, namespace, discard_backlog }, context) {
      if (!context.mayCall(function_id, namespace ?? DEFAULT_NAMESPACE)) throw forbidden(function_id);
      const dropped = await guarded(
        QueueCode.unsubscribeFailed,
        `Failed to end the subscription of ${function_id} to topic '${topic}'`,
        () => topics.unsubscribe(topic, function_id, namespace ?? DEFAULT_NAMESPACE, discard_backlog),
      );
      return { topic, function_id, unsubscribed: dropped !== undefined, discarded: dropped ?? 0 };
    },
  };
  return [list, end];
}

/** `topic` and `queue` name the same thing everywhere; with both, `topic` counts. */
function nameOf(id: string, input: z.infer<typeof named>, expected: 'queue' | 'topic'): string {
  const name = input.topic ?? input.queue;
  if (name === undefined) throw deserializationError(id, `missing field \`${expected}\``);
  if (name !== '') return name;
  throw expected === 'queue'
    ? new TrineError(QueueCode.queueNotSet, 'Queue name is required')
    : new TrineError(QueueCode.topicRequired, 'topic is required');
}

function optionalString(id: string, input: RawInput, field: string): string | undefined {
  const text = input.text(field);
  if (text === undefined || text === 'null') return undefined;
  const value = input.string(field);
  if (field === 'namespace' && value.trim() === '')
    throw new TrineError(ErrorCode.invalidNamespace, `${id}: namespace must not be blank`);
  return value;
}

function triggersOf(topics: Topics, topic: string): number {
  return topics.of(topic).reduce((count, { triggers }) => count + triggers.size, 0);
}

function sum(lines: readonly Line[]): LineStats {
  const total = { waiting: 0, delayed: 0, running: 0, waitingForFunction: 0, dead: 0, bytes: 0 };
  for (const { stats } of lines) {
    for (const key of Object.keys(total) as (keyof LineStats)[]) total[key] += stats[key];
  }
  return total;
}

/** A failure that has no code of its own gets the function's; what already says what happened stays. */
async function guarded<T>(
  code: (typeof QueueCode)[keyof typeof QueueCode],
  what: string,
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof TrineError && error.code === QueueCode.topicBacklogFull) throw error;
    throw storeFailure(code, what, error);
  }
}
