/**
 * How much of a queue is in memory. What is beyond lies in the store and is read when its turn comes.
 * The rest of the broker asks `bounds`, so that a simulation can make them small and meet each of them
 * with few jobs.
 */

/** Jobs per line that are kept in memory when they are accepted; the rest is read when its turn comes. */
export const MAX_HELD_JOBS = 1_000;
/** Jobs per read from the store. */
export const PAGE_JOBS = 256;
/** Jobs per read where one runs at a time. */
const PAGE_JOBS_SERIAL = 16;
/** Postponed jobs per line kept with their payload; the others are read when they are due. */
const MAX_KEPT_DELAYED = 1_000;
/** Postponed jobs of one store whose times are in memory; later ones are read from the store when these have run. */
const MAX_HELD_DELAYED = 20_000;
/** Ends that are not committed yet; above it nothing is leased. */
export const MAX_UNCOMMITTED_ENDS = 1_000;
/** Jobs in one operation on many. */
const MAX_CHUNK_JOBS = 500;

export const bounds = {
  heldJobs: MAX_HELD_JOBS,
  pageJobs: PAGE_JOBS,
  pageJobsSerial: PAGE_JOBS_SERIAL,
  keptDelayed: MAX_KEPT_DELAYED,
  heldDelayed: MAX_HELD_DELAYED,
  uncommittedEnds: MAX_UNCOMMITTED_ENDS,
  chunkJobs: MAX_CHUNK_JOBS,
};
