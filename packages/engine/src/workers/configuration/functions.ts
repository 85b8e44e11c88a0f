import { z } from 'zod';
import type { FunctionDefinition, JsonValue } from '../../core/worker-host.js';
import type { Entry } from './entry-store.js';
import type { ConfigurationService } from './service.js';

const id = z.string().describe('[a-z0-9_-]{1,64}; for a built-in worker its name, e.g. `iii-queue`.');
const schema = z.union([z.record(z.string(), z.unknown()), z.boolean()]);
const described = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  schema: z.unknown(),
  metadata: z.unknown().optional(),
});

const registerInput = z.object({
  id,
  name: z.string(),
  description: z.string(),
  schema: schema.describe('JSON Schema of the value.'),
  initial_value: z.unknown().optional().describe('Left out: a value that is there already stays.'),
  metadata: z.unknown().optional(),
});
const setInput = z.object({ id, value: z.json().describe('Replaces the whole value. Text may hold ${VAR:default}.') });
const getInput = z.object({ id, raw: z.boolean().nullish().describe('true: as set, with its placeholders.') });

/** @param service - asked at each call: another one takes over when the folder of the files changes */
export function configurationFunctions(service: () => ConfigurationService): FunctionDefinition[] {
  return [
    define({
      id: 'configuration::register',
      description: 'Register a configuration and its schema',
      request: registerInput,
      response: described.extend({ value: z.unknown() }),
      handler: async ({ id, name, description, schema, initial_value, metadata }) =>
        (await service().register({
          id,
          name,
          description,
          schema,
          initialValue: initial_value,
          metadata,
        })) as unknown as JsonValue,
    }),
    define({
      id: 'configuration::set',
      description: 'Replace the value of a configuration',
      request: setInput,
      response: z.object({ old_value: z.unknown(), new_value: z.unknown() }),
      async handler({ id, value }) {
        const { oldValue, newValue } = await service().set(id, value);
        return { old_value: oldValue, new_value: newValue } as JsonValue;
      },
    }),
    define({
      id: 'configuration::get',
      description: 'Read the value of a configuration',
      request: getInput,
      response: z.object({ id: z.string(), value: z.unknown() }),
      handler: ({ id, raw }) => ({ id, value: service().value(id, raw ?? false) }) as JsonValue,
    }),
    define({
      id: 'configuration::list',
      description: 'List configurations, without their values',
      response: z.object({ configurations: z.array(described) }),
      handler: () => ({ configurations: service().list().map(shown) }),
    }),
    define({
      id: 'configuration::schema',
      description: 'Describe one configuration, without its value',
      request: z.object({ id }),
      response: described,
      handler: ({ id }) => shown(service().entry(id)),
    }),
  ];
}

/** Lets each handler have the type of its own input. */
function define<Input>(definition: FunctionDefinition<Input>): FunctionDefinition {
  return definition;
}

function shown({ id, name, description, schema, metadata }: Entry): JsonValue {
  return { id, name, description, schema, ...(metadata === undefined ? {} : { metadata }) } as JsonValue;
}
