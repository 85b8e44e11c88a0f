/** The `invocation` of a registration, checked. */
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { z } from 'zod';
import { authSchema } from './credentials.js';
import { invalidInvocation } from './errors.js';

/** Without a `timeout_ms` of its own a request may take this long, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 30_000;
/** The longest timeout that timers keep, in milliseconds (24.8 days). */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
/** Headers that one function may add to its requests. */
const MAX_HEADERS = 100;

/** Headers that belong to the connection, not to the function. */
const RESERVED: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const invocationSchema = z.object({
  url: z.string().min(1),
  method: z
    .enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
    .nullish()
    .transform((method) => method ?? 'POST'),
  timeout_ms: z.int().min(1).max(MAX_TIMEOUT_MS).nullish(),
  headers: z.record(z.string(), z.string()).nullish(),
  auth: authSchema.nullish(),
});

export interface Invocation {
  readonly url: string;
  readonly method: string;
  readonly timeoutMs: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly auth: z.infer<typeof authSchema> | undefined;
}

/** @throws TrineError `invalid_invocation` naming the member */
export function parseInvocation(value: unknown): Invocation {
  const parsed = invocationSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const path = ['invocation', ...(issue?.path ?? [])].join('.');
    throw invalidInvocation(`${path}: ${issue?.message ?? 'is not valid'}`);
  }
  const { url, method, timeout_ms, headers, auth } = parsed.data;
  return {
    url,
    method,
    timeoutMs: timeout_ms ?? DEFAULT_TIMEOUT_MS,
    headers: checkHeaders(Object.entries(headers ?? {})),
    auth: auth ?? undefined,
  };
}

function checkHeaders(headers: [string, string][]): [string, string][] {
  if (headers.length > MAX_HEADERS) {
    throw invalidInvocation(`invocation.headers: ${headers.length} headers, at most ${MAX_HEADERS} are sent`);
  }
  for (const [name, value] of headers) {
    if (RESERVED.has(name.toLowerCase())) {
      throw invalidInvocation(`invocation.headers: '${name}' belongs to the connection and cannot be set`);
    }
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch {
      throw invalidInvocation(`invocation.headers: '${name}' is not a header that can be sent`);
    }
  }
  return headers;
}
