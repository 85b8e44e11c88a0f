import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { STACK_TRACE_LINE } from '../support/stack-trace.js';
import { WholeLoad } from './kill/whole-load.js';
import { reportRun, sizeOf } from './report.js';

const STOPS = sizeOf('TRINE_STOPS', 4);
/** What a stop may take, in milliseconds: the wait for what runs, and then the end. */
const DEADLINE_MS = 25_000;

test(
  `faults - SIGTERM ${STOPS} times under load: exit 0 in time, the port is free, nothing is lost and nothing runs twice`,
  { timeout: 120_000 + STOPS * 40_000 },
  async () => {
    const seed = testSeed('engine stops');
    const load = await WholeLoad.start(new SeededRandom(seed));
    let longestMs = 0;
    try {
      for (let stop = 1; stop <= STOPS; stop++) {
        await load.underWay();
        const began = performance.now();
        expect(await load.engine?.stop()).toEqual({ code: 0, signal: null });
        longestMs = Math.max(longestMs, performance.now() - began);
        expect(await refuses(load.port)).toBe(true);
        expect(load.engine?.output).not.toMatch(/cut off|does not stop cleanly/);
        expect(load.engine?.output).not.toMatch(STACK_TRACE_LINE);
        await load.back();
        // The log counts every answer as heard: what ran and is delivered again would be a fault.
        expect(load.auditor.faults, `after stop ${stop}`).toEqual([]);
      }
      await load.finish();
      expect(load.auditor.faults).toEqual([]);
      expect(longestMs).toBeLessThan(DEADLINE_MS);
      const { jobs, orderedJobs, publishes, stateWrites, streamWrites } = load.counts;
      reportRun({
        test: 'SIGTERM under load (F16)',
        seed,
        counts: {
          stops: STOPS,
          'acknowledged operations': jobs + orderedJobs + publishes + stateWrites + streamWrites,
          'ms at most until exit 0': Math.round(longestMs),
        },
      });
    } finally {
      await load.stop();
    }
  },
);

/** Does nothing listen there? */
function refuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(false)).once('error', () => resolve(true));
    socket.once('connect', () => socket.destroy());
  });
}
