/** The data folder belongs to one engine: the system lets go of the lock when the process dies, however it dies. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { makeFolder } from '../core/make-folder.js';
import { lockedError, openError, unwritableError } from './errors.js';

export const LOCK_NAME = 'engine.lock';

/** @throws TrineError `data_folder_locked`, `data_folder_unwritable` */
export function lockFolder(folder: string): Database.Database {
  try {
    makeFolder(folder);
  } catch (error) {
    throw unwritableError(folder, (error as Error).message);
  }
  const path = join(folder, LOCK_NAME);
  let db: Database.Database | undefined;
  try {
    db = new Database(path, { timeout: 0 });
    db.exec('BEGIN EXCLUSIVE');
    return db;
  } catch (error) {
    db?.close();
    const code = (error as { code?: string }).code ?? '';
    throw code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')
      ? lockedError(folder)
      : openError(path, error);
  }
}
