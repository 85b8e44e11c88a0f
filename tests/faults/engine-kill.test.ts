import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, waitFor } from '@trine/testing';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { ReconnectingClient } from '../support/reconnecting-client.js';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { QueueLoad, queueConfigs } from './kill/queue-load.js';
import { StateLoad } from './kill/state-load.js';
import { pause, type Timeline } from './kill/timeline.js';
import { TopicLoad } from './kill/topic-load.js';

/** `pnpm test:faults --kills 100` sets it. */
const KILLS = Number(process.env['TRINE_KILLS'] ?? 10);
/** A kill comes this long after the load has shown effect in all parts, in milliseconds. */
const MAX_DELAY_MS = 250;
/** Acknowledged operations of each kind that a round waits for before it kills. */
const PER_ROUND = 40;
const DRAIN_DEADLINE_MS = 60_000;
const ROUND_DEADLINE_MS = 30_000;

test(
  `faults - the engine is killed ${KILLS} times under load: nothing acknowledged is lost, nothing appears from nowhere`,
  { timeout: 120_000 + KILLS * 10_000 },
  async () => {
    const random = new SeededRandom(testSeed('kills'));
    const folder = await tempFolder('trine-kill-');
    const port = await freePort();
    await writeFile(join(folder.path, 'config.yaml'), stringify(configuration(port)));
    const timeline: Timeline = { incarnation: 1, producing: true };
    const [producer, worker, sometimes, reader] = Array.from(
      { length: 4 },
      () => new ReconnectingClient(`ws://127.0.0.1:${port}`),
    ) as Clients;
    const queue = new QueueLoad({ producer, worker, random, timeline });
    const topic = new TopicLoad({ publisher: producer, worker, sometimes, random, timeline });
    const state = new StateLoad(producer, random, timeline);
    const start = (): Promise<EngineProcess> => EngineProcess.start({ cwd: folder.path, port });
    let engine = await start();
    try {
      for (const client of [producer, worker, sometimes, reader]) client.start();
      await reader.connected();
      await topic.subscribed(reader);
      const loads = Promise.all([queue.run(), topic.run(), state.run()]);
      const counts = (): number[] => [
        queue.standard.acknowledged,
        queue.ordered.acknowledged,
        topic.acknowledged,
        state.acknowledged,
      ];
      for (let kill = 1; kill <= KILLS; kill++) {
        const before = counts();
        await waitFor(() => counts().every((count, i) => count - (before[i] as number) >= PER_ROUND), {
          timeoutMs: ROUND_DEADLINE_MS,
          what: `round ${kill} to acknowledge ${PER_ROUND} operations of each kind (${counts().join()} after ${before.join()})`,
        });
        await pause(random.between(0, MAX_DELAY_MS));
        // Killed with jobs waiting and jobs in their handlers.
        await waitFor(
          () =>
            queue.standard.running > 0 &&
            queue.ordered.running > 0 &&
            queue.standard.unfinished > queue.standard.running,
          {
            everyMs: 1,
            what: 'jobs that wait and jobs that run',
          },
        );
        await engine.kill();
        timeline.incarnation++;
        if (random.chance(0.5)) sometimes.stop();
        else sometimes.start();
        engine = await start();
        await producer.connected();
        expect(await state.check(), `state after kill ${kill}`).toEqual([]);
      }
      timeline.producing = false;
      await loads;
      sometimes.start();
      await reader.connected();
      expect(await state.check(), 'state').toEqual([]);
      expect(await queue.audit(reader, DRAIN_DEADLINE_MS), 'queue').toEqual([]);
      expect(await topic.audit(reader, DRAIN_DEADLINE_MS), 'durable topic').toEqual([]);
      const { standard, ordered } = queue;
      console.log(
        `kills: ${KILLS}; acknowledged: ${standard.acknowledged} jobs, ${ordered.acknowledged} ordered jobs, ${topic.acknowledged} publishes, ` +
          `${state.acknowledged} state writes; redelivered: ${standard.redelivered + ordered.redelivered}`,
      );
      // A run in which no job was cut off in its handler would have shown nothing.
      expect(standard.redelivered + ordered.redelivered).toBeGreaterThan(0);
      expect(engine.output).not.toMatch(/^\s+at .+:\d+:\d+\)?$/m);
    } finally {
      timeline.producing = false;
      for (const client of [producer, worker, sometimes, reader]) client.stop();
      await engine.kill();
      await folder.remove();
    }
  },
);

type Clients = [ReconnectingClient, ReconnectingClient, ReconnectingClient, ReconnectingClient];

function configuration(port: number): unknown {
  return {
    workers: [
      { name: 'iii-worker-manager', config: { port } },
      { name: 'iii-observability', config: { level: 'warn' } },
      { name: 'iii-queue', config: { queue_configs: queueConfigs } },
      { name: 'iii-state' },
    ],
  };
}
