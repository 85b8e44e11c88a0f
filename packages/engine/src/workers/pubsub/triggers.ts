import { z } from 'zod';
import { describeInputFault } from '../../core/input-fault.js';
import type { TriggerTypeDefinition, WorkerHost } from '../../core/worker-host.js';
import type { PubsubAdapter } from './adapters/index.js';
import type { Subscriptions } from './subscriptions.js';

const subscribeConfig = z.object({
  topic: z.string().describe('Name of the topic, matched as it is.'),
  condition_function_id: z
    .string()
    .nullish()
    .describe('Asked first with the same data; the function runs unless it answers false.'),
});

/** A topic that is missing, empty or no string is accepted with a warning: such a trigger never fires. */
const acceptedConfig = subscribeConfig.extend({ topic: z.unknown().optional() });

/** @param adapter - the one of this moment */
export function subscribeTriggerType(
  host: WorkerHost,
  subscriptions: Subscriptions,
  adapter: () => PubsubAdapter,
): TriggerTypeDefinition {
  const changed = (topic: string): void | Promise<void> => adapter().listen(topic, subscriptions.of(topic).length > 0);
  return {
    id: 'subscribe',
    description: 'Subscribe to a topic',
    configSchema: subscribeConfig,
    bind(trigger) {
      const config = trigger.config ?? {};
      const parsed = acceptedConfig.safeParse(config);
      if (!parsed.success)
        throw new Error(`Failed to parse trigger config: ${describeInputFault(parsed.error, config)}`);
      const { topic, condition_function_id } = parsed.data;
      // Also when it replaces a trigger that had a topic.
      const before = subscriptions.remove(trigger.id);
      if (typeof topic !== 'string' || topic === '') {
        host.log.warn('subscribe trigger without a topic never fires: set config.topic', {
          function: trigger.functionId,
          worker: trigger.workerName,
          trigger: trigger.id,
        });
        return before === undefined ? undefined : changed(before);
      }
      subscriptions.add(trigger, topic, condition_function_id ?? undefined);
      if (before !== undefined && before !== topic) void changed(before);
      return changed(topic);
    },
    unbind(trigger) {
      const topic = subscriptions.remove(trigger.id);
      return topic === undefined ? undefined : changed(topic);
    },
  };
}
