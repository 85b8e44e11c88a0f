/** Copies what can still be read, row by row, from a database whose structure is broken into a new one. */
import type Database from 'better-sqlite3';

/** Rows read at once, until a read fails. */
const PAGE_ROWS = 200;
/** Row numbers tried one by one behind a place that cannot be read. */
const MAX_PROBES = 2_000;

export interface TableRescue {
  readonly table: string;
  readonly rows: number;
  /** Parts of the table could not be read. */
  readonly hasGaps: boolean;
}

interface SchemaRow {
  readonly type: string;
  readonly name: string;
  readonly sql: string;
}

/** @throws when the schema itself cannot be read */
export function rescueRows(from: Database.Database, to: Database.Database): TableRescue[] {
  const schema = from
    .prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    .all() as SchemaRow[];
  const tables = schema.filter(({ type }) => type === 'table');
  for (const { sql } of tables) to.exec(sql);
  const rescued = tables.map(({ name }) =>
    hasRowNumbers(to, name) ? rescueTable(from, to, name) : rescueByKey(from, to, name),
  );
  for (const { type, sql } of schema) if (type !== 'table') to.exec(sql);
  return rescued;
}

/** Not those made `WITHOUT ROWID`. */
function hasRowNumbers(db: Database.Database, table: string): boolean {
  const [list] = db.pragma(`table_list("${table}")`) as { wr: number }[];
  return list?.wr === 0;
}

interface Columns {
  /** In quotes. */
  readonly all: readonly string[];
  /** Of the primary key, in its order. */
  readonly key: readonly string[];
}

function columnsOf(db: Database.Database, table: string): Columns {
  const info = db.pragma(`table_info("${table}")`) as { name: string; pk: number }[];
  const key = info.filter(({ pk }) => pk > 0).sort((a, b) => a.pk - b.pk);
  const quoted = ({ name }: { name: string }): string => `"${name}"`;
  return { all: info.map(quoted), key: key.map(quoted) };
}

function insertInto(db: Database.Database, table: string, columns: readonly string[]): Database.Statement {
  return db.prepare(
    `INSERT OR IGNORE INTO "${table}" (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
  );
}

/** A table that is its own index: its rows from both ends, up to where they cannot be read. */
function rescueByKey(from: Database.Database, to: Database.Database, table: string): TableRescue {
  const { all, key } = columnsOf(to, table);
  const insert = insertInto(to, table, all);
  let rows = 0;
  const isWhole = (order: 'ASC' | 'DESC'): boolean => {
    const ordered = key.map((column) => `${column} ${order}`).join(', ');
    const select = from.prepare(`SELECT ${all.join(', ')} FROM "${table}" ORDER BY ${ordered}`);
    try {
      for (const row of select.raw().safeIntegers().iterate() as IterableIterator<bigint[]>)
        rows += insert.run(...row).changes;
      return true;
    } catch {
      return false;
    }
  };
  const copy = to.transaction(() => isWhole('ASC') || !isWhole('DESC'));
  return { table, hasGaps: !copy(), rows };
}

function rescueTable(from: Database.Database, to: Database.Database, table: string): TableRescue {
  const { all: columns } = columnsOf(to, table);
  const insert = insertInto(to, table, columns);
  // NOT INDEXED: the rows themselves, whatever state the indexes are in.
  const select = (condition: string, order: string): Database.Statement =>
    from
      .prepare(
        `SELECT rowid, ${columns.join(', ')} FROM "${table}" NOT INDEXED WHERE ${condition} ORDER BY rowid ${order} LIMIT ?`,
      )
      .raw()
      .safeIntegers();
  const upward = select('rowid > ?', 'ASC');
  const downward = select('rowid > ? AND rowid < ?', 'DESC');
  const single = from
    .prepare(`SELECT rowid, ${columns.join(', ')} FROM "${table}" NOT INDEXED WHERE rowid = ?`)
    .raw()
    .safeIntegers();
  let rows = 0;
  const keep = (row: bigint[]): bigint => {
    rows += insert.run(...row.slice(1)).changes;
    return row[0] as bigint;
  };
  let last = -(2n ** 62n);
  let hasGaps = false;
  const copy = to.transaction(() => {
    for (let size = PAGE_ROWS; ;) {
      try {
        const page = upward.all(last, size) as bigint[][];
        for (const row of page) last = keep(row);
        if (page.length === 0) return;
      } catch {
        if (size === 1) break;
        size = 1;
      }
    }
    // From the other end down to the broken place.
    hasGaps = true;
    let first = 2n ** 62n;
    for (let size = PAGE_ROWS; ;) {
      try {
        const page = downward.all(last, first, size) as bigint[][];
        for (const row of page) first = keep(row);
        if (page.length === 0) return;
      } catch {
        if (size === 1) break;
        size = 1;
      }
    }
    for (let rowid = last + 1n, left = MAX_PROBES; rowid < first && left > 0; rowid++, left--) {
      try {
        const row = single.get(rowid) as bigint[] | undefined;
        if (row !== undefined) keep(row);
      } catch {
        // This one is in the broken place.
      }
    }
  });
  copy();
  return { table, rows, hasGaps };
}
