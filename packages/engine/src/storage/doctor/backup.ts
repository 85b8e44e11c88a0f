/** Copies a database as it is at one moment, also while an engine writes to it. */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { TrineError } from '@trine/protocol';
import { connectReader } from '../connection.js';
import { StorageCode } from '../errors.js';
import { syncFolder } from '../relaxed-mark.js';
import { addRowCrc } from '../row-checksum.js';
import { findCheckedTables } from './checked-tables.js';

export interface Backup {
  readonly bytes: number;
  /** Rows whose checksum was compared in the copy. */
  readonly rows: number;
}

/**
 * Writes a copy and reads it back before it gets its name.
 *
 * @param target - a file that must not exist
 * @throws TrineError `storage_damaged` when the copy is not sound: the database is not either
 */
export function backupDatabase(file: string, target: string): Backup {
  if (existsSync(target)) throw new TrineError('file_exists', `${target} is there already: name another file`);
  const partial = `${target}.partial`;
  rmSync(partial, { force: true });
  try {
    const db = connectReader(file);
    try {
      // One read transaction: the copy is one moment, and nobody waits for it.
      db.prepare('VACUUM INTO ?').run(partial);
    } finally {
      db.close();
    }
    const result = verify(partial, file);
    const descriptor = openSync(partial, 'r+');
    fsyncSync(descriptor);
    closeSync(descriptor);
    renameSync(partial, target);
    syncFolder(dirname(target));
    return result;
  } finally {
    rmSync(partial, { force: true });
  }
}

function verify(copy: string, file: string): Backup {
  const db = new Database(copy, { readonly: true });
  try {
    addRowCrc(db);
    const fault = db.pragma('integrity_check(1)', { simple: true }) as string;
    let rows = 0;
    let broken = 0;
    for (const { table, isBroken } of findCheckedTables(db)) {
      rows += db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number;
      broken += db.prepare(`SELECT count(*) FROM ${table} WHERE ${isBroken}`).pluck().get() as number;
    }
    if (fault !== 'ok' || broken > 0) {
      const what = fault === 'ok' ? `${broken} rows do not match their checksums` : fault;
      throw new TrineError(StorageCode.damaged, `${file} is damaged (${what}): run \`iii doctor\` before a backup`);
    }
    const pages = db.pragma('page_count', { simple: true }) as number;
    return { bytes: pages * (db.pragma('page_size', { simple: true }) as number), rows };
  } finally {
    db.close();
  }
}
