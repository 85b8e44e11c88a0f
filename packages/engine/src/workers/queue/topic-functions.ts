/** Durable topics: publishing, subscriptions, replay. */
import { DEFAULT_NAMESPACE } from '@trine/protocol';
import { z } from 'zod';
import { RawInput } from '../../core/raw-input.js';
import type { FunctionDefinition } from '../../core/worker-host.js';
import { needCapability } from './adapters/index.js';
import { forbidden, QueueCode, subscriptionNotFound, topicNotSet } from './errors.js';
import { guarded, type QueueParts } from './function-input.js';

export function topicFunctions(parts: QueueParts): FunctionDefinition[] {
  return [publish(parts), list(parts), unsubscribe(parts), replay(parts)];
}

function publish({ host, topics }: QueueParts): FunctionDefinition {
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

function list({ broker, topics }: QueueParts): FunctionDefinition<{ readonly topic?: string | undefined }> {
  return {
    id: 'engine::queue::subscriptions',
    description: 'Durable subscriptions, those whose workers are away included',
    request: z.object({ topic: z.string().optional() }),
    async handler({ topic }) {
      const lines = await topics.lines(topic);
      return Promise.all(
        lines.map(async (line) => {
          const { waiting, delayed, running, waitingForFunction, dead } = await broker.stats([line]);
          const triggers = topics.triggersOf(line);
          const offline = line.offlineSince !== undefined && triggers === 0;
          return {
            topic: line.name,
            function_id: line.functionId,
            namespace: line.namespace,
            state: line.endedAt !== undefined ? 'ended' : offline ? 'offline' : 'live',
            paused: line.paused,
            triggers,
            waiting,
            delayed,
            running,
            waiting_for_function: waitingForFunction,
            dead,
            expired: line.expired,
            max_backlog: line.settings?.maxBacklog ?? null,
            offline_since_ms: line.offlineSince ?? null,
            ended_at_ms: line.endedAt ?? null,
          };
        }),
      );
    },
  };
}

const subscription = z.object({ topic: z.string(), function_id: z.string(), namespace: z.string().nullish() });
const unsubscribeRequest = subscription.extend({
  discard_backlog: z
    .boolean()
    .default(false)
    .describe('Also drop what waits; otherwise it is kept for `subscription_retention_ms`.'),
});

function unsubscribe({ topics }: QueueParts): FunctionDefinition<z.infer<typeof unsubscribeRequest>> {
  return {
    id: 'iii::durable::unsubscribe',
    description: 'End a durable subscription',
    request: unsubscribeRequest,
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
}

const replayRequest = subscription.extend({
  since_ms: z.number().int().min(0).describe('Messages published at or after this time, milliseconds since the epoch.'),
});

function replay({ broker, topics }: QueueParts): FunctionDefinition<z.infer<typeof replayRequest>> {
  const id = 'iii::durable::replay';
  return {
    id,
    description: 'Deliver the messages of a topic since a time again, to one subscription',
    request: replayRequest,
    response: z.object({ topic: z.string(), function_id: z.string(), replayed: z.number() }),
    async handler({ topic, function_id, namespace, since_ms }, context) {
      if (!context.mayCall(function_id, namespace ?? DEFAULT_NAMESPACE)) throw forbidden(function_id);
      needCapability(broker, 'replay', id);
      const line = await topics.find(topic, function_id, namespace ?? DEFAULT_NAMESPACE);
      if (line === undefined) throw subscriptionNotFound(topic, function_id);
      const replayed = await guarded(QueueCode.replayFailed, `Failed to replay topic '${topic}'`, async () =>
        broker.replay === undefined ? 0 : broker.replay(line, since_ms),
      );
      return { topic, function_id, replayed };
    },
  };
}
