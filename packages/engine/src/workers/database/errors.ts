/**
 * The database worker's errors. On the wire every one is `invocation_failed` with the message
 * `handler error: {json}`; clients match parts of that JSON. A failed transaction is a normal result
 * that carries the same object.
 */
import { ErrorCode, TrineError } from '@trine/protocol/plain';

/** The structured error: `code` first, then the code's own fields. Travels between threads as it is. */
export type Fault =
  /** No database of that name is configured. */
  | { readonly code: 'UNKNOWN_DB'; readonly db: string; readonly available: readonly string[] }
  /** The call names no database, there are several, and none is `primary`. */
  | { readonly code: 'MISSING_DB'; readonly available: readonly string[] }
  /** Every connection was busy for the whole of `acquire_timeout_ms`; the statement did not run. */
  | { readonly code: 'POOL_TIMEOUT'; readonly db: string; readonly waited_ms: number }
  /** No answer in time. A statement that writes may still take effect. */
  | { readonly code: 'QUERY_TIMEOUT'; readonly db: string; readonly timeout_ms: number }
  /** The handle was never given out, or its time is over. */
  | { readonly code: 'STATEMENT_NOT_FOUND'; readonly handle_id: string }
  /** `index` counts from 0: the parameter that does not fit. */
  | { readonly code: 'INVALID_PARAM'; readonly index: number; readonly reason: string }
  /** What SQLite says. `inner_code` is the kind of error, null for a statement that cannot be read. */
  | {
      readonly code: 'DRIVER_ERROR';
      readonly driver: string;
      readonly inner_code: string | null;
      readonly message: string;
      readonly failed_index?: number;
    };

export class DatabaseError extends Error {
  readonly fault: Fault;

  constructor(fault: Fault, cause?: unknown) {
    super(
      `${fault.code}: ${'message' in fault ? fault.message : JSON.stringify(fault)}`,
      cause === undefined ? undefined : { cause },
    );
    this.name = 'DatabaseError';
    this.fault = fault;
  }
}

/** The same error as callers see it. Anything that is no `DatabaseError` is passed on. */
export function toWire(error: unknown): unknown {
  if (!(error instanceof DatabaseError)) return error;
  return new TrineError(ErrorCode.invocationFailed, `handler error: ${JSON.stringify(error.fault)}`, {
    cause: error,
    retryable: error.fault.code === 'POOL_TIMEOUT',
  });
}

export function driverError(message: string, innerCode: string | null = null, cause?: unknown): DatabaseError {
  return new DatabaseError({ code: 'DRIVER_ERROR', driver: 'sqlite', inner_code: innerCode, message }, cause);
}

export function invalidParam(index: number, reason: string): DatabaseError {
  return new DatabaseError({ code: 'INVALID_PARAM', index, reason });
}

/** Names of SQLite's primary result codes that clients of the protocol know (those of rusqlite's `ErrorCode`). */
const KINDS: ReadonlyMap<string, string> = new Map([
  ['INTERNAL', 'InternalMalfunction'],
  ['PERM', 'PermissionDenied'],
  ['ABORT', 'OperationAborted'],
  ['BUSY', 'DatabaseBusy'],
  ['LOCKED', 'DatabaseLocked'],
  ['NOMEM', 'OutOfMemory'],
  ['READONLY', 'ReadOnly'],
  ['INTERRUPT', 'OperationInterrupted'],
  ['IOERR', 'SystemIoFailure'],
  ['CORRUPT', 'DatabaseCorrupt'],
  ['NOTFOUND', 'NotFound'],
  ['FULL', 'DiskFull'],
  ['CANTOPEN', 'CannotOpen'],
  ['PROTOCOL', 'FileLockingProtocolFailed'],
  ['SCHEMA', 'SchemaChanged'],
  ['TOOBIG', 'TooBig'],
  ['CONSTRAINT', 'ConstraintViolation'],
  ['MISMATCH', 'TypeMismatch'],
  ['MISUSE', 'ApiMisuse'],
  ['NOLFS', 'NoLargeFileSupport'],
  ['AUTH', 'AuthorizationForStatementDenied'],
  ['RANGE', 'ParameterOutOfRange'],
  ['NOTADB', 'NotADatabase'],
]);

/** `SQLITE_CONSTRAINT_UNIQUE` -> `ConstraintViolation`; `Unknown` for what has no name. */
export function kindOf(sqliteCode: string): string {
  return KINDS.get(sqliteCode.split('_')[1] ?? '') ?? 'Unknown';
}

/** What a failed transaction answers, as JSON text. */
export function failedTransaction(fault: Fault, failedIndex?: number): string {
  if (failedIndex === undefined) return JSON.stringify({ committed: false, error: fault });
  const error = fault.code === 'DRIVER_ERROR' ? { ...fault, failed_index: failedIndex } : fault;
  return JSON.stringify({ committed: false, error, failed_index: failedIndex });
}
