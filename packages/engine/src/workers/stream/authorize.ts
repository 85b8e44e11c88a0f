/**
 * Asks the auth function whether a client may connect. It fails closed: no such function, an error, no
 * answer in time or an answer that is no object keeps the client out.
 */
import type { IncomingMessage } from 'node:http';
import { memberText, Payload } from '@trine/protocol';
import type { WorkerHost } from '../../core/worker-host.js';

/** Time for the auth function, in milliseconds. */
export const AUTH_TIMEOUT_MS = 10_000;

/** `context`: raw JSON, handed to the join and leave functions. */
export type Authorization =
  { readonly allowed: true; readonly context: string } | { readonly allowed: false; readonly reason: string };

export async function authorize(
  host: WorkerHost,
  functionId: string,
  request: IncomingMessage,
): Promise<Authorization> {
  const outcome = await host.invoke({
    functionId,
    payload: Payload.fromForeign(describe(request)),
    timeoutMs: AUTH_TIMEOUT_MS,
  });
  if (!outcome.ok) return refused(outcome.error.message);
  const answer = outcome.result?.json.trim();
  if (answer === undefined || !answer.startsWith('{')) return refused('its answer is no object');
  const unauthorized = memberText(answer, 'unauthorized') ?? 'null';
  if (unauthorized !== 'false' && unauthorized !== 'null') return refused('it answered `unauthorized`');
  return { allowed: true, context: memberText(answer, 'context') ?? 'null' };
}

function refused(reason: string): Authorization {
  return { allowed: false, reason };
}

/** What the auth function sees of a client. Query values are as they were sent, not decoded. */
function describe(request: IncomingMessage): object {
  const target = request.url ?? '/';
  const at = target.indexOf('?');
  const query = new Map<string, string[]>();
  for (const pair of (at < 0 ? '' : target.slice(at + 1)).split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = equals < 0 ? pair : pair.slice(0, equals);
    const value = equals < 0 ? '' : pair.slice(equals + 1);
    query.set(name, [...(query.get(name) ?? []), value]);
  }
  const { remoteAddress = '', remotePort = 0 } = request.socket;
  return {
    headers: Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
    ),
    path: at < 0 ? target : target.slice(0, at),
    query_params: Object.fromEntries(query),
    addr: `${remoteAddress.includes(':') ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`,
  };
}
