import type { Database } from 'better-sqlite3';
import { TrineError } from '@trine/protocol';
import { StorageCode } from './errors.js';
import type { StoreModule } from './store-module.js';

/** Brings one store's tables up to date, in one transaction. A file from a newer version is refused. */
export function migrate(db: Database, module: StoreModule, path: string): void {
  db.exec('CREATE TABLE IF NOT EXISTS trine_schema (store TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT');
  db.transaction(() => {
    const row = db.prepare('SELECT version FROM trine_schema WHERE store = ?').get(module.name) as
      { version: number } | undefined;
    const version = row?.version ?? 0;
    const wanted = module.migrations.length;
    if (version > wanted) {
      throw new TrineError(
        StorageCode.tooNew,
        `${path} holds ${module.name} data of schema ${version}; this version knows up to ${wanted}: use the newer engine that wrote it`,
      );
    }
    for (const sql of module.migrations.slice(version)) db.exec(sql);
    db.prepare(
      'INSERT INTO trine_schema (store, version) VALUES (?, ?) ON CONFLICT (store) DO UPDATE SET version = excluded.version',
    ).run(module.name, wanted);
  })();
}
