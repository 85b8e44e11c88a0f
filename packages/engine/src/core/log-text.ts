/**
 * What is fit to be written to a log: foreign text without control characters, field values of
 * bounded size, secrets redacted by the name of their field.
 */

/** Longest message that is written, in characters. */
const MAX_MESSAGE_CHARS = 8_192;
/** Longest string inside a field, in characters. */
const MAX_STRING_CHARS = 2_048;
/** Longest name of a field, in characters. */
const MAX_NAME_CHARS = 128;
/** Members of one object or array that are written. */
const MAX_MEMBERS = 64;
/** Nesting of field values that is written. */
const MAX_DEPTH = 6;
/** Values written for one line, over all its fields. */
const MAX_VALUES = 256;

const REDACTED = '[redacted]';

/** Colour and cursor sequences, removed whole so that no `[31m` stays behind. */
const ESCAPE_SEQUENCES = /\u001b\[[0-9;?]*[ -/]*[@-~]/g;
/** Control characters (except tab and newline), direction marks and line separators: they can move, hide or forge text. */
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
/** `//user:password@` in an address. */
const ADDRESS_SECRET = /\/\/[^\s/:@]*:[^\s/@]+@/g;

/** A message or a name: no control or direction characters, no credentials in addresses, of bounded length. */
export function cleanText(text: string, maxChars = MAX_MESSAGE_CHARS): string {
  const cut = text.length > maxChars ? `${text.slice(0, maxChars)}… (${text.length - maxChars} more characters)` : text;
  return cut
    .replace(/\r\n?/g, '\n')
    .replace(ESCAPE_SEQUENCES, '')
    .replace(UNSAFE, '')
    .replace(ADDRESS_SECRET, '//***@');
}

/** The same on one line. */
export function cleanLine(text: string, maxChars = MAX_MESSAGE_CHARS): string {
  return cleanText(text, maxChars)
    .replace(/[\n\t]+/g, ' ')
    .trim();
}

/** Is this the name of a field whose value nobody may read in a log? */
export function isSecretName(name: string): boolean {
  const plain = name.toLowerCase().replace(/[-_. ]/g, '');
  return SECRET_NAMES.test(plain);
}

const SECRET_NAMES =
  /apikey|passw(or)?d|passphrase|secret|credential|authorization|bearer|privatekey|cookie|token$|^auth$|^jwt$/;

export type CleanValue = string | number | boolean | null | readonly CleanValue[] | CleanFields;
export interface CleanFields {
  readonly [name: string]: CleanValue;
}

/** Fields as a JSON tree that is safe to write. The input is not changed. */
export function cleanFields(fields: Readonly<Record<string, unknown>>): CleanFields {
  return members(fields, { values: MAX_VALUES, within: new Set() }, 0);
}

interface Budget {
  values: number;
  /** The objects that are being walked: one that contains itself is cut. */
  readonly within: Set<object>;
}

function members(object: object, budget: Budget, depth: number): CleanFields {
  const clean = Object.create(null) as Record<string, CleanValue>;
  let count = 0;
  let left = 0;
  for (const name of Object.keys(object)) {
    if (count >= MAX_MEMBERS || budget.values <= 0) {
      left++;
      continue;
    }
    const value = read(object, name);
    if (value === undefined || typeof value === 'function' || typeof value === 'symbol') continue;
    count++;
    clean[cleanLine(name, MAX_NAME_CHARS)] =
      isSecretName(name) && value !== null ? REDACTED : cleanValue(value, budget, depth);
  }
  if (left > 0) clean['…'] = `${left} more`;
  return clean;
}

function cleanValue(value: unknown, budget: Budget, depth: number): CleanValue {
  budget.values--;
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'string') return cleanText(value, MAX_STRING_CHARS);
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value !== 'object') return typeof value === 'bigint' ? value.toString() : `<${typeof value}>`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString();
  if (ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`;
  if (value instanceof Error) return cleanText(errorText(value), MAX_STRING_CHARS);
  if (budget.within.has(value)) return '[circular]';
  if (depth >= MAX_DEPTH) return Array.isArray(value) ? '[…]' : '{…}';
  budget.within.add(value);
  const clean = Array.isArray(value) ? items(value, budget, depth + 1) : members(value, budget, depth + 1);
  budget.within.delete(value);
  return clean;
}

function items(array: readonly unknown[], budget: Budget, depth: number): CleanValue[] {
  const clean: CleanValue[] = [];
  for (const item of array) {
    if (clean.length >= MAX_MEMBERS || budget.values <= 0) {
      clean.push(`… ${array.length - clean.length} more`);
      break;
    }
    clean.push(item === undefined ? null : cleanValue(item, budget, depth));
  }
  return clean;
}

/** Message, code and causes of an error; never its stack. */
function errorText(error: Error): string {
  const code = (error as { code?: unknown }).code;
  const text = typeof code === 'string' && !error.message.includes(code) ? `${code}: ${error.message}` : error.message;
  return text === '' ? error.name : text;
}

/** A member of an object that may be someone else's: a getter that throws costs its value only. */
function read(object: object, name: string): unknown {
  try {
    return (object as Record<string, unknown>)[name];
  } catch {
    return '[unreadable]';
  }
}
