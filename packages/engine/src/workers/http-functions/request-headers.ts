/** The headers of one request. Each name is sent once, whatever its spelling. */

/** `version-traceid-parentid-flags` (W3C Trace Context); what a caller sent otherwise is no header. */
const TRACEPARENT = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}$/;

export interface HeaderParts {
  readonly functionId: string;
  readonly invocationId: string;
  /** Unix time in seconds. */
  readonly timestamp: string;
  readonly traceparent: string | undefined;
  /** What the function was registered with. */
  readonly own: readonly (readonly [name: string, value: string])[];
  readonly credentials: readonly [name: string, value: string] | undefined;
}

/**
 * A function may choose its own `Content-Type` (of JSON, in every case). What says who calls, and proves it,
 * is the engine's.
 */
export function requestHeaders(parts: HeaderParts): Record<string, string> {
  const headers = new Map<string, readonly [name: string, value: string]>();
  const set = (name: string, value: string): void => void headers.set(name.toLowerCase(), [name, value]);
  set('Content-Type', 'application/json');
  set('Accept-Encoding', 'identity');
  for (const [name, value] of parts.own) set(name, value);
  set('x-iii-Function-Path', printable(parts.functionId));
  set('x-iii-Invocation-ID', parts.invocationId);
  set('x-iii-Timestamp', parts.timestamp);
  if (parts.traceparent !== undefined && TRACEPARENT.test(parts.traceparent)) set('traceparent', parts.traceparent);
  if (parts.credentials !== undefined) set(...parts.credentials);
  return Object.fromEntries(headers.values());
}

/** Function ids may be any text, headers are ASCII: the rest is percent-encoded as UTF-8. */
function printable(id: string): string {
  if (/^[\x21-\x7e]+$/.test(id)) return id;
  let text = '';
  for (const byte of Buffer.from(id)) {
    text +=
      byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}
