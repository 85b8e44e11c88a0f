/**
 * Parameters on their way into SQLite. They are read from the raw JSON text, so that `1` binds as an
 * INTEGER, `1.0` as a REAL, and integers up to 64 bits keep every digit.
 */
import { invalidParam, driverError } from './errors.js';
import { placeholders } from './sql-text.js';

export type SqlValue = string | number | bigint | null;

/** What better-sqlite3 takes: the values of nameless placeholders in order, then those of named ones. */
export type Bound = [SqlValue[], Readonly<Record<string, SqlValue>>] | [SqlValue[]] | [];

const MAX_INT64 = 2n ** 63n - 1n;
const MIN_INT64 = -(2n ** 63n);

/**
 * @param text - the JSON text of `params`: an array, a string that holds one, null or nothing
 * @throws DatabaseError `INVALID_PARAM` when it is none of these; `DRIVER_ERROR` when the number of
 *   values is not that of the placeholders
 */
export function bindParameters(sql: string, text: string | undefined): Bound {
  const values = parameterValues(text);
  const names = placeholders(sql);
  if (values.length !== names.length) {
    throw driverError(`Wrong number of parameters passed to query. Got ${values.length}, needed ${names.length}`);
  }
  if (values.length === 0) return [];
  if (names.every((name) => name === undefined)) return [values];
  const nameless: SqlValue[] = [];
  const named = Object.create(null) as Record<string, SqlValue>;
  names.forEach((name, index) => {
    const value = values[index] as SqlValue;
    if (name === undefined) nameless.push(value);
    else named[name] = value;
  });
  return [nameless, named];
}

/** The values of an array of JSON, each as SQLite keeps it. */
export function parameterValues(text: string | undefined): SqlValue[] {
  let json = text?.trim() ?? 'null';
  if (json.startsWith('"')) {
    json = (JSON.parse(json) as string).trim();
    if (json === '') json = '[]';
    if (!isJson(json)) throw invalidParam(0, 'params is a string that holds no JSON array');
  }
  if (json === 'null') return [];
  if (!json.startsWith('[')) throw invalidParam(0, 'params must be an array');
  return arrayElements(json).map(sqlValue);
}

function sqlValue(text: string): SqlValue {
  const first = text[0];
  if (first === '"') return JSON.parse(text) as string;
  if (first === 'n') return null;
  if (first === 't') return 1n;
  if (first === 'f') return 0n;
  // Kept as JSON text, printed compactly.
  if (first === '{' || first === '[') return JSON.stringify(JSON.parse(text));
  if (!/^-?\d+$/.test(text)) return finite(Number(text));
  const integer = text.length > MAX_INT64_CHARS ? undefined : BigInt(text);
  return integer !== undefined && integer >= MIN_INT64 && integer <= MAX_INT64 ? integer : finite(Number(text));
}

/** Characters of the longest 64-bit integer, its sign included. */
const MAX_INT64_CHARS = 20;

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** The raw texts of the elements of a valid JSON array. */
export function arrayElements(json: string): string[] {
  const elements: string[] = [];
  const end = json.lastIndexOf(']');
  let start = json.indexOf('[') + 1;
  let depth = 0;
  let inString = false;
  for (let at = start; at < end; at++) {
    const char = json[at];
    if (inString) {
      if (char === '\\') at++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === '[' || char === '{') depth++;
    else if (char === ']' || char === '}') depth--;
    else if (char === ',' && depth === 0) {
      elements.push(json.slice(start, at).trim());
      start = at + 1;
    }
  }
  const last = json.slice(start, end).trim();
  if (last !== '') elements.push(last);
  return elements;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
