import { Ajv, type ErrorObject } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';

export type JsonSchema = boolean | Readonly<Record<string, unknown>>;

/** Says what is wrong with a value; nothing when it holds. */
export type Validator = (value: unknown) => string[];

/** Faults told at once, so that a large value does not make a large message. */
const MAX_FAULTS = 20;

/**
 * Compiles a schema that a worker sent. Each has a compiler of its own: ids of two schemas cannot
 * collide, and nothing outlives the configuration.
 *
 * @throws Error when it is no JSON Schema (draft-07 or 2020-12)
 */
export function compileSchema(schema: JsonSchema): Validator {
  const named = typeof schema === 'object' ? schema['$schema'] : undefined;
  const options = { allErrors: true, strict: false, validateFormats: false, logger: false } as const;
  const compiler = typeof named === 'string' && named.includes('2020-12') ? new Ajv2020(options) : new Ajv(options);
  const validate = compiler.compile(schema);
  return (value) => (validate(value) ? [] : (validate.errors ?? []).slice(0, MAX_FAULTS).map(describe));
}

function describe(error: ErrorObject): string {
  const { additionalProperty, allowedValues } = error.params as {
    additionalProperty?: string;
    allowedValues?: unknown[];
  };
  const where = error.instancePath === '' ? '' : `${error.instancePath.slice(1).replaceAll('/', '.')}: `;
  if (additionalProperty !== undefined) return `${where}unknown key "${additionalProperty}"`;
  const allowed =
    allowedValues === undefined ? '' : ` (${allowedValues.map((value) => JSON.stringify(value)).join(', ')})`;
  return `${where}${error.message ?? 'does not match'}${allowed}`;
}
