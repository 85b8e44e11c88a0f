/** What a response means for the caller. */
import { STATUS_CODES } from 'node:http';
import { Payload, scanObject, toErrorBody, TrineError } from '@trine/protocol';
import { HttpFunctionCode, invalidResponse } from './errors.js';
import type { InboundResponse } from './send.js';

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * The result that a response stands for; undefined = none.
 *
 * @throws TrineError for what the response reports as failed, and for a success that is not JSON
 */
export function resultOf({ status, body }: InboundResponse): Payload | undefined {
  if (status >= 400) throw failureOf(status, body);
  const isSuccess = status >= 200 && status < 300;
  if (body.length === 0) return undefined;
  try {
    return jsonOf(body);
  } catch (error) {
    if (isSuccess) throw invalidResponse(toErrorBody(error).message);
    return undefined;
  }
}

/** Numbers keep the text they were written in. */
function jsonOf(body: Buffer): Payload {
  const text = utf8.decode(body);
  scanObject(text);
  return Payload.fromJson(text);
}

function failureOf(status: number, body: Buffer): TrineError {
  const error = errorMember(body);
  if (error === undefined) {
    const reason = STATUS_CODES[status];
    return new TrineError(HttpFunctionCode.httpError, `HTTP ${status}${reason === undefined ? '' : ` ${reason}`}`);
  }
  const { code, message } = error;
  return new TrineError(
    typeof code === 'string' && code !== '' ? code : HttpFunctionCode.httpError,
    typeof message === 'string' ? message : 'HTTP request failed',
  );
}

function errorMember(body: Buffer): { readonly code?: unknown; readonly message?: unknown } | undefined {
  let value: unknown;
  try {
    value = jsonOf(body).value;
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { error } = value as { readonly error?: unknown };
  return typeof error === 'object' && error !== null && !Array.isArray(error) ? error : undefined;
}
