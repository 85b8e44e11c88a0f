/**
 * What a function receives of a request, as JSON text: it is written once, from the raw request, and
 * goes to the worker's socket as it is. Names come from outside, so they are only ever keys of Maps
 * and text, never properties.
 *
 * Hot path: no object per header, no escaping where nothing needs it.
 */
import type { Route } from './route.js';

/** Visible ASCII and space without the two characters that JSON escapes. */
const PLAIN = /^[ !#-[\]-~]*$/;
/** Bytes that a header value of a request object may have; others make it empty. */
const VISIBLE = /^[\t -~]*$/;

/** Header names are lower case; of repeated ones the last counts, as the reference has it. */
export function readHeaders(raw: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>();
  for (let i = 0; i + 1 < raw.length; i += 2) headers.set((raw[i] as string).toLowerCase(), raw[i + 1] as string);
  return headers;
}

/** Header names are tokens (the server has seen to it): they need no escaping. */
export function headersJson(headers: ReadonlyMap<string, string>): string {
  let text = '{';
  for (const [name, value] of headers) text += `${text === '{' ? '"' : ',"'}${name}":${headerValueJson(value)}`;
  return text + '}';
}

function headerValueJson(value: string): string {
  if (PLAIN.test(value)) return `"${value}"`;
  return VISIBLE.test(value) ? JSON.stringify(value) : '""';
}

/** Decodes a query as a form: `+` is a space, bad UTF-8 becomes U+FFFD, of repeated names the last counts. */
export function queryJson(rawQuery: string): string {
  if (rawQuery === '') return '{}';
  return mapJson(new Map(new URLSearchParams(rawQuery)));
}

/** Path parameters are raw: `a%2Fb` stays `a%2Fb`. */
export function pathParamsJson(route: Route, taken: readonly string[]): string {
  const { names } = route.pattern;
  if (names.length === 0) return '{}';
  const params = new Map<string, string>();
  for (let i = 0; i < names.length; i++) params.set(names[i] as string, taken[i] as string);
  return mapJson(params);
}

function mapJson(map: ReadonlyMap<string, string>): string {
  let text = '{';
  for (const [name, value] of map) {
    text += `${text === '{' ? '' : ','}${JSON.stringify(name)}:${PLAIN.test(value) ? `"${value}"` : JSON.stringify(value)}`;
  }
  return text + '}';
}

export interface SplitUrl {
  readonly path: string;
  readonly query: string;
}

/** The raw path and query of a request target; a full address (`GET http://host/path`) counts as its path. */
export function splitUrl(target: string): SplitUrl {
  let url = target;
  if (url.charCodeAt(0) !== 47) {
    const scheme = /^https?:\/\/[^/?]*/i.exec(url);
    if (scheme !== null) url = url.slice(scheme[0].length);
    if (scheme !== null && url.charCodeAt(0) !== 47) url = `/${url}`;
  }
  const mark = url.indexOf('?');
  return mark < 0 ? { path: url, query: '' } : { path: url.slice(0, mark), query: url.slice(mark + 1) };
}
