/**
 * The auth function of a listener: asked once for every socket, before anything is read from it.
 */
import type { IncomingMessage } from 'node:http';
import type { AccessHooks } from '../core/access-hook.js';
import { OPEN_GRANT, readGrant, type AccessGrant, type AccessRules } from '../core/access-rules.js';
import type { JsonValue } from '../core/worker-host.js';

/** The code of the `error` frame that a refused connection gets before it is closed. */
export const AUTH_ERROR = 'AUTH_ERROR';

export type Authentication =
  { readonly ok: true; readonly grant: AccessGrant } | { readonly ok: false; readonly reason: string };

export async function authenticate(
  hooks: AccessHooks,
  rules: AccessRules,
  request: IncomingMessage,
): Promise<Authentication> {
  if (rules.authFunctionId === undefined) return { ok: true, grant: OPEN_GRANT };
  const answer = await hooks.ask(rules.authFunctionId, authInput(request), rules.timeoutMs);
  if (!answer.ok) return { ok: false, reason: answer.fault };
  const grant = readGrant(answer.value);
  return typeof grant === 'string' ? { ok: false, reason: grant } : { ok: true, grant };
}

/** What the auth function is told of a connection. */
export function authInput(request: IncomingMessage): { readonly [key: string]: JsonValue } {
  return {
    headers: headersOf(request.rawHeaders),
    query_params: queryOf(request.url ?? ''),
    ip_address: peerOf(request.socket.remoteAddress),
  };
}

/** Names in lower case; of several the last; values that are not plain text are left out. */
function headersOf(raw: readonly string[]): Record<string, string> {
  const headers = empty<string>();
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const value = raw[i + 1] as string;
    if (/^[\t\x20-\x7e]*$/.test(value)) headers[(raw[i] as string).toLowerCase()] = value;
  }
  return headers;
}

/** Every value of every key, percent-decoded; what cannot be decoded stays as it came. */
function queryOf(url: string): Record<string, string[]> {
  const params = empty<string[]>();
  const start = url.indexOf('?');
  if (start < 0) return params;
  for (const pair of url.slice(start + 1).split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const key = decoded(equals < 0 ? pair : pair.slice(0, equals));
    (params[key] ??= []).push(equals < 0 ? '' : decoded(pair.slice(equals + 1)));
  }
  return params;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A v4 peer of a socket for both families is told as v4. */
function peerOf(address = ''): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}

/** Names come from outside: nothing of `Object` is among them. */
function empty<Value>(): Record<string, Value> {
  return Object.create(null) as Record<string, Value>;
}
