/** Looks at a database of the engine and changes nothing. */
import { statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { connectReader } from '../connection.js';
import { RelaxedMark } from '../relaxed-mark.js';
import { walkWalFile } from '../wal-walk.js';
import { findCheckedTables } from './checked-tables.js';

/** Faults that are told of one database; the rest is counted. */
const MAX_FAULTS = 20;

export interface Finding {
  /** `bad` = something is lost or will be refused; `note` = worth knowing. */
  readonly level: 'bad' | 'note';
  readonly kind: 'file' | 'log' | 'structure' | 'schema' | 'row' | 'quarantine';
  readonly message: string;
}

export interface Inspection {
  readonly file: string;
  readonly bytes: number;
  /** Rows whose checksum was compared. */
  readonly rows: number;
  readonly findings: readonly Finding[];
}

export interface InspectOptions {
  /** An engine works on the file: its log is in motion and not looked at. */
  readonly isRunning: boolean;
  /** The newest schema that this version knows, by store. */
  readonly schemas: Readonly<Record<string, number>>;
}

export function inspectDatabase(file: string, { isRunning, schemas }: InspectOptions): Inspection {
  const findings: Finding[] = [];
  const bad = (kind: Finding['kind'], message: string): void => void findings.push({ level: 'bad', kind, message });
  const note = (kind: Finding['kind'], message: string): void => void findings.push({ level: 'note', kind, message });
  const bytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  let rows = 0;
  const result = (): Inspection => ({ file, bytes, rows, findings });

  if (!isRunning) {
    const walk = walkWalFile(`${file}-wal`);
    if (walk.kind === 'damaged') {
      const message = `the write-ahead log is damaged at byte ${walk.offset} (${walk.fault}); ${walk.lostCommits} commits follow it`;
      if (walk.offset > 0 && new RelaxedMark(file).isSet) note('log', `${message}; they were not synced, as asked for`);
      else {
        // To open it would show the database without those commits.
        bad('log', message);
        return result();
      }
    } else if (walk.kind === 'sound' && walk.commits > 0) {
      note(
        'log',
        `the engine was not stopped cleanly; ${walk.commits} commits wait in the log and are read at the next start`,
      );
    }
  }
  let db: Database.Database;
  try {
    db = connectReader(file);
  } catch (error) {
    bad('file', (error as Error).message);
    return result();
  }
  try {
    const faults = (db.pragma(`integrity_check(${MAX_FAULTS})`) as { integrity_check: string }[])
      .map(({ integrity_check }) => integrity_check)
      .filter((fault) => fault !== 'ok');
    for (const fault of faults) bad('structure', fault.split('\n').join('; '));
    for (const { store, version } of storedSchemas(db)) {
      const known = schemas[store];
      if (known !== undefined && version > known)
        bad(
          'schema',
          `${store} has schema ${version}; this version knows up to ${known}: use the newer engine that wrote it`,
        );
    }
    for (const { table, key, isBroken } of findCheckedTables(db)) {
      rows += db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number;
      const broken = db.prepare(`SELECT ${key} FROM ${table} WHERE ${isBroken}`).pluck().all() as number[];
      for (const row of broken.slice(0, MAX_FAULTS))
        bad('row', `${table} row ${row}: its bytes do not match its checksum`);
      if (broken.length > MAX_FAULTS) bad('row', `${table}: ${broken.length - MAX_FAULTS} more rows do not match`);
    }
    for (const line of quarantine(db)) note('quarantine', line);
  } catch (error) {
    bad('structure', (error as Error).message);
  } finally {
    db.close();
  }
  return result();
}

function storedSchemas(db: Database.Database): { store: string; version: number }[] {
  if (!hasTable(db, 'trine_schema')) return [];
  return db.prepare('SELECT store, version FROM trine_schema').all() as { store: string; version: number }[];
}

function quarantine(db: Database.Database): string[] {
  if (!hasTable(db, 'trine_quarantine')) return [];
  const rows = db.prepare('SELECT tbl, row, reason, found_at AS at FROM trine_quarantine ORDER BY id DESC').all() as {
    tbl: string;
    row: number;
    reason: string;
    at: number;
  }[];
  const lines = rows
    .slice(0, MAX_FAULTS)
    .map(
      ({ tbl, row, reason, at }) => `in quarantine since ${new Date(at).toISOString()}: ${tbl} row ${row} (${reason})`,
    );
  if (rows.length > MAX_FAULTS) lines.push(`${rows.length - MAX_FAULTS} more rows in quarantine`);
  return lines;
}

export function hasTable(db: Database.Database, name: string): boolean {
  return db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(name) !== undefined;
}
