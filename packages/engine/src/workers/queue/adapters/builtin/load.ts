/** Builds memory from what the store knows: at the start, and when its file had failed (see `gate.ts`). */
import type { SubscriptionSettings } from '../index.js';
import type { LineRow, Snapshot } from '../../store.js';
import { extrasOf, laneKey, type BuiltinCore } from './core.js';
import type { Lane } from './lane.js';
import type { BuiltinLine } from './line.js';
import type { TopicStore } from './topics.js';
import type { Withdrawals } from './withdraw.js';

/** Puts lines and lanes in; those that are known keep their identity. Answers lanes on disk that are part of another. */
export function load(
  snapshot: Snapshot,
  core: BuiltinCore,
  withdrawals: Withdrawals,
  topics: TopicStore,
): ReadonlyMap<Lane, readonly number[]> {
  for (const row of snapshot.lines) loadLine(row, core);
  for (const { line, count } of snapshot.dead) {
    const own = core.linesById.get(line);
    if (own !== undefined) own.dead = count;
  }
  const lanes = new Map<number, Lane>();
  const parts = new Map<Lane, number[]>();
  for (const row of snapshot.lanes) {
    const line = core.linesById.get(row.line);
    if (line === undefined) {
      core.host.log.error('jobs of an unknown queue are left alone', { line: row.line, jobs: row.count });
      continue;
    }
    const lane = laneFor(row, line, core);
    if (lane.id !== row.lane) {
      const others = parts.get(lane);
      if (others === undefined) parts.set(lane, [row.lane]);
      else others.push(row.lane);
    }
    lane.count += row.count;
    lane.last = Math.max(lane.last, row.last);
    lane.delayed += row.delayed;
    line.bytes += row.bytes;
    lanes.set(row.lane, lane);
  }
  if (snapshot.firstExpiry !== null) withdrawals.expireAt(-1, snapshot.firstExpiry);
  for (const { topic, since } of snapshot.kept) topics.keptSince.set(topic, since);
  for (const { topic, count, bytes } of snapshot.held) topics.held.set(topic, { count, bytes });
  return parts;
}

function loadLine(row: LineRow, core: BuiltinCore): void {
  const { name, namespace, functionId } = row;
  const kind = row.isTopic === 1 ? 'subscription' : 'queue';
  const settings = kind === 'queue' ? undefined : (JSON.parse(row.settings) as SubscriptionSettings);
  const line = core.linesById.get(row.id) ?? core.addLine(row.id, { kind, name, namespace, functionId }, settings);
  if (settings !== undefined) {
    line.settings = settings;
    line.serial = settings.fifo;
  }
  // One that has no worker is offline, whether or not that, or its end, could be stored.
  line.offlineSince = row.offlineSince ?? line.offlineSince ?? (row.endedAt === null ? line.endedAt : undefined);
  line.endedAt = row.endedAt ?? undefined;
  line.expired = row.expired;
  line.paused = row.paused === 1;
}

function laneFor(row: Snapshot['lanes'][number], line: BuiltinLine, core: BuiltinCore): Lane {
  const known = core.lanesById.get(row.lane);
  if (known !== undefined && line.lanes.get(known.current.key) === known.current) return known.current;
  const extras = extrasOf(row.options);
  const key = laneKey(row.functionId, row.namespace, row.group ?? undefined, extras);
  const same = line.lanes.get(key);
  // What stands in one order is one lane. Jobs whose enqueue failed, and which the disk kept, may have another.
  if (same !== undefined && (row.group !== null || line.kind === 'subscription')) return same;
  // Two lanes of one key come from a change between fifo and standard: both are worked off.
  const free = same === undefined ? key : `${key}\u0000${row.lane}`;
  const priority = row.group === null ? extras?.priority : undefined;
  return core.newLane(line, row.functionId, row.namespace, free, priority, row.lane);
}
