/** Jobs that end, and what is left of them. */
import type { Database } from '../../../storage/store-module.js';
import type { EndedRow } from './rows.js';
import { ENDED_COLUMNS } from './schema.js';

/** Ended jobs beyond a queue's count are forgotten at each so many'th of them. */
const FORGET_EVERY = 64;

export function endWrites(db: Database) {
  const freeUnique = db.prepare(
    'DELETE FROM queue_unique WHERE line = ? AND key = ? AND receipt = ? AND until IS NULL',
  );
  // Rowid lookup.
  const ending = db.prepare('SELECT line, receipt, options FROM queue_jobs WHERE seq = ?');
  const keep = db.prepare(
    `INSERT OR REPLACE INTO queue_ended (seq, line, receipt, state, function_id, namespace, attempts, errors, created_at, ended_at)
     SELECT seq, line, receipt, ?, function_id, namespace, ?, ?, created_at, ? FROM queue_jobs WHERE seq = ?`,
  );
  // Index queue_ended_line.
  const forgetOld = db.prepare('DELETE FROM queue_ended WHERE line = ? AND ended_at < ?');
  const forgetMany = db.prepare(
    `DELETE FROM queue_ended WHERE seq IN
       (SELECT seq FROM queue_ended WHERE line = ? ORDER BY ended_at DESC, seq DESC LIMIT -1 OFFSET ?)`,
  );
  // Rowid lookups.
  const deleteJob = db.prepare('DELETE FROM queue_jobs WHERE seq = ? RETURNING message').pluck();
  const unref = db.prepare(
    'UPDATE queue_messages SET refs = refs - 1 WHERE id = ? RETURNING refs, keep_until AS keepUntil',
  );
  const deleteMessage = db.prepare('DELETE FROM queue_messages WHERE id = ?');
  const keepMessage = db.prepare('UPDATE queue_messages SET refs = -1 WHERE id = ?');
  const addExpired = db.prepare('UPDATE queue_lines SET expired = expired + ? WHERE id = ?');
  // Index queue_jobs_lane.
  const oldest = db.prepare(
    `SELECT ${ENDED_COLUMNS} FROM queue_jobs WHERE lane = ? AND seq > ? AND due IS NULL ORDER BY seq LIMIT ?`,
  );

  function end(seq: number): boolean {
    const message = deleteJob.get(seq) as number | null | undefined;
    if (message === undefined) return false;
    if (message !== null) {
      // A damaged message is in the quarantine; who had read it before ends as usual.
      const left = unref.get(message) as { refs: number; keepUntil: number | null } | undefined;
      if (left?.refs === 0 && left.keepUntil === null) deleteMessage.run(message);
      else if (left?.refs === 0) keepMessage.run(message);
    }
    return true;
  }

  /** Ends a job that may have a unique key. */
  function endWithOptions(seq: number): boolean {
    const job = ending.get(seq) as { line: number; receipt: string; options: string | null } | undefined;
    if (typeof job?.options === 'string') {
      const { uniqueKey } = JSON.parse(job.options) as { uniqueKey?: string };
      if (uniqueKey !== undefined) freeUnique.run(job.line, uniqueKey, job.receipt);
    }
    return end(seq);
  }

  return {
    /** Ends a job: done, discarded or expired. */
    end,

    endWithOptions,

    /** Ends a job that stays on record for a while. */
    endKept(
      seq: number,
      state: string,
      attempts: number,
      errors: string | null,
      at: number,
      keepCount: number,
      line: number,
      forgetBefore: number,
    ): boolean {
      keep.run(state, attempts, errors, at, seq);
      forgetOld.run(line, forgetBefore);
      if (seq % FORGET_EVERY === 0) forgetMany.run(line, keepCount);
      return endWithOptions(seq);
    },

    /** Ends jobs that are not running; those that were there are answered. */
    endMany(seqs: readonly number[]): number[] {
      return seqs.filter((seq) => endWithOptions(seq));
    },

    forgetEnded(line: number, before: number, keepCount: number): void {
      forgetOld.run(line, before);
      forgetMany.run(line, keepCount);
    },

    expire(line: number, seqs: readonly number[]): void {
      let expired = 0;
      for (const seq of seqs) if (endWithOptions(seq)) expired++;
      addExpired.run(expired, line);
    },

    /** The oldest jobs of a lane that lie beyond what is in memory. `countFor`: the line that counts them as expired. */
    endStored(lane: number, after: number, limit: number, countFor: number | null): EndedRow[] {
      const rows = oldest.all(lane, after, limit) as EndedRow[];
      for (const row of rows) endWithOptions(row.seq);
      if (countFor !== null) addExpired.run(rows.length, countFor);
      return rows;
    },
  };
}
