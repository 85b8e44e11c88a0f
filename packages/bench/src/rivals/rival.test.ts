import { expect, it } from 'vitest';
import { measureRival, type Rival } from './rival.js';
import { rivalsTable } from './index.js';

/** A queue in memory that may lose or double a job. */
function inMemory(lost: number, doubled = 0): Rival {
  return {
    name: 'memory',
    versions: 'memory 1',
    guarantee: 'nothing',
    open: () => {
      let jobs = 0;
      return Promise.resolve({
        enqueue: async () => {
          await new Promise((go) => setImmediate(go));
          jobs++;
        },
        work: (ended: () => void) => {
          for (let i = 0; i < jobs - lost + doubled; i++) ended();
          return Promise.resolve();
        },
        close: () => Promise.resolve(),
      });
    },
  };
}

it('counts what was acknowledged and what was run', async () => {
  const result = await measureRival(inMemory(0), 0.05, 'x');
  expect(result.jobs).toBeGreaterThan(256);
  expect(result.enqueueRate).toBeGreaterThan(0);
  const table = rivalsTable({
    results: [result, { ...result, name: 'half', enqueueRate: result.enqueueRate / 2 }],
    missing: ['x: y'],
  });
  expect(table).toMatch(/\| half \| memory 1 \| [\d,]+\/s \| 0\.50 \|/);
  expect(table).toContain('Not measured: x: y.');
});

it('refuses a run in which a job ran twice', async () => {
  await expect(measureRival(inMemory(0, 1), 0.02, 'x')).rejects.toThrow(/jobs were enqueued and \d+ ended/);
});
