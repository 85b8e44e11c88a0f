import type { Database } from 'better-sqlite3';
import { TrineError } from '@trine/protocol/plain';
import { StorageCode } from './errors.js';
import { keepChecksums, QUARANTINE_TABLE } from './row-checksum.js';
import type { StoreModule } from './store-module.js';

export const SCHEMA_TABLE = `CREATE TABLE IF NOT EXISTS trine_schema (store TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT`;

/** Brings one store's tables up to date, in one transaction. A file from a newer version is refused. */
export function migrate(db: Database, module: StoreModule, path: string): void {
  db.transaction(() => {
    db.exec(SCHEMA_TABLE);
    db.exec(QUARANTINE_TABLE);
    const row = db.prepare('SELECT version FROM trine_schema WHERE store = ?').get(module.name) as
      { version: number } | undefined;
    const version = row?.version ?? 0;
    const wanted = module.migrations.length;
    if (version > wanted) throw tooNewError(path, module.name, version, wanted);
    for (const sql of module.migrations.slice(version)) db.exec(sql);
    for (const table of module.checked ?? []) keepChecksums(db, table);
    if (version === wanted) return;
    db.prepare(
      'INSERT INTO trine_schema (store, version) VALUES (?, ?) ON CONFLICT (store) DO UPDATE SET version = excluded.version',
    ).run(module.name, wanted);
  })();
}

export function tooNewError(path: string, store: string, version: number, known: number): TrineError {
  return new TrineError(
    StorageCode.tooNew,
    `${path} holds ${store} data of schema ${version}; this version knows up to ${known}: use the newer engine that wrote it`,
  );
}
