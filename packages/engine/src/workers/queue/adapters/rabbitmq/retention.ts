/** Subscriptions whose workers do not come back. */
import type { RabbitCore } from './core.js';
import type { RabbitLine } from './line.js';
import { levelsIn } from './names.js';
import { keyOf } from './registry.js';

/**
 * Ends subscriptions that nobody on any engine has consumed for the retention, and removes ended ones with their
 * backlog after the same time; one with dead letters stays.
 */
export async function sweepSubscriptions(core: RabbitCore, end: (line: RabbitLine) => Promise<void>): Promise<void> {
  const now = core.host.clock.now();
  for (const line of [...core.lines.values()]) {
    if (line.kind !== 'subscription') continue;
    const { subscriptionRetentionMs } = core.events.topicRules(line.name);
    const { offlineSince } = line;
    if (line.endedAt === undefined && offlineSince !== undefined && now - offlineSince >= subscriptionRetentionMs) {
      await end(line);
      if (line.endedAt !== undefined) {
        core.host.log.warn('a subscription ended: its worker was away for too long', {
          topic: line.name,
          function: line.functionId,
        });
      }
    }
    if (line.endedAt !== undefined && now - line.endedAt >= subscriptionRetentionMs) await remove(core, line);
  }
}

async function remove(core: RabbitCore, line: RabbitLine): Promise<void> {
  const { names } = line;
  const [jobs, dead] = await core.topology.counts([names.queue, names.dead]);
  if ((jobs?.consumers ?? 0) > 0) return;
  const levels = [
    ...levelsIn(line.delays).map((level) => names.delay(level)),
    ...levelsIn(line.absents).map((level) => names.absent(level)),
  ];
  let dropped = 0;
  for (const queue of [...levels, names.queue]) dropped += await core.topology.remove(queue);
  if (dropped > 0) {
    core.host.log.warn('the backlog of an ended subscription was dropped', {
      topic: line.name,
      function: line.functionId,
      dropped,
    });
  }
  line.delays = line.absents = 0;
  if ((dead?.messages ?? 0) > 0) return;
  await core.topology.remove(names.dead);
  await core.registry.update(line, () => undefined);
  core.lines.delete(keyOf(line));
}
