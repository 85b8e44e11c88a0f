/** An order that the simulation found broken. */
import { waitFor } from '@trine/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { QueueEngine } from './fixtures/queue-engine.js';

let engine: QueueEngine;
afterEach(() => engine.stop());

describe('the order of a group', () => {
  it('holds whatever the rate keys of its jobs are', async () => {
    engine = await QueueEngine.start({ q: { type: 'fifo', message_group_field: 'g', concurrency: 10 } });
    const keys = ['a', undefined, 'b', 'a', undefined];
    await engine.call('iii::queue::enqueue_batch', {
      jobs: keys.map((key, n) => ({
        queue: 'q',
        function_id: 'work',
        data: { g: 1, n },
        ...(key === undefined ? {} : { rate_key: key }),
      })),
    });
    const seen: number[] = [];
    let running = 0;
    engine.client.registerFunction('work', async ({ n }: { n: number }) => {
      expect(++running).toBe(1);
      seen.push(n);
      await new Promise((go) => setImmediate(go));
      running--;
    });
    await waitFor(() => seen.length === keys.length);
    expect(seen).toEqual([0, 1, 2, 3, 4]);
  });

  it('has a job wait for the rate of its key, and those behind it with it', async () => {
    engine = await QueueEngine.start({
      q: { type: 'fifo', message_group_field: 'g', rate_limit_per_key: { max: 1, per_ms: 1_000 } },
    });
    const seen: number[] = [];
    engine.client.registerFunction('work', ({ n }: { n: number }) => void seen.push(n));
    for (const [n, key] of ['a', 'a', 'b'].entries()) await engine.put('q', 'work', { g: 1, n }, { rate_key: key });
    await waitFor(() => seen.length === 1);
    await engine.clock.advance(999);
    expect(seen).toEqual([0]);
    await engine.clock.advance(1);
    await waitFor(() => seen.length === 3);
    expect(seen).toEqual([0, 1, 2]);
  });
});
