import { z } from 'zod';
import { describeInputFault } from '../../core/input-fault.js';
import type { TriggerTypeDefinition } from '../../core/worker-host.js';
import type { ConfigurationEvents } from './events.js';

const EVENT_TYPES = ['configuration:registered', 'configuration:updated', 'configuration:deleted'] as const;

const triggerConfig = z.object({
  configuration_id: z.string().nullish().describe('Only events of this configuration. Left out: of every one.'),
  event_types: z
    .array(z.string().transform(fullName).pipe(z.enum(EVENT_TYPES)))
    .nullish()
    .describe('Only these kinds, e.g. `configuration:updated` or `updated`. Left out or empty: all.'),
  condition_function_id: z
    .string()
    .nullish()
    .describe('Asked first with the same event; the trigger fires unless it answers false.'),
});

const configurationEvent = z.object({
  type: z.literal('configuration'),
  event_type: z.enum(EVENT_TYPES),
  id: z.string(),
  name: z.string(),
  description: z.string(),
  schema: z.unknown(),
  old_value: z.unknown().describe('Placeholders expanded; null when there was none'),
  new_value: z.unknown().describe('Placeholders expanded; null when there is none'),
  metadata: z.unknown().optional(),
});

export function configurationTriggerType(events: ConfigurationEvents): TriggerTypeDefinition {
  return {
    id: 'configuration',
    description: 'Configuration trigger',
    configSchema: triggerConfig,
    requestSchema: configurationEvent,
    bind(trigger) {
      const config = trigger.config ?? {};
      const parsed = triggerConfig.safeParse(config);
      if (!parsed.success)
        throw new Error(`Failed to parse configuration trigger config: ${describeInputFault(parsed.error, config)}`);
      events.add(trigger, {
        configurationId: parsed.data.configuration_id ?? undefined,
        eventTypes: new Set(parsed.data.event_types ?? []),
        conditionFunctionId: parsed.data.condition_function_id ?? undefined,
      });
    },
    unbind(trigger) {
      events.remove(trigger.id);
    },
  };
}

function fullName(type: string): string {
  return type.includes(':') ? type : `configuration:${type}`;
}
