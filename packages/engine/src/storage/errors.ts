import { TrineError } from '@trine/protocol';

/** The codes of the storage room. */
export const StorageCode = {
  /** The commit failed: nothing of the operation is kept. */
  failed: 'storage_failed',
  /** Too many bytes wait for the disk. */
  overloaded: 'storage_overloaded',
  /** Another engine has the data folder. */
  locked: 'data_folder_locked',
  /** The folder or file cannot be written. */
  unwritable: 'data_folder_unwritable',
  /** The file is not a database, or is damaged. */
  damaged: 'storage_damaged',
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

/** What SQLite says about opening or changing a file, in our words. */
export function openError(path: string, error: unknown): TrineError {
  const code = (error as { code?: unknown }).code;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof TrineError) return error;
  if (code === 'SQLITE_NOTADB' || code === 'SQLITE_CORRUPT') {
    return new TrineError(
      StorageCode.damaged,
      `${path} is not a readable database (${message}): restore it from a backup or move it away`,
      { cause: error },
    );
  }
  if (code === 'SQLITE_CANTOPEN' || code === 'SQLITE_READONLY' || code === 'SQLITE_PERM')
    return unwritableError(path, message);
  return new TrineError(StorageCode.failed, `${path}: ${message}`, { cause: error });
}
