/**
 * Builds the broker's memory anew while jobs run: the file had failed and is open again, and what it kept
 * of the last commits is not known. Nothing else is under way (see `gate.ts`), so that what is in memory
 * and not on disk too is little: leases, and the wait of jobs that came back without an answer.
 *
 * Lines and lanes keep their identity; counts, windows, times and dead letters are read. A job that runs
 * keeps its lease by its number, and its lane passes over it when it reads its jobs again.
 */
import { toErrorBody } from '@trine/protocol';
import type { DueRow, Snapshot } from '../../store.js';
import { bounds } from './bounds.js';
import { isClosed, STORE_AGAIN_MS, type BuiltinCore } from './core.js';
import type { Delays } from './delays.js';
import type { Lane } from './lane.js';
import type { BuiltinLine } from './line.js';
import { load } from './load.js';
import type { QueueRulesBook } from './queue-rules.js';
import type { TopicStore } from './topics.js';
import type { Windows } from './window.js';
import type { Withdrawals } from './withdraw.js';

/** A stored job, as far as it matters: is it on disk, and does it have a time? */
type Stored = ReadonlyMap<number, { readonly due: number | null }>;

export interface Parts {
  readonly core: BuiltinCore;
  readonly windows: Windows;
  readonly delays: Delays;
  readonly withdrawals: Withdrawals;
  readonly topics: TopicStore;
  readonly rules: QueueRulesBook;
}

/** For as long as it takes, or until the store is closed. */
export async function rebuild(parts: Parts): Promise<void> {
  const { core } = parts;
  while (!core.stopped) {
    try {
      await build(parts);
      return;
    } catch (error) {
      if (isClosed(error)) return;
      core.host.log.error('what the disk kept could not be read: trying again', { error: toErrorBody(error).message });
      await core.wait(STORE_AGAIN_MS);
    }
  }
}

async function build(parts: Parts): Promise<void> {
  const { core, delays, topics, rules } = parts;
  const snapshot = await core.store.read<Snapshot>('snapshot');
  const stored = await look(core, [...core.leases.keys(), ...delays.unstored()]);
  const before = new Set(core.lines.values());
  forget(parts);
  const lanesOnDisk = load(snapshot, core, parts.withdrawals, topics);
  keepLeases(core, stored);
  delays.keepUnstored(stored);
  dropGone(core, snapshot);
  for (const [into, others] of lanesOnDisk) await core.commitEnd(into.line, 'join', into.id, others);
  await Promise.all([...core.lines.values()].map((line) => rules.gather(line)));
  await delays.start();
  for (const line of core.lines.values()) await leaveIfNew(line, before, topics);
}

async function look(core: BuiltinCore, seqs: readonly number[]): Promise<Stored> {
  const stored = new Map<number, { readonly due: number | null }>();
  for (let i = 0; i < seqs.length; i += bounds.chunkJobs) {
    const rows = await core.store.read<DueRow[]>('places', seqs.slice(i, i + bounds.chunkJobs));
    for (const { seq, due } of rows) stored.set(seq, { due });
  }
  return stored;
}

function forget({ core, windows, delays, withdrawals, topics }: Parts): void {
  for (const line of core.lines.values()) {
    for (const lane of line.lanes.values()) for (const job of lane.forget()) core.forget(job);
    line.dead = 0;
    line.bytes = 0;
    line.reading.clear();
  }
  windows.withdrawn.clear();
  delays.forget();
  withdrawals.forget();
  topics.held.clear();
  topics.keptSince.clear();
}

function keepLeases(core: BuiltinCore, stored: Stored): void {
  for (const { job, lane: from } of core.leases.values()) {
    const lane = from.current;
    const row = stored.get(job.seq);
    lane.running++;
    lane.know(job.seq);
    if (row === undefined) {
      // It is counted until its end.
      lane.count++;
      lane.line.bytes += job.data.length;
    } else if (row.due !== null) {
      lane.delayed--;
    }
  }
}

/** Lanes without jobs, and subscriptions that are not on disk any more. */
function dropGone(core: BuiltinCore, { lines }: Snapshot): void {
  const onDisk = new Set(lines.map(({ id }) => id));
  for (const line of [...core.lines.values()]) {
    const gone: Lane[] = [...line.lanes.values()].filter(({ count }) => count === 0);
    for (const lane of gone) core.dropLane(lane);
    if (line.kind === 'subscription' && !onDisk.has(line.id) && line.lanes.size === 0) core.dropLine(line);
  }
}

/** A subscription that was stored although its worker was told otherwise has no worker. */
async function leaveIfNew(line: BuiltinLine, before: ReadonlySet<BuiltinLine>, topics: TopicStore): Promise<void> {
  const isLeft = line.offlineSince !== undefined || line.endedAt !== undefined;
  if (line.kind === 'subscription' && !before.has(line) && !isLeft) await topics.leave(line, 'offline');
}
