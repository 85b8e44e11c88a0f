import { z } from 'zod';
import type { TriggerTypeDefinition } from '../../core/worker-host.js';
import type { Topics } from './topics.js';

/** The trigger type of durable topics. */
export function durableSubscriber(topics: Topics): TriggerTypeDefinition {
  return {
    id: 'durable:subscriber',
    description:
      'Runs a function for every message of a durable topic, also for those published while its worker was away',
    configSchema: z.object({
      topic: z.string().describe('Topic to consume. `queue` is accepted as well.'),
      condition_function_id: z
        .string()
        .nullish()
        .describe('Asked first with the same data; `false` skips the message.'),
      queue_config: z
        .unknown()
        .optional()
        .describe(
          '`type`, `concurrency`, `maxRetries`, `backoffDelayMs`, `timeoutMs`, `maxBacklog`, `maxBacklogBytes`; snake_case is accepted as well.',
        ),
    }),
    bind: (trigger) => topics.bind(trigger),
    unbind: (trigger, reason) => topics.unbind(trigger, reason),
  };
}
