/** Rows that do not match their checksums: told, and never used. */
import { isDamaged, type Database, type StoreTools } from '../../../storage/store-module.js';
import type { DeadRow, JobRow } from './rows.js';
import { DEAD, JOBS_TABLE, MESSAGES } from './schema.js';

export function soundness(db: Database, tools: StoreTools) {
  const jobDamage = `${isDamaged(db, JOBS_TABLE, 'j')} + 2 * (m.id IS NOT NULL AND ${isDamaged(db, MESSAGES, 'm')}) AS damaged`;
  const deadDamage = `${isDamaged(db, DEAD)} AS damaged`;

  /** Is a job fit to be used? If not, it goes to the quarantine, its message first: without it, it is useless. */
  function isSound(row: JobRow): boolean {
    if (row.damaged === 0) return true;
    if (row.message !== null) tools.damaged(MESSAGES, row.message);
    tools.damaged(JOBS_TABLE, row.seq);
    return false;
  }

  function isSoundDead(row: DeadRow): boolean {
    if (row.damaged === 0) return true;
    tools.damaged(DEAD, row.seq);
    return false;
  }

  return { jobDamage, deadDamage, isSound, isSoundDead };
}
