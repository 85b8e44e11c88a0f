import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { scanObject } from '@trine/protocol';
import type { Clock } from '../../core/clock.js';

/** `aborted`: the client left before the end. `late`: the end did not come in time. */
export type BodyRead = Buffer | 'too_large' | 'aborted' | 'late';

/** Does the request say that a body follows? */
export function hasBody(headers: ReadonlyMap<string, string>): boolean {
  const length = headers.get('content-length');
  return (length !== undefined && length !== '0') || headers.has('transfer-encoding');
}

/** The reference's test, letter by letter: other spellings are not JSON to clients of it either. */
export function isJson(contentType: string | undefined): boolean {
  return contentType?.includes('application/json') === true;
}

/**
 * Reads a whole body. After `too_large` and `late` the rest of it has not been read.
 *
 * @param timeoutMs - milliseconds until `late`
 */
export function readBody(req: IncomingMessage, maxBytes: number, clock: Clock, timeoutMs: number): Promise<BodyRead> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const end = (result: BodyRead): void => {
      timer.cancel();
      req.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
      // A request that fails later has nobody else who listens.
      req.on('error', () => undefined);
      resolve(result);
    };
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > maxBytes) end('too_large');
      else chunks.push(chunk);
    };
    const onEnd = (): void => end(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
    const onClose = (): void => end('aborted');
    const timer = clock.setTimer(() => end('late'), timeoutMs);
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  });
}

/** The body as JSON text, as sent; `null` when it is empty, no UTF-8, no JSON or nested deeper than 128 levels. */
export function bodyJson(body: Buffer): string {
  if (body.length === 0 || !isUtf8(body)) return 'null';
  const text = body.toString('utf8');
  try {
    scanObject(text);
  } catch {
    return 'null';
  }
  return text;
}
