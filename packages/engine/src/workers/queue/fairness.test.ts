import { RawWorker, waitFor } from '@trine/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { QueueEngine, type QueueMetadata } from './fixtures/queue-engine.js';

/** Jobs of an absent function: enough for many windows and pages, few enough for every run. */
const BACKLOG = 20_000;
/** A delay that a person would notice, with room for a slow machine: the promise is 50 ms. */
const NOTICED_MS = 500;

describe('lanes', () => {
  let engine: QueueEngine;
  afterEach(() => engine.stop());

  it('do not hold up one job of another function behind a large backlog of an absent one', async () => {
    engine = await QueueEngine.start();
    for (let i = 0; i < BACKLOG; i += 1_000) {
      const jobs = Array.from({ length: 1_000 }, () => ({
        queue: 'default',
        function_id: 'absent',
        data: 'x'.repeat(100),
      }));
      await engine.call('iii::queue::enqueue_batch', { jobs });
    }
    let ran = 0;
    engine.client.registerFunction('here', () => void ran++);
    const waits: number[] = [];
    for (let i = 0; i < 20; i++) {
      const started = performance.now();
      await engine.put('default', 'here', i);
      await waitFor(() => ran > i, { everyMs: 1 });
      waits.push(performance.now() - started);
    }
    expect(Math.min(...waits)).toBeLessThan(50);
    expect(waits.sort((a, b) => a - b)[10]).toBeLessThan(NOTICED_MS);
    expect(await engine.stats('default')).toMatchObject({ waiting: BACKLOG, waiting_for_function: BACKLOG });
    await engine.restart();
    engine.client.registerFunction('here', () => void ran++);
    await engine.put('default', 'here', 'after');
    await waitFor(() => ran === 21);
  });

  it('take turns: a function with a long backlog does not starve one with a short one', async () => {
    engine = await QueueEngine.start({ q: { concurrency: 1 } });
    await engine.call('iii::queue::pause', { queue: 'q' });
    for (let i = 0; i < 200; i++) await engine.put('q', 'long', i);
    for (let i = 0; i < 3; i++) await engine.put('q', 'short', i);
    const order: string[] = [];
    for (const id of ['long', 'short']) engine.client.registerFunction(id, () => void order.push(id));
    await engine.call('iii::queue::resume', { queue: 'q' });
    await waitFor(() => order.length === 203);
    expect(order.lastIndexOf('short')).toBeLessThan(10);
  });

  it('become one group when their queue becomes fifo: stored, running and delayed jobs keep their order', async () => {
    const standard = { q: { concurrency: 2, max_retries: 3, backoff_ms: 1_000 } };
    const fifo = { q: { ...standard.q, concurrency: 4, type: 'fifo', message_group_field: 'g' } };
    engine = await QueueEngine.start(standard);
    const starts: string[] = [];
    const release: (() => void)[] = [];
    let running = 0;
    let most = 0;
    for (const id of ['a', 'b']) {
      engine.client.registerFunction(id, async (data: { n: number }, meta) => {
        starts.push(`${id}${data.n}`);
        most = Math.max(most, ++running);
        try {
          if (data.n === 0) await new Promise<void>((go) => release.push(go));
          if (data.n === 0 && id === 'a' && (meta as QueueMetadata).queue.attempt === 1) throw new Error('once');
        } finally {
          running--;
        }
      });
    }
    for (let n = 0; n < 300; n++) for (const id of ['a', 'b']) await engine.put('q', id, { n });
    await waitFor(() => release.length === 2);
    await engine.configure(fifo);
    expect(starts).toEqual(['a0', 'b0']);
    most = 0;
    for (const go of release.splice(0)) go();
    await engine.until('q', { delayed: 1, running: 0 });
    expect(starts).toEqual(['a0', 'b0']); // the group waits for its failed head
    await engine.put('q', 'a', { n: 1_000, g: 'other' });
    await waitFor(() => starts.at(-1) === 'a1000'); // another group does not
    await engine.clock.advance(1_000);
    await waitFor(() => release.length === 1);
    release[0]?.();
    await engine.until('q', { depth: 0, delayed: 0 });
    const expected = Array.from({ length: 299 }, (_, i) => [`a${i + 1}`, `b${i + 1}`]).flat();
    expect(starts).toEqual(['a0', 'b0', 'a1000', 'a0', ...expected]);
    expect(most).toBe(1);
  });

  it('gather after a restart, too', async () => {
    engine = await QueueEngine.start({ q: {} });
    for (let n = 0; n < 50; n++) for (const id of ['a', 'b']) await engine.put('q', id, { n });
    await engine.restart({ q: { type: 'fifo', message_group_field: 'g' } });
    const starts: string[] = [];
    engine.client.registerFunction('b', (data: { n: number }) => void starts.push(`b${data.n}`));
    await engine.call('engine::queue::list_topics', {});
    expect(starts).toEqual([]); // a0 is the head, and its function is absent
    engine.client.registerFunction('a', (data: { n: number }) => void starts.push(`a${data.n}`));
    await engine.until('q', { depth: 0 });
    expect(starts).toEqual(Array.from({ length: 50 }, (_, i) => [`a${i}`, `b${i}`]).flat());
  });

  it('share a global bound of running jobs', async () => {
    engine = await QueueEngine.start({ q: { concurrency: 10, global_concurrency: 2 } });
    const release: (() => void)[] = [];
    engine.client.registerFunction('f', () => new Promise<void>((go) => release.push(go)));
    for (let i = 0; i < 4; i++) await engine.put('q', 'f', i);
    await waitFor(() => release.length === 2);
    expect(await engine.stats('q')).toMatchObject({ running: 2, waiting: 2 });
    release.shift()?.();
    await waitFor(() => release.length === 2);
    for (const go of release.splice(0)) go();
    await waitFor(() => release.length === 1);
    release[0]?.();
    await engine.until('q', { depth: 0 });
  });

  it('give jobs to all workers of a name, or to the newest alone', async () => {
    engine = await QueueEngine.start({ shared: {}, newest: { consumers: 'newest' } });
    const counts = [0, 0];
    const release: (() => void)[] = [];
    const workers: RawWorker[] = [];
    for (const i of counts.keys()) {
      const worker = await RawWorker.connect(engine.engine.url);
      workers.push(worker);
      worker.describe({ name: 'w' });
      worker.serve('f', () => {
        counts[i] = (counts[i] as number) + 1;
        return new Promise<void>((go) => release.push(go));
      });
      await worker.call('engine::queue::list_topics', {});
    }
    for (let i = 0; i < 4; i++) await engine.put('shared', 'f', i);
    await waitFor(() => release.length === 4);
    expect(counts).toEqual([2, 2]);
    for (let i = 0; i < 4; i++) await engine.put('newest', 'f', i);
    await waitFor(() => release.length === 8);
    expect(counts).toEqual([2, 6]);
    for (const go of release) go();
    await engine.until('newest', { depth: 0 });
    for (const worker of workers) worker.drop();
  });
});
