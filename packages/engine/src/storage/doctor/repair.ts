/**
 * Mends a database that no engine uses. The files are kept as they were in a folder beside it; the
 * mended one takes their place at the end, in one step.
 */
import { closeSync, copyFileSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { RelaxedMark, syncFolder } from '../relaxed-mark.js';
import { addRowCrc, QUARANTINE_TABLE } from '../row-checksum.js';
import { walkWalFile } from '../wal-walk.js';
import { findCheckedTables } from './checked-tables.js';
import { hasTable } from './inspect.js';
import { applyLog } from './log-salvage.js';
import { rescueRows } from './row-rescue.js';

export interface Repair {
  /** What was done, a line each. */
  readonly done: readonly string[];
  /** Where the files are as they were. */
  readonly kept: string;
}

/**
 * @param file - a database that is not open anywhere
 * @throws when nothing of it can be read
 */
export function repairDatabase(file: string, now: Date): Repair {
  const done: string[] = [];
  const stamp = now.toISOString().replace(/[:.]/g, '-');
  const kept = join(dirname(file), `before-repair-${stamp}`);
  mkdirSync(kept, { recursive: true });
  for (const path of [file, `${file}-wal`]) if (existsSync(path)) copyFileSync(path, join(kept, basename(path)));
  const work = join(kept, 'work.db');
  const log = join(kept, `${basename(file)}-wal`);
  try {
    const source = join(kept, basename(file));
    const isLogDamaged = walkWalFile(log).kind === 'damaged';
    makeWhole(source, log, work, isLogDamaged, done);
    setBrokenRowsAside(work, now, done);
    sync(work);
    // The log must not be read into the mended file.
    rmSync(`${file}-wal`, { force: true });
    rmSync(`${file}-shm`, { force: true });
    renameSync(work, file);
    new RelaxedMark(file).clear();
    syncFolder(dirname(file));
  } finally {
    for (const path of [work, `${work}-wal`, `${work}-shm`]) rmSync(path, { force: true });
  }
  return { done, kept };
}

/** Makes `work` a database of sound structure from the file and its log. */
function makeWhole(source: string, log: string, work: string, isLogDamaged: boolean, done: string[]): void {
  // Behind the break there is more, and it may fit; up to the break it is what SQLite would read.
  for (const upToBreak of isLogDamaged ? [false, true] : [true]) {
    copyFileSync(source, work);
    const { frames, brokenFrames, commits } = applyLog(log, work, upToBreak);
    if (!isSound(work)) continue;
    if (isLogDamaged) {
      const left = upToBreak
        ? 'what follows the damage does not fit and is left out'
        : `${brokenFrames} damaged pages left out`;
      done.push(`took ${frames} pages of ${commits} commits from the log; ${left}`);
    }
    return;
  }
  copyFileSync(source, work);
  applyLog(log, work, false);
  const broken = `${work}-broken`;
  renameSync(work, broken);
  const from = new Database(broken, { readonly: true });
  const to = new Database(work);
  try {
    addRowCrc(to);
    for (const { table, rows, hasGaps } of rescueRows(from, to))
      done.push(`rescued ${rows} rows of ${table}${hasGaps ? '; parts of it cannot be read' : ''}`);
  } finally {
    from.close();
    to.close();
    rmSync(broken, { force: true });
  }
}

function isSound(file: string): boolean {
  let db: Database.Database | undefined;
  try {
    db = new Database(file);
    // The copy is nobody's: without the log's mode it needs no log of its own.
    db.pragma('journal_mode = DELETE');
    return db.pragma('integrity_check(1)', { simple: true }) === 'ok';
  } catch {
    return false;
  } finally {
    db?.close();
  }
}

function setBrokenRowsAside(file: string, now: Date, done: string[]): void {
  const db = new Database(file);
  try {
    addRowCrc(db);
    db.transaction(() => {
      db.exec(QUARANTINE_TABLE);
      for (const { table, key, isBroken } of findCheckedTables(db)) {
        if (!hasTable(db, table)) continue;
        const broken = db.prepare(`SELECT * FROM ${table} WHERE ${isBroken}`).all() as Record<string, unknown>[];
        for (const row of broken) {
          db.prepare('INSERT INTO trine_quarantine (tbl, row, reason, found_at, content) VALUES (?, ?, ?, ?, ?)').run(
            table,
            row[key],
            'its bytes do not match its checksum',
            now.getTime(),
            JSON.stringify(row),
          );
          db.prepare(`DELETE FROM ${table} WHERE ${key} = ?`).run(row[key]);
        }
        if (broken.length > 0) done.push(`moved ${broken.length} damaged rows of ${table} to the quarantine`);
      }
    })();
  } finally {
    db.close();
  }
}

function sync(file: string): void {
  const descriptor = openSync(file, 'r+');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
