/**
 * The scanner: validates a JSON text and finds the spans of its top-level members without parsing
 * them. It accepts exactly what `JSON.parse` accepts, to a nesting depth of `MAX_JSON_DEPTH`.
 *
 * Hot path. Rules kept here: no allocation per character, no closure per frame, no parse of a
 * member's value. Guarded by the routed-call rows of the benchmarks.
 */

/** Deepest nesting accepted, in levels of `{` and `[` (the limit of the common JSON readers). */
export const MAX_JSON_DEPTH = 128;

/** A JSON text that no reader would accept, with the place. */
export class JsonSyntaxError extends Error {
  /** Offset in UTF-16 units from the start of the text. */
  readonly position: number;

  constructor(message: string, position: number) {
    super(`${message} at position ${position}`);
    this.name = 'JsonSyntaxError';
    this.position = position;
  }
}

/** Top-level members of an object: `keys[i]` has its value at `text.slice(starts[i], ends[i])`. */
export interface ObjectSpans {
  readonly keys: string[];
  readonly starts: number[];
  readonly ends: number[];
}

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const LBRACKET = 0x5b;
const BACKSLASH = 0x5c;
const RBRACKET = 0x5d;
const LBRACE = 0x7b;
const RBRACE = 0x7d;

/**
 * Validates `text` and, if it is an object, returns where its members are.
 *
 * @returns the spans, or undefined when the document is valid but not an object
 * @throws JsonSyntaxError with the position of the first fault
 */
export function scanObject(text: string): ObjectSpans | undefined {
  let i = skipSpace(text, 0);
  if (text.charCodeAt(i) !== LBRACE) {
    i = skipSpace(text, skipValue(text, i, 0));
    if (i !== text.length) throw unexpected(text, i);
    return undefined;
  }
  const keys: string[] = [];
  const starts: number[] = [];
  const ends: number[] = [];
  i = skipSpace(text, i + 1);
  if (text.charCodeAt(i) === RBRACE) {
    i++;
  } else {
    for (;;) {
      if (text.charCodeAt(i) !== QUOTE) throw unexpected(text, i);
      const keyEnd = skipString(text, i);
      keys.push(unquote(text, i, keyEnd));
      i = skipSpace(text, keyEnd);
      if (text.charCodeAt(i) !== COLON) throw unexpected(text, i);
      i = skipSpace(text, i + 1);
      starts.push(i);
      i = skipValue(text, i, 1);
      ends.push(i);
      i = skipSpace(text, i);
      const c = text.charCodeAt(i);
      if (c === COMMA) {
        i = skipSpace(text, i + 1);
      } else if (c === RBRACE) {
        i++;
        break;
      } else {
        throw unexpected(text, i);
      }
    }
  }
  i = skipSpace(text, i);
  if (i !== text.length) throw unexpected(text, i);
  return { keys, starts, ends };
}

/**
 * The raw text of one top-level member, or undefined when there is none. With duplicate keys the
 * last one counts, as in `JSON.parse`.
 */
export function memberText(text: string, key: string): string | undefined {
  const spans = scanObject(text);
  if (spans === undefined) return undefined;
  const at = spans.keys.lastIndexOf(key);
  return at < 0 ? undefined : text.slice(spans.starts[at], spans.ends[at]);
}

/** The string value of the literal at `text[start..end)`, quotes included. */
export function unquote(text: string, start: number, end: number): string {
  const inner = text.slice(start + 1, end - 1);
  return inner.indexOf('\\') < 0 ? inner : (JSON.parse(text.slice(start, end)) as string);
}

function skipSpace(text: string, from: number): number {
  let i = from;
  for (;;) {
    const c = text.charCodeAt(i);
    if (c === SPACE || c === LF || c === CR || c === TAB) i++;
    else return i;
  }
}

function skipValue(text: string, i: number, depth: number): number {
  const c = text.charCodeAt(i);
  if (c === QUOTE) return skipString(text, i);
  if (c === LBRACE) return skipMembers(text, i, depth + 1);
  if (c === LBRACKET) return skipElements(text, i, depth + 1);
  if (c === MINUS || (c >= ZERO && c <= NINE)) return skipNumber(text, i);
  if (text.startsWith('null', i) || text.startsWith('true', i)) return i + 4;
  if (text.startsWith('false', i)) return i + 5;
  throw unexpected(text, i);
}

function skipMembers(text: string, from: number, depth: number): number {
  if (depth > MAX_JSON_DEPTH) throw tooDeep(from);
  let i = skipSpace(text, from + 1);
  if (text.charCodeAt(i) === RBRACE) return i + 1;
  for (;;) {
    if (text.charCodeAt(i) !== QUOTE) throw unexpected(text, i);
    i = skipSpace(text, skipString(text, i));
    if (text.charCodeAt(i) !== COLON) throw unexpected(text, i);
    i = skipSpace(text, skipValue(text, skipSpace(text, i + 1), depth));
    const c = text.charCodeAt(i);
    if (c === RBRACE) return i + 1;
    if (c !== COMMA) throw unexpected(text, i);
    i = skipSpace(text, i + 1);
  }
}

function skipElements(text: string, from: number, depth: number): number {
  if (depth > MAX_JSON_DEPTH) throw tooDeep(from);
  let i = skipSpace(text, from + 1);
  if (text.charCodeAt(i) === RBRACKET) return i + 1;
  for (;;) {
    i = skipSpace(text, skipValue(text, i, depth));
    const c = text.charCodeAt(i);
    if (c === RBRACKET) return i + 1;
    if (c !== COMMA) throw unexpected(text, i);
    i = skipSpace(text, i + 1);
  }
}

function skipString(text: string, from: number): number {
  let i = from + 1;
  for (;;) {
    const c = text.charCodeAt(i);
    if (c === QUOTE) return i + 1;
    if (c === BACKSLASH) {
      i = skipEscape(text, i);
    } else if (c >= SPACE) {
      i++;
    } else {
      // Below space, or NaN past the end of the text.
      throw unexpected(text, i);
    }
  }
}

function skipEscape(text: string, at: number): number {
  switch (text.charCodeAt(at + 1)) {
    case 0x22: // "
    case 0x5c: // \
    case 0x2f: // /
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return at + 2;
    case 0x75: {
      // u
      for (let i = at + 2; i < at + 6; i++) if (!isHex(text.charCodeAt(i))) throw unexpected(text, i);
      return at + 6;
    }
    default:
      throw unexpected(text, at + 1);
  }
}

function isHex(c: number): boolean {
  return (c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x46) || (c >= 0x61 && c <= 0x66);
}

function skipNumber(text: string, from: number): number {
  let i = from;
  if (text.charCodeAt(i) === MINUS) i++;
  if (text.charCodeAt(i) === ZERO) i++;
  else i = skipDigits(text, i);
  if (text.charCodeAt(i) === DOT) i = skipDigits(text, i + 1);
  const c = text.charCodeAt(i);
  if (c === 0x65 || c === 0x45) {
    i++;
    const sign = text.charCodeAt(i);
    if (sign === PLUS || sign === MINUS) i++;
    i = skipDigits(text, i);
  }
  return i;
}

function skipDigits(text: string, from: number): number {
  let i = from;
  for (;;) {
    const c = text.charCodeAt(i);
    if (c >= ZERO && c <= NINE) i++;
    else break;
  }
  if (i === from) throw unexpected(text, i);
  return i;
}

function tooDeep(position: number): JsonSyntaxError {
  return new JsonSyntaxError(`Nesting deeper than ${MAX_JSON_DEPTH} levels`, position);
}

function unexpected(text: string, i: number): JsonSyntaxError {
  if (i >= text.length) return new JsonSyntaxError('Unexpected end of JSON', i);
  if (/^(-?Infinity|NaN)/.test(text.slice(i, i + 9)) || /^-Infinity/.test(text.slice(i - 1, i + 9))) {
    return new JsonSyntaxError(
      'NaN and Infinity are not JSON: send null or a string instead (in Python: json.dumps(..., allow_nan=False) shows where)',
      i,
    );
  }
  return new JsonSyntaxError(`Unexpected ${JSON.stringify(text[i])}`, i);
}
