/** The tables with checksums, as the file itself describes them: the doctor needs no store to look. */
import type { Database } from 'better-sqlite3';

export interface FoundTable {
  readonly table: string;
  readonly key: string;
  /** SQL that is true of a row whose bytes do not match. */
  readonly isBroken: string;
}

export function findCheckedTables(db: Database): FoundTable[] {
  const triggers = db
    .prepare(
      "SELECT tbl_name AS tbl, sql FROM sqlite_schema WHERE type = 'trigger' AND name = tbl_name || '_crc_insert'",
    )
    .all() as { tbl: string; sql: string }[];
  return triggers.flatMap(({ tbl, sql }) => {
    const [, sum, key] = /SET crc = (row_crc\(.*?\)) WHERE (\w+) = /.exec(sql) ?? [];
    if (sum === undefined || key === undefined) return [];
    return [{ table: tbl, key, isBroken: `crc IS NOT ${sum.replaceAll('new.', '')}` }];
  });
}
