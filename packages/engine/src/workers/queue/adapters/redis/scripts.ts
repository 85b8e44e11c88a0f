import { redisScript, type RedisScript } from '../../../../redis/index.js';
import * as house from './lua/house.js';
import * as intake from './lua/intake.js';
import * as jobs from './lua/jobs.js';
import * as lease from './lua/lease.js';
import { library, SERVER_TIME } from './lua/library.js';

/** Whether a script runs when the server's memory is full: what adds a job or a message does not. */
const BODIES = {
  accept: [intake.ACCEPT, undefined],
  publish: [intake.PUBLISH, undefined],
  replay: [intake.REPLAY, undefined],
  edit: [jobs.EDIT, undefined],
  subscribe: [intake.SUBSCRIBE, 'full'],
  replayBounds: [intake.REPLAY_BOUNDS, 'full'],
  fetch: [lease.FETCH, 'full'],
  done: [lease.DONE, 'full'],
  postpone: [lease.POSTPONE, 'full'],
  dead: [lease.DEAD, 'full'],
  reclaim: [lease.RECLAIM, 'full'],
  renew: [lease.RENEW, 'full'],
  finishLate: [lease.FINISH_LATE, 'full'],
  open: [house.OPEN, 'full'],
  gather: [house.GATHER, 'full'],
  lines: [house.LINES, 'full'],
  stats: [house.STATS, 'full'],
  pause: [house.PAUSE, 'full'],
  leave: [house.LEAVE, 'full'],
  held: [house.HELD, 'full'],
  sweepHeld: [house.SWEEP_HELD, 'full'],
  kept: [house.KEPT, 'full'],
  sweepKept: [house.SWEEP_KEPT, 'full'],
  sweepLine: [house.SWEEP_LINE, 'full'],
  dropLine: [house.DROP_LINE, 'full'],
  find: [jobs.FIND, 'full'],
  cancel: [jobs.CANCEL, 'full'],
  purge: [jobs.PURGE, 'full'],
  peek: [jobs.PEEK, 'full'],
  deadIds: [jobs.DEAD_IDS, 'full'],
  deadHeads: [jobs.DEAD_HEADS, 'full'],
  deadLetters: [jobs.DEAD_LETTERS, 'full'],
  redrive: [jobs.REDRIVE, 'full'],
  redriveOne: [jobs.REDRIVE_ONE, 'full'],
  discard: [jobs.DISCARD, 'full'],
} as const;

export type QueueScripts = Readonly<Record<keyof typeof BODIES, RedisScript>>;

/** @param time - Lua that returns the time; the server's unless a test says otherwise */
export function queueScripts(time = SERVER_TIME): QueueScripts {
  const shared = library(time);
  const scripts = Object.entries(BODIES).map(
    ([name, [body, flags]]) => [name, redisScript(name, shared + body, flags)] as const,
  );
  return Object.fromEntries(scripts) as QueueScripts;
}
