/**
 * What a listener says about those who connect to it (its rules), and what its auth function said
 * about one of them (their grant).
 */
import { isDeepStrictEqual } from 'node:util';
import { DEFAULT_NAMESPACE } from '@trine/protocol';
import { z } from 'zod';
import { AccessPattern, patternOf } from './access-pattern.js';
import type { JsonValue } from './worker-host.js';

/** Time for an auth function or a registration hook to answer, in milliseconds: as long as the SDKs wait for a handshake. */
export const DEFAULT_ACCESS_TIMEOUT_MS = 10_000;
/** Time for a middleware to answer, in milliseconds: the target runs in it, so it gets what a call gets (30 min). */
export const DEFAULT_MIDDLEWARE_TIMEOUT_MS = 30 * 60_000;

export interface AccessRules {
  /** The listener's entry in config.yaml, for logs. */
  readonly who: string;
  /** False: there is a middleware and nothing else, so everything may be called and registered. */
  readonly restricted: boolean;
  readonly authFunctionId: string | undefined;
  readonly expose: readonly ExposeFilter[];
  readonly onFunction: string | undefined;
  readonly onTrigger: string | undefined;
  readonly onTriggerType: string | undefined;
  readonly middleware: string | undefined;
  /** Time for the auth function or a hook to answer, in milliseconds. */
  readonly timeoutMs: number;
  readonly middlewareTimeoutMs: number;
}

/** Functions of which rules depend: nobody behind rules may serve them. */
export function guardFunctions(rules: AccessRules): string[] {
  return [rules.authFunctionId, rules.onFunction, rules.onTrigger, rules.onTriggerType, rules.middleware].filter(
    (id) => id !== undefined,
  );
}

/** One entry of `expose_functions`. */
export class ExposeFilter {
  readonly #namespace: string;
  readonly #id: AccessPattern | undefined;
  readonly #metadata: readonly (readonly [key: string, wanted: AccessPattern | JsonValue])[];

  private constructor(
    namespace: string | undefined,
    id: AccessPattern | undefined,
    metadata: Readonly<Record<string, JsonValue>>,
  ) {
    this.#namespace = namespace ?? DEFAULT_NAMESPACE;
    this.#id = id;
    this.#metadata = Object.entries(metadata).map(([key, wanted]) => {
      const pattern = typeof wanted === 'string' ? patternOf(wanted) : undefined;
      return [key, pattern === undefined ? wanted : new AccessPattern(pattern)];
    });
  }

  static byId(pattern: string, namespace?: string): ExposeFilter {
    return new ExposeFilter(namespace, new AccessPattern(pattern), {});
  }

  /** Every key must be there and equal; `match("...")` compares text by pattern. */
  static byMetadata(metadata: Readonly<Record<string, JsonValue>>, namespace?: string): ExposeFilter {
    return new ExposeFilter(namespace, undefined, metadata);
  }

  /** @param owners - metadata of everybody who offers the function: all must fit, or one could let others out */
  exposes(functionId: string, namespace: string, owners: () => readonly unknown[]): boolean {
    if (namespace !== this.#namespace) return false;
    if (this.#id !== undefined) return this.#id.fits(functionId);
    const all = owners();
    return all.length > 0 && all.every((metadata) => this.#fits(metadata));
  }

  #fits(metadata: unknown): boolean {
    if (typeof metadata !== 'object' || metadata === null) return false;
    return this.#metadata.every(([key, wanted]) => {
      if (!Object.hasOwn(metadata, key)) return false;
      const value = (metadata as Record<string, unknown>)[key];
      return wanted instanceof AccessPattern
        ? typeof value === 'string' && wanted.fits(value)
        : isDeepStrictEqual(value, wanted);
    });
  }
}

/** What one session may do beyond and against the listener's rules. */
export interface AccessGrant {
  readonly allowed: ReadonlySet<string>;
  readonly forbidden: ReadonlySet<string>;
  /** Functions by namespace; also the namespaces that the session may live in. */
  readonly namespaces: ReadonlyMap<string, readonly AccessPattern[]>;
  /** undefined = all. */
  readonly triggerTypes: ReadonlySet<string> | undefined;
  readonly mayRegisterTriggerTypes: boolean;
  readonly mayRegisterFunctions: boolean;
  readonly prefix: string | undefined;
  /** Handed to hooks and the middleware. */
  readonly context: JsonValue;
}

/** Everybody's grant where no auth function is configured. */
export const OPEN_GRANT: AccessGrant = {
  allowed: new Set(),
  forbidden: new Set(),
  namespaces: new Map(),
  triggerTypes: undefined,
  mayRegisterTriggerTypes: true,
  mayRegisterFunctions: true,
  prefix: undefined,
  context: {},
};

const ids = z.array(z.string()).nullish();
const authResult = z.object({
  namespaces: z.record(z.string(), z.array(z.string())).nullish(),
  allowed_functions: ids,
  forbidden_functions: ids,
  allowed_trigger_types: ids,
  allow_trigger_type_registration: z.boolean().nullish(),
  allow_function_registration: z.boolean().nullish(),
  context: z.unknown().optional(),
  // A prefix that came out empty would put a session among everybody's functions.
  function_registration_prefix: z.string().min(1, 'must not be empty: leave it out for no prefix').nullish(),
});

/** @returns the grant, or what is wrong with the answer of the auth function */
export function readGrant(answer: unknown): AccessGrant | string {
  if (answer === undefined || answer === null) return 'auth function returned no result';
  const parsed = authResult.safeParse(answer);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const where = issue?.path.join('.') ?? '';
    return `auth function returned an unusable result: ${where === '' ? '' : `${where}: `}${issue?.message ?? ''}`;
  }
  const result = parsed.data;
  return {
    allowed: new Set(result.allowed_functions),
    forbidden: new Set(result.forbidden_functions),
    namespaces: new Map(
      Object.entries(result.namespaces ?? {}).map(([namespace, patterns]) => [
        namespace,
        patterns.map((pattern) => new AccessPattern(patternOf(pattern) ?? pattern)),
      ]),
    ),
    triggerTypes: isGiven(result.allowed_trigger_types) ? new Set(result.allowed_trigger_types) : undefined,
    mayRegisterTriggerTypes: result.allow_trigger_type_registration ?? false,
    mayRegisterFunctions: result.allow_function_registration ?? true,
    prefix: result.function_registration_prefix ?? undefined,
    context: (result.context as JsonValue | undefined) ?? {},
  };
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== undefined && value !== null;
}
