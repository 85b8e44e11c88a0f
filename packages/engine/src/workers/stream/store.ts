/**
 * The SQL of streams: one row per item, in the order of their creation, and a clock that counts the
 * writes, so that a snapshot and the events around it fit together. Runs inside the storage thread.
 */
import { damagedRowError, defineStore, rowCrc, type CheckedTable, type Database } from '../../storage/store-module.js';
import { applyUpdateOps, type UpdateOp, type UpdateOpError } from '../../values/plain.js';

/** Longest answer of a list, in UTF-16 units: what one message can carry. */
const MAX_LIST_LENGTH = 64 * 1024 * 1024;

export interface Written {
  /** The value before; undefined = there was none. */
  readonly old: string | undefined;
  /** The clock after this write. */
  readonly revision: number;
}

export interface Updated extends Written {
  readonly value: string;
  readonly errors: readonly UpdateOpError[];
}

/** What a group or an item was at one moment. */
export interface StoredSnapshot {
  /** An item's value or the array of a group's values; undefined = no such item. */
  readonly text: string | undefined;
  /** Writes up to this one are in it. */
  readonly revision: number;
}

interface Row {
  readonly seq: number;
  readonly value: string;
  readonly crc: number;
}

const ITEMS: CheckedTable = { table: 'stream_items', key: 'seq', sealsUpdates: true };

/** Here and not in SQL: a function that SQLite calls for each row would cost the hot path several times more. */
function isSound({ value, crc }: Row, stream: string, group: string, item: string): boolean {
  return rowCrc([stream, group, item, value]) === crc;
}

export default defineStore({
  name: 'stream',
  migrations: [
    // Overwriting keeps `seq`, so a list stays in the order in which items were first set.
    `CREATE TABLE stream_items (
      seq INTEGER PRIMARY KEY,
      stream TEXT NOT NULL,
      group_id TEXT NOT NULL,
      item TEXT NOT NULL,
      value TEXT NOT NULL,
      UNIQUE (stream, group_id, item)
    ) STRICT;
    CREATE TABLE stream_clock (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      revision INTEGER NOT NULL
    ) STRICT;
    INSERT INTO stream_clock (id, revision) VALUES (1, 0)`,
    '-- rows carry checksums',
  ],
  checked: [ITEMS],
  whenFull: ['delete'],

  writes(db: Database, tools) {
    // Index: the unique one on (stream, group_id, item).
    const find = db.prepare('SELECT seq, value, crc FROM stream_items WHERE stream = ? AND group_id = ? AND item = ?');
    const insert = db.prepare('INSERT INTO stream_items (stream, group_id, item, value, crc) VALUES (?, ?, ?, ?, ?)');
    // Index: the primary keys.
    const overwrite = db.prepare('UPDATE stream_items SET value = ?, crc = ? WHERE seq = ?');
    const remove = db.prepare('DELETE FROM stream_items WHERE seq = ?');
    const tick = db.prepare('UPDATE stream_clock SET revision = revision + 1 WHERE id = 1 RETURNING revision').pluck();

    /** The row as it is; a damaged one is neither shown nor written over: it goes to the quarantine first. */
    const present = (stream: string, group: string, item: string): Row | undefined => {
      const row = find.get(stream, group, item) as Row | undefined;
      if (row === undefined || isSound(row, stream, group, item)) return row;
      tools.damaged(ITEMS, row.seq);
      throw damagedRowError(`item '${item}' of group '${group}' of stream '${stream}'`);
    };

    const write = (row: Row | undefined, stream: string, group: string, item: string, value: string): number => {
      const crc = rowCrc([stream, group, item, value]);
      if (row === undefined) insert.run(stream, group, item, value, crc);
      else overwrite.run(value, crc, row.seq);
      return tick.get() as number;
    };

    return {
      set(stream: string, group: string, item: string, value: string): Written {
        const row = present(stream, group, item);
        return { old: row?.value, revision: write(row, stream, group, item, value) };
      },

      delete(stream: string, group: string, item: string): Written {
        const row = present(stream, group, item);
        if (row !== undefined) remove.run(row.seq);
        return { old: row?.value, revision: tick.get() as number };
      },

      update(stream: string, group: string, item: string, ops: readonly UpdateOp[]): Updated {
        const row = present(stream, group, item);
        const { value, errors } = applyUpdateOps(row?.value, ops);
        return { old: row?.value, value, errors, revision: write(row, stream, group, item, value) };
      },
    };
  },

  reads(db: Database, tools) {
    // Index: the unique one on (stream, group_id, item), for all of these.
    const find = db.prepare('SELECT seq, value, crc FROM stream_items WHERE stream = ? AND group_id = ? AND item = ?');
    const all = db.prepare(
      'SELECT seq, item, value, crc FROM stream_items WHERE stream = ? AND group_id = ? ORDER BY seq',
    );
    const firstGroup = db.prepare('SELECT min(group_id) FROM stream_items WHERE stream = ?').pluck();
    const nextGroup = db.prepare('SELECT min(group_id) FROM stream_items WHERE stream = ? AND group_id > ?').pluck();
    const firstStream = db.prepare('SELECT min(stream) FROM stream_items').pluck();
    const nextStream = db.prepare('SELECT min(stream) FROM stream_items WHERE stream > ?').pluck();
    const clock = db.prepare('SELECT revision FROM stream_clock WHERE id = 1').pluck();

    const check = (row: Row, stream: string, group: string, item: string): string => {
      if (isSound(row, stream, group, item)) return row.value;
      tools.damaged(ITEMS, row.seq);
      throw damagedRowError(`item '${item}' of group '${group}' of stream '${stream}'`);
    };

    const get = (stream: string, group: string, item: string): string | undefined => {
      const row = find.get(stream, group, item) as Row | undefined;
      return row === undefined ? undefined : check(row, stream, group, item);
    };

    const list = (stream: string, group: string): string => {
      const values: string[] = [];
      let length = 2;
      for (const row of all.iterate(stream, group) as IterableIterator<Row & { readonly item: string }>) {
        const value = check(row, stream, group, row.item);
        length += value.length + 1;
        if (length > MAX_LIST_LENGTH) {
          throw new Error(
            `the items of group '${group}' of stream '${stream}' are larger than ${MAX_LIST_LENGTH} bytes together: spread them over more groups`,
          );
        }
        values.push(value);
      }
      return `[${values.join(',')}]`;
    };

    // One step in the index per group, however many items each has.
    const listGroups = (stream: string): string[] => {
      const groups: string[] = [];
      let group = firstGroup.get(stream) as string | null;
      for (; group !== null; group = nextGroup.get(stream, group) as string | null) groups.push(group);
      return groups;
    };

    // Both statements see one moment of the file.
    const snapshot = db.transaction((stream: string, group: string, item: string | undefined): StoredSnapshot => {
      const revision = clock.get() as number;
      return { revision, text: item === undefined ? list(stream, group) : get(stream, group, item) };
    });

    return {
      get,
      list,
      listGroups,
      snapshot: (stream: string, group: string, item: string | undefined): StoredSnapshot =>
        snapshot(stream, group, item),

      listAll(): { id: string; groups: string[] }[] {
        const streams: { id: string; groups: string[] }[] = [];
        let stream = firstStream.get() as string | null;
        for (; stream !== null; stream = nextStream.get(stream) as string | null)
          streams.push({ id: stream, groups: listGroups(stream) });
        return streams;
      },
    };
  },
});
