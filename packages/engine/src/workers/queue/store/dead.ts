/** Dead letters. */
import { isDamaged, type Database, type StoreTools } from '../../../storage/store-module.js';
import type { DeadConditions, DeadKey, DeadRow, EndedRow } from './rows.js';
import { DEAD, DEAD_COLUMNS, DEAD_KEY, ENDED_COLUMNS, JOBS, JOBS_TABLE } from './schema.js';
import { soundness } from './soundness.js';

/** Values per dead letter in `redrive`. */
export const MOVE_WIDTH = 5;

/** @param endWithOptions - ends a job */

export function deadWrites(db: Database, tools: StoreTools, endWithOptions: (seq: number) => boolean) {
  const bury = db.prepare(
    `INSERT INTO queue_dead (seq, line, job_id, receipt, function_id, namespace, group_key, data, size, metadata, traceparent,
       baggage, created_at, attempts, max_attempts, backoff_ms, redrives, options, errors, error, error_code, failed_at)
     SELECT j.seq, j.line, coalesce(j.job_id, ?), j.receipt, j.function_id, j.namespace, j.group_key, coalesce(j.data, m.data), j.size,
       j.metadata, coalesce(j.traceparent, m.traceparent), coalesce(j.baggage, m.baggage), j.created_at, ?, j.max_attempts,
       j.backoff_ms, j.redrives, j.options, ?, ?, ?, ?
     FROM ${JOBS} WHERE j.seq = ? AND NOT ${isDamaged(db, JOBS_TABLE, 'j')}`,
  );
  const revive = db.prepare(
    `INSERT INTO queue_jobs (seq, line, lane, receipt, job_id, function_id, namespace, group_key, data, size, metadata,
       traceparent, baggage, created_at, attempts, max_attempts, backoff_ms, lost, redrives, options, lookup)
     SELECT ?, line, ?, receipt, job_id, function_id, namespace, ?, data, size, metadata, traceparent, baggage,
       created_at, 0, coalesce(?, max_attempts), coalesce(?, backoff_ms), 0, redrives + 1, ?, receipt
     FROM queue_dead WHERE seq = ? AND NOT ${isDamaged(db, DEAD)}`,
  );
  const deadExists = db.prepare('SELECT 1 FROM queue_dead WHERE seq = ?').pluck();
  const jobExists = db.prepare('SELECT 1 FROM queue_jobs WHERE seq = ?').pluck();
  const deleteDead = db.prepare('DELETE FROM queue_dead WHERE seq = ?');
  const editDead = db.prepare(
    `UPDATE queue_dead SET data = coalesce(@data, data), size = coalesce(@size, size),
       function_id = coalesce(@functionId, function_id) WHERE seq = @seq`,
  );
  // Index queue_dead_line.
  const dropDead = db.prepare(
    `DELETE FROM queue_dead WHERE seq IN (SELECT seq FROM queue_dead WHERE line = ? AND failed_at < ? ORDER BY failed_at LIMIT ?)
       RETURNING ${ENDED_COLUMNS}`,
  );

  return {
    /** Dead letters that failed before a time. Answers those that went. */
    dropDead(line: number, before: number, limit: number): EndedRow[] {
      return dropDead.all(line, before, limit) as EndedRow[];
    },

    editDead(seq: number, data: string | null, functionId: string | null): boolean {
      return editDead.run({ seq, data, size: data?.length ?? null, functionId }).changes > 0;
    },

    deadLetter(
      seq: number,
      jobId: string,
      attempts: number,
      errors: string | null,
      error: string,
      code: string,
      failedAt: number,
    ): void {
      if (bury.run(jobId, attempts, errors, error, code, failedAt, seq).changes > 0) endWithOptions(seq);
      else if (jobExists.get(seq) !== undefined) tools.damaged(JOBS_TABLE, seq);
    },

    /** @param moves - per dead letter: its seq, the new seq, the lane, group, options. Answers the new seqs of those that were there. */
    redrive(
      moves: readonly (string | number | null)[],
      maxAttempts: number | null,
      backoffMs: number | null,
    ): number[] {
      const moved: number[] = [];
      for (let i = 0; i < moves.length; i += MOVE_WIDTH) {
        const [dead, seq, lane, group, options] = moves.slice(i, i + MOVE_WIDTH) as [number, number, ...unknown[]];
        if (revive.run(seq, lane, group, maxAttempts, backoffMs, options, dead).changes === 0) {
          if (deadExists.get(dead) !== undefined) tools.damaged(DEAD, dead);
          continue;
        }
        deleteDead.run(dead);
        moved.push(seq);
      }
      return moved;
    },

    discard(seq: number): boolean {
      return deleteDead.run(seq).changes > 0;
    },
  };
}

export function deadReads(db: Database, tools: StoreTools) {
  const { deadDamage, isSoundDead } = soundness(db, tools);
  // Index queue_dead_line.
  const deadKeys = db.prepare(
    `SELECT ${DEAD_KEY} FROM queue_dead
     WHERE line = ? AND (failed_at, seq) > (?, ?) ORDER BY failed_at, seq LIMIT ?`,
  );
  // Indexes queue_dead_job and queue_dead_receipt.
  const findDead = db.prepare(`SELECT ${DEAD_KEY} FROM queue_dead WHERE job_id = @id OR receipt = @id`);

  return {
    /** One page of dead letters of some lines, newest first, ended before it is larger than `maxBytes`. */
    browseDead(
      lines: readonly number[],
      offset: number,
      limit: number,
      maxBytes: number,
      filter: DeadConditions,
    ): { readonly rows: readonly DeadRow[]; readonly total: number; readonly cut: boolean } {
      const marks = lines.map(() => '?').join(', ');
      const conditions = [`line IN (${marks})`];
      const values: (string | number)[] = [...lines];
      for (const [condition, value] of [
        ['function_id = ?', filter.functionId],
        ['error_code = ?', filter.code],
        ['instr(error, ?) > 0', filter.error],
        ['failed_at >= ?', filter.since],
        ['failed_at < ?', filter.until],
      ] as const) {
        if (value === undefined) continue;
        conditions.push(condition);
        values.push(value);
      }
      const where = conditions.join(' AND ');
      const total = db
        .prepare(`SELECT count(*) FROM queue_dead WHERE ${where}`)
        .pluck()
        .get(...values) as number;
      const rows: DeadRow[] = [];
      let bytes = 0;
      const page = db.prepare(
        `SELECT ${DEAD_COLUMNS}, ${deadDamage} FROM queue_dead WHERE ${where} ORDER BY failed_at DESC, seq DESC LIMIT ? OFFSET ?`,
      );
      for (const row of page.iterate(...values, limit, offset) as IterableIterator<DeadRow>) {
        if (!isSoundDead(row)) continue;
        bytes += row.size + (row.errors?.length ?? 0) + row.error.length;
        if (rows.length > 0 && bytes > maxBytes) return { rows, total, cut: true };
        rows.push(row);
      }
      return { rows, total, cut: false };
    },

    /** Keys of a line's dead letters, oldest first. */
    deadKeys(line: number, limit: number): DeadKey[] {
      return deadKeys.all(line, -1, -1, limit) as DeadKey[];
    },

    findDead(id: string): DeadKey[] {
      return findDead.all({ id }) as DeadKey[];
    },
  };
}
