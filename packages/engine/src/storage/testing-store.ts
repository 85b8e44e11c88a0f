import { damagedRowError } from './errors.js';
import { defineStore, isDamaged, type CheckedTable, type Database } from './store-module.js';

const NOTES: CheckedTable = { table: 'notes', key: 'id' };

/** A store for the storage room's own tests: notes with a unique key. */
export default defineStore({
  name: 'notes',
  migrations: ['CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT'],
  checked: [NOTES],
  whenFull: ['remove'],
  writes(db: Database) {
    const insert = db.prepare('INSERT INTO notes (text) VALUES (?)');
    const remove = db.prepare('DELETE FROM notes WHERE text = ?');
    const change = db.prepare('UPDATE notes SET text = ? WHERE text = ?');
    return {
      add: (text: string) => Number(insert.run(text).lastInsertRowid),
      addAndThrow(text: string) {
        insert.run(text);
        throw Object.assign(new Error('on purpose'), { code: 'on_purpose' });
      },
      change: (from: string, to: string) => change.run(to, from).changes,
      remove: (text: string) => remove.run(text).changes,
      readBack: () => db.prepare('SELECT text FROM notes ORDER BY id').pluck().all(),
    };
  },
  reads(db: Database, tools) {
    const all = db.prepare(`SELECT id, text, ${isDamaged(db, NOTES)} AS damaged FROM notes ORDER BY id`);
    return {
      all() {
        const rows = all.all() as { id: number; text: string; damaged: number }[];
        for (const { id, damaged } of rows) {
          if (damaged === 0) continue;
          tools.damaged(NOTES, id);
          throw damagedRowError(`note ${id}`);
        }
        return rows.map(({ text }) => text);
      },
    };
  },
});
