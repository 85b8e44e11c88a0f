/** What a function returned, as an answer. The table is in the reference documentation of the worker. */
import { memberText, type Payload } from '@trine/protocol';
import { JSON_HEADERS, type Answer } from './answer.js';
import { compactJson, hasFragileNumbers } from './json-text.js';

const DEFAULT_STATUS = 200;
const NO_CONTENT = 204;

/** Headers about the connection and the length of the message: the server knows them, a function cannot. */
const SERVERS_OWN: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Bytes that may not be in a header value: controls other than the tab. */
const FORBIDDEN_IN_VALUE = /[\0-\x08\n-\x1f\x7f]/;
const NOT_ASCII = /[^\0-\x7f]/;

/** Tells of a header that cannot be sent; the rest of the answer is sent. */
export type OnBadHeader = (name: string) => void;

/** The answer to a handler's result; no result and null are 204. */
export function handlerAnswer(result: Payload | undefined, onBadHeader: OnBadHeader): Answer {
  if (result === undefined || result.isNull) return { status: NO_CONTENT, headers: [], body: undefined };
  const value = result.value;
  if (value === null) return { status: NO_CONTENT, headers: [], body: undefined };
  if (typeof value !== 'object' || Array.isArray(value)) {
    return { status: DEFAULT_STATUS, headers: JSON_HEADERS, body: '{}' };
  }
  const { status_code, headers: given, body } = value as { status_code?: unknown; headers?: unknown; body?: unknown };
  const headers = Array.isArray(given) ? headerLines(given, onBadHeader) : headerObject(given, onBadHeader);
  const status = statusOf(status_code);
  const type = contentType(given, headers);
  if (type === undefined) {
    return { status, headers: [...JSON_HEADERS, ...headers], body: bodyText(result, body) };
  }
  if (typeof body === 'string') return { status, headers, body };
  if (body === null) return { status, headers, body: '' };
  return { status, headers, body: bodyText(result, body) };
}

/**
 * The answer of a middleware function that responds itself: the body is always JSON, and headers count
 * only if all of them are strings.
 */
export function middlewareAnswer(response: unknown, onBadHeader: OnBadHeader): Answer {
  const { status_code, headers: given, body } = isRecord(response) ? response : {};
  const usable = isRecord(given) && Object.values(given).every((value) => typeof value === 'string');
  const headers = usable ? headerObject(given, onBadHeader) : [];
  const typed = headers.some((text, index) => index % 2 === 0 && text.toLowerCase() === 'content-type');
  return {
    status: statusOf(status_code),
    headers: typed ? headers : [...JSON_HEADERS, ...headers],
    body: JSON.stringify(body ?? null),
  };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Non-negative integers count, cut to 16 bits; what is no status then is 200. */
function statusOf(given: unknown): number {
  if (typeof given !== 'number' || !Number.isSafeInteger(given) || given < 0) return DEFAULT_STATUS;
  const status = given % 65_536;
  return status >= 100 && status <= 999 ? status : DEFAULT_STATUS;
}

/** A body that is missing is `{}`. Numbers stay as the function wrote them. */
function bodyText(result: Payload, body: unknown): string {
  if (body === undefined) return '{}';
  const { json } = result;
  if (typeof body === 'string' || !hasFragileNumbers(json)) return JSON.stringify(body);
  return compactJson(memberText(json, 'body') ?? '{}');
}

export function headerObject(given: unknown, onBadHeader: OnBadHeader): string[] {
  const headers: string[] = [];
  if (!isRecord(given)) return headers;
  for (const name of Object.keys(given)) {
    const value = given[name];
    if (typeof value === 'string') addHeader(headers, name, value, onBadHeader);
  }
  return headers;
}

/** `Name: value` lines: the way to repeat a header. */
function headerLines(given: readonly unknown[], onBadHeader: OnBadHeader): string[] {
  const headers: string[] = [];
  for (const line of given) {
    if (typeof line !== 'string') continue;
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).trim();
    if (name !== '') addHeader(headers, name, line.slice(colon + 1).trim(), onBadHeader);
  }
  return headers;
}

function addHeader(headers: string[], name: string, value: string, onBadHeader: OnBadHeader): void {
  if (SERVERS_OWN.has(name.toLowerCase())) return;
  if (FORBIDDEN_IN_VALUE.test(value) || !isHeaderName(name)) onBadHeader(name);
  else headers.push(name, NOT_ASCII.test(value) ? Buffer.from(value, 'utf8').toString('latin1') : value);
}

const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

function isHeaderName(name: string): boolean {
  return TOKEN.test(name);
}

/** The content type that the function set; also one that could not be sent: then there is no default either. */
function contentType(given: unknown, headers: readonly string[]): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if ((headers[i] as string).toLowerCase() === 'content-type') return headers[i + 1];
  }
  if (Array.isArray(given)) {
    return given.some((line) => typeof line === 'string' && /^\s*content-type\s*:/i.test(line)) ? '' : undefined;
  }
  if (!isRecord(given)) return undefined;
  for (const name of Object.keys(given)) {
    if (name.toLowerCase() === 'content-type' && typeof given[name] === 'string') return '';
  }
  return undefined;
}
