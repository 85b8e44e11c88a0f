import { HttpCode } from './errors.js';

/** An answer before it is written: what the cross-origin rules and the server add comes later. */
export interface Answer {
  readonly status: number;
  /** Names and values in turns, as `writeHead` takes them. */
  readonly headers: readonly string[];
  /** Undefined = none. */
  readonly body: string | undefined;
}

export const JSON_HEADERS: readonly string[] = ['content-type', 'application/json'];

/** The envelope of every error that the engine answers with itself. */
export function errorAnswer(
  status: number,
  code: string,
  message: string,
  more: { readonly errorId?: string; readonly headers?: readonly string[]; readonly skipped?: true } = {},
): Answer {
  const { errorId, headers, skipped } = more;
  const error = errorId === undefined ? { code, message } : { code, message, error_id: errorId };
  return {
    status,
    headers: headers === undefined ? JSON_HEADERS : [...JSON_HEADERS, ...headers],
    body: JSON.stringify(skipped === undefined ? { error } : { error, skipped }),
  };
}

export function methodNotAllowed(allow: string): Answer {
  const headers = ['allow', allow];
  return errorAnswer(405, HttpCode.methodNotAllowed, 'Method Not Allowed', { headers });
}

export function timedOut(): Answer {
  return errorAnswer(504, HttpCode.timeout, 'Request timed out');
}

export function tooLarge(): Answer {
  return errorAnswer(413, HttpCode.payloadTooLarge, 'Request body too large');
}

export function unavailable(message: string): Answer {
  return errorAnswer(503, HttpCode.unavailable, message, { headers: ['retry-after', '1'] });
}

export function notFound(): Answer {
  return errorAnswer(404, HttpCode.notFound, 'Not Found');
}
