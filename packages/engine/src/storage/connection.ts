/** How a database of the engine is opened, in each of its roles. */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { makeFolder } from '../core/make-folder.js';
import { damagedLogError, foreignError, openError, unwritableError } from './errors.js';
import { addRowCrc } from './row-checksum.js';
import { walkWalFile } from './wal-walk.js';

export const IN_MEMORY = ':memory:';
/** A connection waits this long for another one's lock, in milliseconds. */
export const BUSY_TIMEOUT_MS = 5_000;
/** The write-ahead log is cut back to this size when it begins anew, in bytes. */
export const WAL_SIZE_LIMIT_BYTES = 64 * 1024 * 1024;

/**
 * Opens for writing. A log that SQLite would read only in part is refused first.
 *
 * @param relaxed - commits were made that were not synced: a hole in the log is no damage
 */
export function connectWriter(path: string, relaxed: boolean): Database.Database {
  if (path !== IN_MEMORY) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) throw foreignError(path);
    try {
      makeFolder(dirname(path));
    } catch (error) {
      throw unwritableError(dirname(path), (error as Error).message);
    }
    checkLog(path, relaxed);
  }
  return connect(path, { timeout: BUSY_TIMEOUT_MS }, (db) => {
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.pragma('wal_autocheckpoint = 0');
    db.pragma(`journal_size_limit = ${WAL_SIZE_LIMIT_BYTES}`);
    db.pragma('foreign_keys = ON');
  });
}

export function connectReader(path: string): Database.Database {
  // The first read is made here: a reader keeps the log from being taken for nobody's.
  return connect(path, { readonly: true, timeout: BUSY_TIMEOUT_MS }, (db) => db.pragma('schema_version'));
}

export function connectCheckpointer(path: string): Database.Database {
  return connect(path, { timeout: 0, fileMustExist: true }, (db) => {
    db.pragma('synchronous = FULL');
    db.pragma('wal_autocheckpoint = 0');
    db.pragma(`journal_size_limit = ${WAL_SIZE_LIMIT_BYTES}`);
  });
}

function connect(path: string, options: Database.Options, set: (db: Database.Database) => void): Database.Database {
  let db: Database.Database | undefined;
  try {
    db = new Database(path, options);
    addRowCrc(db);
    set(db);
    return db;
  } catch (error) {
    db?.close();
    throw openError(path, error);
  }
}

/** @throws TrineError `storage_damaged`, with the offset */
function checkLog(path: string, relaxed: boolean): void {
  const log = `${path}-wal`;
  let walk;
  try {
    walk = walkWalFile(log);
  } catch (error) {
    throw openError(log, error);
  }
  if (walk.kind !== 'damaged' || (relaxed && walk.offset > 0)) return;
  throw damagedLogError(log, walk.offset, walk.fault);
}
