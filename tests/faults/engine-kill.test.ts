import { expect, test } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { STACK_TRACE_LINE } from '../support/stack-trace.js';
import { WholeLoad } from './kill/whole-load.js';
import { reportRun, sizeOf } from './report.js';

const KILLS = sizeOf('TRINE_KILLS', 20);

test(
  `faults - the engine is killed ${KILLS} times under load: nothing acknowledged is lost, nothing appears from nowhere`,
  { timeout: 120_000 + KILLS * 10_000 },
  async () => {
    const seed = testSeed('engine kills');
    const load = await WholeLoad.start(new SeededRandom(seed));
    try {
      for (let kill = 1; kill <= KILLS; kill++) {
        await load.underWay();
        await load.kill();
        await load.back();
        expect(load.auditor.faults, `after kill ${kill}`).toEqual([]);
      }
      await load.finish();
      expect(load.auditor.faults).toEqual([]);
      // A run in which no job was cut off in its handler would have shown nothing.
      expect(load.queue.redelivered).toBeGreaterThan(0);
      expect(load.engine?.output).not.toMatch(STACK_TRACE_LINE);
      reportRun({
        test: 'engine killed under load (F1)',
        seed,
        counts: { kills: KILLS, ...named(load.counts), 'jobs cut off in their handler': load.queue.redelivered },
      });
    } finally {
      await load.stop();
    }
  },
);

function named(counts: WholeLoad['counts']): Record<string, number> {
  return {
    'acknowledged jobs': counts.jobs,
    'ordered jobs': counts.orderedJobs,
    'durable publishes': counts.publishes,
    'state writes': counts.stateWrites,
    'stream writes': counts.streamWrites,
  };
}
