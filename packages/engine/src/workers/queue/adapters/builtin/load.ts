/** Builds memory from what the store knows at the start. */
import type { SubscriptionSettings } from '../index.js';
import type { Snapshot } from '../../store.js';
import { extrasOf, laneKey, type BuiltinCore } from './core.js';
import type { Lane } from './lane.js';
import type { TopicStore } from './topics.js';
import type { Withdrawals } from './withdraw.js';

export function load(snapshot: Snapshot, core: BuiltinCore, withdrawals: Withdrawals, topics: TopicStore): void {
  for (const row of snapshot.lines) {
    const { name, namespace, functionId } = row;
    const kind = row.isTopic === 1 ? 'subscription' : 'queue';
    const settings = kind === 'queue' ? undefined : (JSON.parse(row.settings) as SubscriptionSettings);
    const line = core.addLine(row.id, { kind, name, namespace, functionId }, settings);
    line.offlineSince = row.offlineSince ?? undefined;
    line.endedAt = row.endedAt ?? undefined;
    line.expired = row.expired;
    line.paused = row.paused === 1;
  }
  for (const { line, count } of snapshot.dead) {
    const own = core.linesById.get(line);
    if (own !== undefined) own.dead = count;
  }
  const lanes = new Map<number, Lane>();
  for (const row of snapshot.lanes) {
    const line = core.linesById.get(row.line);
    if (line === undefined) {
      core.host.log.error('jobs of an unknown queue are left alone', { line: row.line, jobs: row.count });
      continue;
    }
    const extras = extrasOf(row.options);
    const key = laneKey(row.functionId, row.namespace, row.group ?? undefined, extras);
    // Two lanes of one key come from a change between fifo and standard: both are worked off.
    const free = line.lanes.has(key) ? `${key}\u0000${row.lane}` : key;
    const lane = core.newLane(
      line,
      row.functionId,
      row.namespace,
      free,
      row.group === null ? extras?.priority : undefined,
      row.lane,
    );
    lane.count = row.count;
    lane.last = row.last;
    lane.delayed = row.delayed;
    line.bytes += row.bytes;
    lanes.set(row.lane, lane);
  }
  for (const { seq, lane, at } of snapshot.expiring) {
    const own = lanes.get(lane);
    if (own !== undefined) withdrawals.expireAt(own, seq, at);
  }
  for (const { topic, since } of snapshot.kept) topics.keptSince.set(topic, since);
  for (const { topic, count, bytes } of snapshot.held) topics.held.set(topic, { count, bytes });
  for (const lane of lanes.values()) core.enqueue(lane);
}
