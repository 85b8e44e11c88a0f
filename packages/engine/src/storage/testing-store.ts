import { defineStore, type Database } from './store-module.js';

/** A store for the storage room's own tests: notes with a unique key. */
export default defineStore({
  name: 'notes',
  migrations: ['CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT'],
  writes(db: Database) {
    const insert = db.prepare('INSERT INTO notes (text) VALUES (?)');
    return {
      add: (text: string) => Number(insert.run(text).lastInsertRowid),
      addAndThrow(text: string) {
        insert.run(text);
        throw Object.assign(new Error('on purpose'), { code: 'on_purpose' });
      },
      readBack: () => db.prepare('SELECT text FROM notes ORDER BY id').pluck().all(),
    };
  },
  reads(db: Database) {
    const all = db.prepare('SELECT text FROM notes ORDER BY id').pluck();
    return { all: () => all.all() };
  },
});
