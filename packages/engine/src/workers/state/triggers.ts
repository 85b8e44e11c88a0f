import { z } from 'zod';
import { describeInputFault } from '../../core/input-fault.js';
import type { TriggerTypeDefinition } from '../../core/worker-host.js';
import type { StateEvents } from './events.js';

const stateTriggerConfig = z.object({
  scope: z.string().nullish().describe('Only events of this scope. Left out: of every scope.'),
  key: z.string().nullish().describe('Only events of this key. Left out: of every key.'),
  condition_function_id: z
    .string()
    .nullish()
    .describe('Asked first with the same event; the trigger fires unless it answers false.'),
});

const stateEvent = z.object({
  type: z.literal('state'),
  event_type: z.enum(['state:created', 'state:updated', 'state:deleted']),
  scope: z.string(),
  key: z.string(),
  old_value: z.unknown().describe('null when there was no value'),
  new_value: z.unknown().describe('null when there is no value'),
});

export function stateTriggerType(events: StateEvents): TriggerTypeDefinition {
  return {
    id: 'state',
    description: 'State trigger',
    configSchema: stateTriggerConfig,
    requestSchema: stateEvent,
    bind(trigger) {
      const config = trigger.config ?? {};
      const parsed = stateTriggerConfig.safeParse(config);
      if (!parsed.success)
        throw new Error(`Failed to parse trigger config: ${describeInputFault(parsed.error, config)}`);
      const { scope, key, condition_function_id } = parsed.data;
      events.add(trigger, {
        scope: scope ?? undefined,
        key: key ?? undefined,
        conditionFunctionId: condition_function_id ?? undefined,
      });
    },
    unbind(trigger) {
      events.remove(trigger.id);
    },
  };
}
