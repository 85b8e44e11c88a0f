import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../core/clock.js';
import type { Answer } from './answer.js';
import type { Cors } from './cors.js';
import type { StreamHead } from './stream-head.js';

/**
 * How long a client that is still sending gets to see the answer before its connection is closed, in
 * milliseconds: closing at once would reset the connection and may destroy the answer on its way.
 */
const LINGER_MS = 2_000;

/**
 * Writes an answer.
 *
 * @param cors - replaces headers of the same name, except `vary`, which is added
 * @param close - end the connection afterwards
 */
export function writeAnswer(
  req: IncomingMessage,
  res: ServerResponse,
  bodyless: boolean,
  answer: Answer,
  cors: readonly string[],
  close: boolean,
  clock: Clock,
): void {
  if (res.destroyed || res.headersSent) return;
  const { status, body } = answer;
  const headers = withCors(answer.headers, cors);
  const bare = status === 204 || status === 304;
  if (!bare) headers.push('content-length', String(body === undefined ? 0 : Buffer.byteLength(body)));
  const unread = status === 413 || (status === 504 && !req.complete);
  if (close || unread) headers.push('connection', 'close');
  res.writeHead(status, headers);
  const text = bodyless || bare ? undefined : body;
  if (unread) linger(req, res, text, clock);
  else res.end(text);
}

/**
 * Writes status and headers of an answer whose body follows. Without a length the body is sent in chunks.
 *
 * @param cors, close - as for `writeAnswer`
 */
export function writeStreamHead(res: ServerResponse, head: StreamHead, cors: readonly string[], close: boolean): void {
  const headers = withCors(head.headers, cors);
  if (head.contentLength !== undefined && head.status !== 204 && head.status !== 304)
    headers.push('content-length', String(head.contentLength));
  if (close) headers.push('connection', 'close');
  res.writeHead(head.status, headers);
}

/** An answer to OPTIONS that no function gives. */
export function writePreflight(
  res: ServerResponse,
  cors: Cors,
  origin: string | undefined,
  allow: string | undefined,
): void {
  const headers = [...cors.preflight(origin)];
  if (allow !== undefined) headers.push('allow', allow);
  headers.push('content-length', '0');
  res.writeHead(200, headers);
  res.end();
}

function withCors(headers: readonly string[], cors: readonly string[]): string[] {
  const merged: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (isReplaced(name, cors)) continue;
    merged.push(name, headers[i + 1] as string);
  }
  for (const text of cors) merged.push(text);
  return merged;
}

function isReplaced(name: string, cors: readonly string[]): boolean {
  if (name.length < 7 || (name.charCodeAt(0) | 32) !== 97) return false; // all of them begin with `access-`
  const lower = name.toLowerCase();
  for (let i = 0; i < cors.length; i += 2) if (cors[i] === lower) return true;
  return false;
}

/** Sends the answer, lets the rest of the request pass by for a while, then closes. */
function linger(req: IncomingMessage, res: ServerResponse, text: string | undefined, clock: Clock): void {
  if (text !== undefined) res.write(text);
  const end = (): void => {
    timer.cancel();
    req.off('end', end).off('close', end);
    res.end();
  };
  const timer = clock.setTimer(end, LINGER_MS);
  req.on('end', end).on('close', end);
  req.resume();
}
