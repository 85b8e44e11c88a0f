/** The keys of `iii-worker-manager` that say who may connect and what they may do. */
import { z } from 'zod';
import { patternOf } from '../core/access-pattern.js';
import {
  DEFAULT_ACCESS_TIMEOUT_MS,
  DEFAULT_MIDDLEWARE_TIMEOUT_MS,
  ExposeFilter,
  type AccessRules,
} from '../core/access-rules.js';
import type { JsonValue } from '../core/worker-host.js';

/** A hook's answer holds back its connection, which looks dead after a minute: it must come well before. In milliseconds. */
const MAX_ACCESS_TIMEOUT_MS = 30_000;
/** The longest timeout that timers keep, in milliseconds (24.8 days). */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

const functionId = z.string().min(1).nullish();
const namespace = z.string().min(1).optional().describe('Default `default`');

const HOW = 'write `match("pattern")`, `{ match: "pattern", namespace? }` or `{ metadata: { ... }, namespace? }`';
const exposed = z.union(
  [
    z.string().refine((text) => patternOf(text) !== undefined, HOW),
    z.strictObject({
      match: z.string().min(1).describe('Pattern of function ids; `*` is any run of characters'),
      namespace,
    }),
    z.strictObject({
      metadata: z
        .record(z.string(), z.unknown())
        .refine((keys) => Object.keys(keys).length > 0, 'names no key')
        .describe('Keys that the metadata of a function must have, with equal values or `match("...")`'),
      namespace,
    }),
  ],
  { error: HOW },
);

const rbac = z.strictObject({
  auth_function_id: functionId.describe(
    'Function that is asked about every connection. Left out: everybody may connect and register',
  ),
  expose_functions: z
    .array(exposed)
    .nullish()
    .describe('Functions that every session may call: `match("pattern")`, or by metadata'),
  on_function_registration_function_id: functionId.describe('Hook: may this function be registered, and as what?'),
  on_trigger_registration_function_id: functionId.describe('Hook: may this trigger be registered, and as what?'),
  on_trigger_type_registration_function_id: functionId.describe(
    'Hook: may this trigger type be registered, and as what?',
  ),
});

export const accessKeys = {
  rbac: rbac.nullish().describe('Access rules. Left out: whoever connects may call and register everything'),
  middleware_function_id: functionId.describe('Function that answers every call of this listener, and makes it or not'),
  access_timeout_ms: z
    .number()
    .int()
    .min(1)
    .max(MAX_ACCESS_TIMEOUT_MS)
    .default(DEFAULT_ACCESS_TIMEOUT_MS)
    .describe('Time for the auth function or a hook to answer, in milliseconds; no answer is a refusal'),
  middleware_timeout_ms: z
    .number()
    .int()
    .min(1)
    .max(MAX_TIMEOUT_MS)
    .default(DEFAULT_MIDDLEWARE_TIMEOUT_MS)
    .describe('Time for the middleware to answer, in milliseconds'),
  allowed_origins: z
    .array(z.string().min(1))
    .nullish()
    .describe('Origins of the pages that may connect, e.g. `https://app.example`. Left out, or `*` among them: any'),
};

type AccessSettings = z.output<z.ZodObject<typeof accessKeys, z.core.$strict>>;

/** The rules of a listener; undefined when it has none. */
export function rulesOf(config: AccessSettings, who: string): AccessRules | undefined {
  const { rbac } = config;
  const middleware = config.middleware_function_id ?? undefined;
  if (!isGiven(rbac) && middleware === undefined) return undefined;
  return {
    who,
    restricted: isGiven(rbac),
    authFunctionId: rbac?.auth_function_id ?? undefined,
    expose: (rbac?.expose_functions ?? []).map(filterOf),
    onFunction: rbac?.on_function_registration_function_id ?? undefined,
    onTrigger: rbac?.on_trigger_registration_function_id ?? undefined,
    onTriggerType: rbac?.on_trigger_type_registration_function_id ?? undefined,
    middleware,
    timeoutMs: config.access_timeout_ms,
    middlewareTimeoutMs: config.middleware_timeout_ms,
  };
}

function filterOf(entry: z.output<typeof exposed>): ExposeFilter {
  if (typeof entry === 'string') return ExposeFilter.byId(patternOf(entry) as string);
  if ('match' in entry) return ExposeFilter.byId(patternOf(entry.match) ?? entry.match, entry.namespace);
  return ExposeFilter.byMetadata(entry.metadata as Record<string, JsonValue>, entry.namespace);
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== undefined && value !== null;
}
