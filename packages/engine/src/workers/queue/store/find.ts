/** A job by its receipt. */
import { damagedRowError, type Database, type StoreTools } from '../../../storage/store-module.js';
import type { DeadRow, Found, JobRow, KeptRow } from './rows.js';
import { DEAD_COLUMNS, JOB_COLUMNS, JOBS } from './schema.js';
import { soundness } from './soundness.js';

export function findReads(db: Database, tools: StoreTools) {
  const { jobDamage, deadDamage, isSound, isSoundDead } = soundness(db, tools);
  // Rowid, then the indexes queue_jobs_lookup, queue_dead_receipt, queue_dead_job and queue_ended_receipt.
  const bySeq = db.prepare(`SELECT ${JOB_COLUMNS}, ${jobDamage} FROM ${JOBS} WHERE j.seq = ? AND j.receipt = ?`);
  const byLookup = db.prepare(`SELECT ${JOB_COLUMNS}, ${jobDamage} FROM ${JOBS} WHERE j.lookup = ?`);
  const deadByReceipt = db.prepare(
    `SELECT ${DEAD_COLUMNS}, ${deadDamage} FROM queue_dead WHERE receipt = @id OR job_id = @id`,
  );
  const endedByReceipt = db.prepare(
    `SELECT line, receipt, state, function_id AS functionId, namespace, attempts, errors, created_at AS createdAt,
       ended_at AS endedAt FROM queue_ended WHERE receipt = ?`,
  );

  return {
    /** A job by its receipt, whatever became of it. `seq`: the number that the receipt tells, or -1. */
    find(receipt: string, seq: number): Found | undefined {
      const job = (bySeq.get(seq, receipt) ?? byLookup.get(receipt)) as JobRow | undefined;
      if (job !== undefined) {
        if (!isSound(job)) throw damagedRowError(`job '${receipt}'`);
        return { kind: 'job', job };
      }
      const dead = deadByReceipt.get({ id: receipt }) as DeadRow | undefined;
      if (dead !== undefined) {
        if (!isSoundDead(dead)) throw damagedRowError(`dead letter '${receipt}'`);
        return { kind: 'dead', dead };
      }
      const ended = endedByReceipt.get(receipt) as KeptRow | undefined;
      return ended === undefined ? undefined : { kind: 'ended', ended };
    },
  };
}
