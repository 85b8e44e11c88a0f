/** What errors of PostgreSQL and its driver mean, in words that say what to do. */
import { toErrorBody, TrineError } from '@trine/protocol';
import type { PostgresConfig } from './config.js';

/** Codes of SQLSTATE that end a connection: shutdown, crash, start-up. */
const LOSS = new Set(['57P01', '57P02', '57P03', '57P05', '25P03']);
/** The server is there and will not do it: rights, read-only, full, out of connections or memory, locks. */
const REFUSALS: ReadonlyMap<string, string> = new Map([
  [
    '25006',
    'it is read-only (a standby, or default_transaction_read_only): connect to the primary or make it writable',
  ],
  ['42501', 'the role lacks rights: grant it usage on the schema and all rights on its tables and sequences'],
  ['53100', 'its disk is full: make room'],
  ['53200', 'it is out of memory'],
  ['53300', 'it has no connection left: raise max_connections there, or lower max_connections of the adapter'],
  ['58030', 'its disk fails'],
]);
const CREDENTIALS: ReadonlyMap<string, string> = new Map([
  ['28P01', 'the password is wrong: correct database_url'],
  ['28000', 'the role may not log in: correct database_url, or pg_hba.conf there'],
  ['3D000', 'the database does not exist: create it, or correct database_url'],
]);
/** Deadlock, serialization failure: the same again succeeds. */
const AGAIN = new Set(['40P01', '40001']);
/** Classes of errors that one row causes: bad values, constraints, limits. */
const ROW_CLASSES = new Set(['22', '23', '54']);
const UNIQUE_VIOLATION = '23505';
/** Of `need_lines` ('routines.ts'). */
const LINE_GONE = '22TRN';

export const UNREACHABLE = 'storage_unreachable';

function codeOf(error: unknown): string {
  const code = typeof error === 'object' && error !== null ? (error as { readonly code?: unknown }).code : undefined;
  return typeof code === 'string' ? code : '';
}

/** Everything that is not an answer of the server. */
export function isConnectionLoss(error: unknown): boolean {
  const code = codeOf(error);
  return LOSS.has(code) || code.startsWith('08') || !/^[0-9A-Z]{5}$/.test(code) || code === 'EPIPE';
}

/** The driver waited for a connection: the server does not answer, or all of the pool are in use. */
export function isPoolTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === 'timeout exceeded when trying to connect';
}

export function isRefusal(error: unknown): boolean {
  return REFUSALS.has(codeOf(error));
}

export function isAgain(error: unknown): boolean {
  return AGAIN.has(codeOf(error));
}

/** One of many rows is to blame. */
export function isOfOneRow(error: unknown): boolean {
  return ROW_CLASSES.has(codeOf(error).slice(0, 2));
}

export function isUniqueViolation(error: unknown): boolean {
  return codeOf(error) === UNIQUE_VIOLATION;
}

/** The number of a line that was deleted there and was to get a job. */
export function lineGone(error: unknown): number | undefined {
  return codeOf(error) === LINE_GONE ? Number((error as { readonly detail?: unknown }).detail) : undefined;
}

/** What went wrong, where, and what to do; without the password. */
export function explain(error: unknown, { database_url: url, schema }: PostgresConfig): string {
  const code = codeOf(error);
  const advice = CREDENTIALS.get(code) ?? REFUSALS.get(code);
  return `PostgreSQL at ${placeOf(url)} (schema ${schema}): ${textOf(error)}${advice === undefined ? '' : `; ${advice}`}`;
}

export function unreachable(detail: string, cause: unknown): TrineError {
  return new TrineError(UNREACHABLE, detail, { cause, retryable: true });
}

export function isUnreachable(error: unknown): boolean {
  return error instanceof TrineError && error.code === UNREACHABLE;
}

/** `user@host:port/database` */
function placeOf(url: string): string {
  try {
    const { username, host, pathname } = new URL(url);
    return `${username === '' ? '' : `${username}@`}${host}${pathname}`;
  } catch {
    return 'database_url';
  }
}

/** An attempt at several addresses has the reasons inside. */
function textOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return toErrorBody(error.errors[0]).message;
  return toErrorBody(error).message;
}
