/**
 * Results on their way out of SQLite, as JSON text: made in the database's thread, passed on as text.
 * By storage class: INTEGER -> number (beyond 2^53 - 1 a string, so that no digit is lost), REAL ->
 * number with a fraction, TEXT -> string, BLOB -> base64, NULL -> null.
 */

export interface ResultColumn {
  readonly name: string;
  /** The declared type, null for an expression. */
  readonly type: string | null;
}

export function valueJson(value: unknown): string {
  if (typeof value === 'bigint') {
    return value >= MIN_SAFE && value <= MAX_SAFE ? value.toString() : `"${value.toString()}"`;
  }
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') return realJson(value);
  if (value instanceof Uint8Array)
    return `"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}"`;
  return 'null';
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);
const MIN_SAFE = BigInt(Number.MIN_SAFE_INTEGER);

function realJson(value: number): string {
  if (!Number.isFinite(value)) return 'null';
  const text = String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

/** `[{"name":"id","type":"INTEGER"}]`, in the order of the SELECT. */
export function columnsJson(columns: readonly ResultColumn[]): string {
  return JSON.stringify(columns.map(({ name, type }) => ({ name, type: type ?? '' })));
}

/** Rows as objects: keys sorted by name; of columns with the same name the last one counts. */
export function rowObjectsJson(columns: readonly ResultColumn[], rows: readonly (readonly string[])[]): string {
  const indexes = new Map(columns.map(({ name }, index) => [name, index]));
  const members = [...indexes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, index]) => ({ key: JSON.stringify(name), index }));
  return `[${rows.map((row) => `{${members.map(({ key, index }) => `${key}:${row[index]}`).join(',')}}`).join(',')}]`;
}

/** Rows as arrays, in the order of the SELECT. */
export function rowArraysJson(rows: readonly (readonly string[])[]): string {
  return `[${rows.map((row) => `[${row.join(',')}]`).join(',')}]`;
}
