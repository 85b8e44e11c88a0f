/** The SQL of triggers that belong to no worker. Runs inside the storage thread. */
import { defineStore, type Database } from '../../storage/store-module.js';

export type StoredTrigger = {
  readonly id: string;
  readonly type: string;
  readonly functionId: string;
  readonly namespace: string;
  readonly triggerNamespace: string | null;
  readonly config: string;
  readonly metadata: string | null;
};

export default defineStore({
  name: 'triggers',
  migrations: [
    `CREATE TABLE persistent_triggers (
      seq INTEGER PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      type TEXT NOT NULL,
      function_id TEXT NOT NULL,
      namespace TEXT NOT NULL,
      trigger_namespace TEXT,
      config TEXT NOT NULL,
      metadata TEXT
    ) STRICT`,
  ],

  writes(db: Database) {
    // Index: the unique one on id.
    const put = db.prepare(
      `INSERT INTO persistent_triggers (id, type, function_id, namespace, trigger_namespace, config, metadata)
       VALUES (@id, @type, @functionId, @namespace, @triggerNamespace, @config, @metadata)
       ON CONFLICT (id) DO UPDATE SET metadata = excluded.metadata`,
    );
    const remove = db.prepare('DELETE FROM persistent_triggers WHERE id = ?');
    return {
      put: (trigger: StoredTrigger): void => void put.run(trigger),
      remove: (id: string): void => void remove.run(id),
    };
  },

  reads(db: Database) {
    return {
      all: (): StoredTrigger[] =>
        db
          .prepare(
            `SELECT id, type, function_id AS functionId, namespace, trigger_namespace AS triggerNamespace, config, metadata
             FROM persistent_triggers ORDER BY seq`,
          )
          .all() as StoredTrigger[],
    };
  },
});
