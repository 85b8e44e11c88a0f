/** The SQL of state: one row per key, in the order of their creation. Runs inside the storage thread. */
import { damagedRowError, defineStore, rowCrc, type CheckedTable, type Database } from '../../storage/store-module.js';
import { applyUpdateOps, compactBytes, type UpdateOp, type UpdateOpError } from '../../values/plain.js';

import { listTooLarge } from './errors.js';

/** Longest answer of a list, in UTF-16 units: what one message to a worker can carry. */
export const MAX_LIST_LENGTH = 64 * 1024 * 1024;

/** `tooLarge` = size of a result that was refused; nothing was stored. */
export type UpdateAnswer =
  | { readonly old: string | undefined; readonly value: string; readonly errors: readonly UpdateOpError[] }
  | { readonly tooLarge: number };

interface Row {
  readonly seq: number;
  readonly value: string;
  readonly crc: number;
}

const VALUES: CheckedTable = { table: 'state_values', key: 'seq', sealsUpdates: true };

/** Here and not in SQL: a function that SQLite calls for each row would cost the hot path several times more. */
function isSound({ value, crc }: Row, scope: string, key: string): boolean {
  return rowCrc([scope, key, value]) === crc;
}

export default defineStore({
  name: 'state',
  migrations: [
    // Overwriting keeps `seq`, so a list stays in the order in which keys were first set.
    `CREATE TABLE state_values (
      seq INTEGER PRIMARY KEY,
      scope TEXT NOT NULL,
      key TEXT NOT NULL,
      value TEXT NOT NULL,
      UNIQUE (scope, key)
    ) STRICT`,
    '-- rows carry checksums',
  ],
  checked: [VALUES],
  whenFull: ['delete'],

  writes(db: Database, tools) {
    // Index: the unique one on (scope, key).
    const find = db.prepare('SELECT seq, value, crc FROM state_values WHERE scope = ? AND key = ?');
    const insert = db.prepare('INSERT INTO state_values (scope, key, value, crc) VALUES (?, ?, ?, ?)');
    // Index: the primary key.
    const overwrite = db.prepare('UPDATE state_values SET value = ?, crc = ? WHERE seq = ?');
    const remove = db.prepare('DELETE FROM state_values WHERE seq = ?');

    /** The row as it is; a damaged one is neither shown nor written over: it goes to the quarantine first. */
    const present = (scope: string, key: string): Row | undefined => {
      const row = find.get(scope, key) as Row | undefined;
      if (row === undefined || isSound(row, scope, key)) return row;
      tools.damaged(VALUES, row.seq);
      throw damagedRowError(`key '${key}' of scope '${scope}'`);
    };

    const write = (row: Row | undefined, scope: string, key: string, value: string): void => {
      const crc = rowCrc([scope, key, value]);
      if (row === undefined) insert.run(scope, key, value, crc);
      else overwrite.run(value, crc, row.seq);
    };

    return {
      /** Returns the value before. */
      set(scope: string, key: string, value: string): string | undefined {
        const row = present(scope, key);
        write(row, scope, key, value);
        return row?.value;
      },

      /** Returns the value that was there. */
      delete(scope: string, key: string): string | undefined {
        const row = present(scope, key);
        if (row !== undefined) remove.run(row.seq);
        return row?.value;
      },

      update(scope: string, key: string, ops: readonly UpdateOp[], maxBytes: number | undefined): UpdateAnswer {
        const row = present(scope, key);
        const { value, errors } = applyUpdateOps(row?.value, ops);
        if (maxBytes !== undefined && Buffer.byteLength(value) > maxBytes) {
          const bytes = compactBytes(value);
          if (bytes > maxBytes) return { tooLarge: bytes };
        }
        write(row, scope, key, value);
        return { old: row?.value, value, errors };
      },
    };
  },

  reads(db: Database, tools) {
    // Index: the unique one on (scope, key).
    const find = db.prepare('SELECT seq, value, crc FROM state_values WHERE scope = ? AND key = ?');
    const all = db.prepare('SELECT seq, key, value, crc FROM state_values WHERE scope = ? ORDER BY seq');
    // One step in the index per scope, however many keys each has.
    const scopes = db
      .prepare(
        `WITH RECURSIVE scopes (scope) AS (
          SELECT min(scope) FROM state_values
          UNION ALL
          SELECT (SELECT min(scope) FROM state_values WHERE scope > scopes.scope) FROM scopes WHERE scope IS NOT NULL
        ) SELECT scope FROM scopes WHERE scope IS NOT NULL`,
      )
      .pluck();

    return {
      get(scope: string, key: string): string | undefined {
        const row = find.get(scope, key) as Row | undefined;
        if (row === undefined || isSound(row, scope, key)) return row?.value;
        tools.damaged(VALUES, row.seq);
        throw damagedRowError(`key '${key}' of scope '${scope}'`);
      },

      /** The values of a scope as one JSON array. */
      list(scope: string): string {
        const values: string[] = [];
        let length = 2;
        for (const row of all.iterate(scope) as IterableIterator<Row & { readonly key: string }>) {
          if (!isSound(row, scope, row.key)) {
            tools.damaged(VALUES, row.seq);
            throw damagedRowError(`key '${row.key}' of scope '${scope}'`);
          }
          const { value } = row;
          length += value.length + 1;
          if (length > MAX_LIST_LENGTH) {
            throw listTooLarge(scope, MAX_LIST_LENGTH);
          }
          values.push(value);
        }
        return `[${values.join(',')}]`;
      },

      listScopes(): string[] {
        return scopes.all() as string[];
      },
    };
  },
});
