/**
 * The queue's SQL. Runs inside the storage thread; the adapter beside it names the operations.
 *
 * A *line* is a named queue or a topic's subscription. A *lane* is the part of a line whose jobs stand
 * behind each other: the jobs of one function, or of one group in a fifo line. Lane ids, line ids and
 * sequence numbers (one counter for jobs and messages) are given out by the main thread: there is one
 * writer.
 *
 * What is not here: leases. They live in memory, and what is stored was not ended.
 */
import { defineStore } from '../../storage/store-module.js';
import { deadReads, deadWrites } from './store/dead.js';
import { endWrites } from './store/ends.js';
import { findReads } from './store/find.js';
import { jobReads, jobWrites } from './store/jobs.js';
import { lineWrites } from './store/lines.js';
import { messageWrites } from './store/messages.js';
import { DEAD, JOBS_TABLE, MESSAGES, MIGRATION_1, MIGRATION_2, MIGRATION_4 } from './store/schema.js';
import { snapshotReads } from './store/snapshot.js';

export type * from './store/rows.js';
export { DELIVERY_WIDTH } from './store/messages.js';
export { MOVE_WIDTH } from './store/dead.js';

export default defineStore({
  name: 'queue',
  migrations: [MIGRATION_1, MIGRATION_2, '-- rows carry checksums', MIGRATION_4],
  checked: [MESSAGES, JOBS_TABLE, DEAD],
  whenFull: [
    'end',
    'endWithOptions',
    'endKept',
    'endMany',
    'endStored',
    'expire',
    'postpone',
    'deadLetter',
    'discard',
    'dropDead',
    'dropHeld',
    'dropKept',
    'dropUnique',
    'forgetEnded',
    'setOffline',
    'endLine',
    'deleteLine',
  ],

  writes(db, tools) {
    const ends = endWrites(db);
    return {
      ...lineWrites(db),
      ...jobWrites(db),
      ...ends,
      ...messageWrites(db),
      ...deadWrites(db, tools, ends.endWithOptions),
    };
  },

  reads: (db, tools) => ({
    ...snapshotReads(db),
    ...jobReads(db, tools),
    ...findReads(db, tools),
    ...deadReads(db, tools),
  }),
});
