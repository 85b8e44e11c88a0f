import { TrineError } from '@trine/protocol/plain';
import type { Failure } from './messages.js';

/** The codes of the storage room. */
export const StorageCode = {
  /** The commit failed: nothing of the operation is kept. */
  failed: 'storage_failed',
  /** Too many bytes wait for the disk. */
  overloaded: 'storage_overloaded',
  /** The disk has been syncing for seconds: what is not in its transaction yet is refused. */
  slow: 'storage_slow',
  /** The disk is full or read-only: what makes nothing smaller is refused. */
  full: 'storage_full',
  /** The disk failed: the file is closed, and opened again as soon as that works. */
  degraded: 'storage_degraded',
  /** Another engine has the data folder. */
  locked: 'data_folder_locked',
  /** The folder or file cannot be written. */
  unwritable: 'data_folder_unwritable',
  /** The file is not a database, or is damaged. */
  damaged: 'storage_damaged',
  /** One stored row is damaged; it is moved to the quarantine. */
  damagedRow: 'storage_row_damaged',
  /** The file was written by a newer version. */
  tooNew: 'schema_too_new',
  /** A folder stands where the file should be. */
  foreign: 'foreign_data',
  /** The store or the engine is closed. */
  closed: 'storage_closed',
} as const;

export function lockedError(dataDir: string): TrineError {
  return new TrineError(
    StorageCode.locked,
    `another engine is using the data folder ${dataDir}: stop it, or start this one with another folder (in another project folder)`,
  );
}

export function unwritableError(path: string, reason: string): TrineError {
  return new TrineError(
    StorageCode.unwritable,
    `cannot write ${path} (${reason}): check that the folder exists and that this user may write to it`,
  );
}

export function foreignError(path: string): TrineError {
  return new TrineError(
    StorageCode.foreign,
    `${path} is a folder; this engine keeps that data in one SQLite file. The folder may hold data of the reference engine: move it away or name another file_path`,
  );
}

export function damagedLogError(path: string, offset: number, fault: string): TrineError {
  return new TrineError(
    StorageCode.damaged,
    `the write-ahead log ${path} is damaged at byte ${offset} (${fault}), and commits follow: run \`iii doctor --repair\`, or restore a backup`,
  );
}

export function damagedRowError(what: string): TrineError {
  return new TrineError(
    StorageCode.damagedRow,
    `the stored bytes of ${what} do not match their checksum: the row goes to the quarantine (\`iii doctor\` shows it)`,
  );
}

/** What SQLite says about opening or changing a file, in our words. */
export function openError(path: string, error: unknown): TrineError {
  const code = (error as { code?: unknown }).code;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof TrineError) return error;
  if (typeof code === 'string' && (code === 'SQLITE_NOTADB' || code.startsWith('SQLITE_CORRUPT'))) {
    return new TrineError(
      StorageCode.damaged,
      `${path} is not a readable database (${message}): run \`iii doctor --repair\`, restore it from a backup or move it away`,
      { cause: error },
    );
  }
  if (code === 'SQLITE_CANTOPEN' || code === 'SQLITE_READONLY' || code === 'SQLITE_PERM')
    return unwritableError(path, message);
  return new TrineError(StorageCode.failed, `${path}: ${message}`, { cause: error });
}

// These pass through workers that have codes of their own (`enqueue_error`, `SET_ERROR`): the message names the cause.

export function fullFailure(path: string, reason: string): Failure {
  return {
    code: StorageCode.full,
    message: `${StorageCode.full}: ${path} cannot be written (${reason}): nothing is accepted until there is room again`,
    retryable: true,
  };
}

export function degradedFailure(path: string, reason: string): Failure {
  return {
    code: StorageCode.degraded,
    message: `${StorageCode.degraded}: ${path} failed (${reason}): it is opened again as soon as the disk works`,
    retryable: true,
  };
}

/** A thrown thing as it travels between threads. */
export function toFailure(error: unknown): Failure {
  const { code, retryable } = error as { code?: unknown; retryable?: unknown };
  const known = typeof code === 'string' && !code.startsWith('SQLITE_') && !code.startsWith('ERR_');
  return {
    code: known ? code : StorageCode.failed,
    message: error instanceof Error ? error.message : String(error),
    ...(retryable === true ? { retryable } : {}),
  };
}
