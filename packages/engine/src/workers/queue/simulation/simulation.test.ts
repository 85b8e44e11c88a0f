/**
 * The queue under a seeded scheduler: 10,000 seeds or a minute, whichever comes first. A seed that fails
 * is told and can be repeated alone: `TRINE_SEED=17 pnpm test:simulation`.
 */
import { describe, expect, it } from 'vitest';
import { PLANTED_BUGS } from './planted-bugs.js';
import { simulateInShards } from './shards.js';
import { simulate } from './simulate.js';

const SEEDS = 10_000;
const SECONDS = 60;
/** Fewer would be no test: the machine is too slow, or something is. */
const MIN_SEEDS = 2_000;
/** Seeds within which each planted bug is found. */
const BUG_SEEDS = 1_000;

describe('the simulated queue', () => {
  it.each(PLANTED_BUGS)('finds $what', { timeout: 60_000 }, async ({ found, sabotage, plant }) => {
    const undo = plant?.();
    try {
      const report = await simulate({
        seeds: BUG_SEEDS,
        seconds: Infinity,
        maxFailures: 1,
        ...(sabotage === undefined ? {} : { sabotage }),
      });
      expect(report.failures.map(({ error }) => error.message).join('; ')).toMatch(found);
    } finally {
      undo?.();
    }
  });

  it('keeps its promises whatever happens when', { timeout: (SECONDS + 60) * 1_000 }, async () => {
    const { ran, isSound, text } = await simulateInShards({ processes: 2, seeds: SEEDS, seconds: SECONDS });
    process.stdout.write(`${text}\nsimulation: ${ran} seeds in all\n`);
    expect(isSound, text).toBe(true);
    expect(ran).toBeGreaterThanOrEqual(MIN_SEEDS);
  });
});
