import { waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QueueEngine, type QueueMetadata } from './fixtures/queue-engine.js';

const QUEUES = {
  plain: { concurrency: 1 },
  orders: { type: 'fifo', message_group_field: 'customer' },
  limited: { rate_limit: { max: 2, per_ms: 1_000 } },
  keyed: { rate_limit_per_key: { max: 1, per_ms: 1_000 } },
  field: { concurrency: 1, priority_field: 'urgent', max_priority: 9 },
};

describe('what an enqueue can say', () => {
  let engine: QueueEngine;
  let seen: unknown[];
  beforeEach(async () => {
    engine = await QueueEngine.start(QUEUES);
    seen = [];
  });
  afterEach(() => engine.stop());
  const serve = (id = 'f'): void => void engine.client.registerFunction(id, (data) => void seen.push(data));
  const put = (more: object): Promise<{ code: string; message: string }> =>
    engine.fault('iii::queue::enqueue', { queue: 'plain', function_id: 'f', data: 1, ...more });

  it('names the nearest field when one is unknown, and stores nothing', async () => {
    const fault = await put({ delay: 60_000 });
    expect(fault.code).toBe('deserialization_error');
    expect(fault.message).toContain('unknown field `delay`: did you mean `delay_ms`?');
    expect(await put({ functionId: 'f' })).toMatchObject({ code: 'deserialization_error' });
    expect(await engine.stats('plain')).toMatchObject({ waiting: 0, delayed: 0 });
  });

  it('refuses what does not fit, by the name of the field', async () => {
    const faults: [object, string][] = [
      [{ priority: 256 }, 'priority'],
      [{ delay_ms: -1 }, 'delay_ms'],
      [{ delay_ms: 1, run_at: 1 }, 'exclude each other'],
      [{ unique_ms: 1 }, '`unique_ms` needs `unique_key`'],
      [{ run_at: 'soon' }, 'run_at'],
      [{ backoff_list_ms: [] }, 'backoff_list_ms'],
      [{ group: 'g' }, "Queue 'plain' has no groups"],
      [{ queue: 'orders', group: 'g', priority: 1 }, "FIFO queue 'orders' refuses 'priority'"],
      [{ queue: 'orders', group: 'g', delay_ms: 1 }, "FIFO queue 'orders' refuses 'delay_ms'"],
      [{ queue: 'orders', group: 'g', run_at: 1 }, "FIFO queue 'orders' refuses 'run_at'"],
    ];
    for (const [more, message] of faults) expect((await put(more)).message).toContain(message);
  });

  it('delays a job, or runs it at a time of the wall clock, also one given as a date', async () => {
    serve();
    await engine.put('plain', 'f', 'delayed', { delay_ms: 90_000 });
    await engine.put('plain', 'f', 'at', { run_at: new Date(engine.clock.now() + 120_000).toISOString() });
    await engine.put('plain', 'f', 'past', { run_at: 5 });
    await waitFor(() => seen.length === 1);
    expect(await engine.stats('plain')).toMatchObject({ delayed: 2 });
    await engine.clock.advance(90_000);
    await waitFor(() => seen.length === 2);
    await engine.clock.advance(30_000);
    await waitFor(() => seen.length === 3);
    expect(seen).toEqual(['past', 'delayed', 'at']);
  });

  it('runs a job whose time has come when the wall clock is set forward', async () => {
    serve();
    await engine.put('plain', 'f', 'at', { run_at: engine.clock.now() + 3_600_000 });
    engine.clock.jump(3_600_000);
    await engine.clock.advance(60_000); // the wall clock is read again at least every minute
    await waitFor(() => seen.length === 1);
  });

  it('takes the same fields from the metadata of the enqueue action, and delivers the rest', async () => {
    const metadata: QueueMetadata[] = [];
    engine.client.registerFunction('f', (_data, meta) => void metadata.push(meta as QueueMetadata));
    await engine.action('plain', 'f', 1, { user: 7, queue: { delay_ms: 1_000 } });
    expect(await engine.stats('plain')).toMatchObject({ delayed: 1, waiting: 0 });
    await engine.clock.advance(1_000);
    await waitFor(() => metadata.length === 1);
    expect(Object.keys(metadata[0] ?? {})).toEqual(['user', 'queue']);
    // What is no set of options is the caller's own.
    await engine.action('plain', 'f', 1, { queue: { color: 'red' } });
    await waitFor(() => metadata.length === 2);
  });

  it('runs higher priorities first, named or read from the payload', async () => {
    const order = [
      ['plain', { p: 1 }, { priority: 1 }],
      ['plain', { p: 9 }, { priority: 9 }],
      ['field', { urgent: 1 }, {}],
      ['field', { urgent: 700 }, {}],
    ] as const;
    for (const [queue, data, options] of order) await engine.put(queue, 'f', data, options);
    serve();
    await waitFor(() => seen.length === 4);
    expect(seen.filter((data) => 'p' in (data as object))).toEqual([{ p: 9 }, { p: 1 }]);
    expect(seen.filter((data) => 'urgent' in (data as object))).toEqual([{ urgent: 700 }, { urgent: 1 }]);
  });

  it('answers the receipt of the job that has the unique key', async () => {
    const first = await engine.call('iii::queue::enqueue', {
      queue: 'plain',
      function_id: 'f',
      data: 1,
      unique_key: 'order-7',
    });
    const again = await engine.call('iii::queue::enqueue', {
      queue: 'plain',
      function_id: 'f',
      data: 2,
      unique_key: 'order-7',
    });
    expect(again).toEqual({ ...(first as object), deduplicated: true });
    serve();
    await engine.until('plain', { depth: 0 });
    expect(seen).toEqual([1]);
  });

  it('starts at most so many jobs in a time, per queue and per key', async () => {
    serve();
    for (let i = 0; i < 5; i++) await engine.put('limited', 'f', i);
    await waitFor(() => seen.length === 2);
    await engine.clock.advance(999);
    expect(seen).toEqual([0, 1]);
    await engine.clock.advance(1);
    await waitFor(() => seen.length === 4);
    await engine.clock.advance(1_000);
    await waitFor(() => seen.length === 5);
    for (const data of ['a1', 'a2', 'b1']) await engine.put('keyed', 'f', data, { rate_key: data[0] });
    await waitFor(() => seen.length === 7);
    expect(seen.slice(5)).toEqual(['a1', 'b1']);
    await engine.clock.advance(1_000);
    await waitFor(() => seen.at(-1) === 'a2');
  });

  it('waits as the list of backoffs says, and stops after as many deliveries as the job asks for', async () => {
    const at: number[] = [];
    const startedAt = engine.clock.now();
    engine.client.registerFunction('f', () => {
      at.push(engine.clock.now() - startedAt);
      throw new Error('no');
    });
    await engine.put('plain', 'f', 1, { max_retries: 4, backoff_list_ms: [10, 5_000] });
    for (const ms of [10, 5_000, 5_000]) {
      await engine.until('plain', { delayed: 1 });
      await engine.clock.advance(ms);
    }
    await engine.until('plain', { dlq_depth: 1 });
    expect(at).toEqual([0, 10, 5_010, 10_010]);
  });

  it('times out as the job asks, and drops it when its time is over', async () => {
    let runs = 0;
    engine.client.registerFunction('hangs', () => {
      runs++;
      return new Promise(() => undefined);
    });
    const timed = await engine.put('plain', 'hangs', 1, { timeout_ms: 2_000, max_retries: 1 });
    const expiring = await engine.put('plain', 'hangs', 2, { expires_in_ms: 1_000 });
    await waitFor(() => runs === 1);
    await engine.clock.advance(1_000);
    await engine.untilState(expiring, 'expired');
    await engine.clock.advance(1_000);
    await engine.untilState(timed, 'dead');
    expect(runs).toBe(1);
  });

  it('stores a batch as a whole, receipts in order', async () => {
    const jobs = Array.from({ length: 1_000 }, (_, i) => ({ queue: 'plain', function_id: 'f', data: i }));
    const { receipts } = await engine.call<{ receipts: string[] }>('iii::queue::enqueue_batch', { jobs });
    expect(new Set(receipts).size).toBe(1_000);
    expect(await engine.job(receipts[999] ?? '')).toMatchObject({ state: 'waiting', queue: 'plain' });
    const metadata: QueueMetadata[] = [];
    engine.client.registerFunction('f', (data, meta) => {
      seen.push(data);
      metadata.push(meta as QueueMetadata);
    });
    await waitFor(() => seen.length === 1_000, { timeoutMs: 15_000 });
    expect(seen).toEqual(jobs.map(({ data }) => data));
    expect(metadata.map(({ queue }) => queue.receipt)).toEqual(receipts);
  });

  it('stores nothing of a batch with one bad job, or too many', async () => {
    const batch = (...more: object[]): Promise<{ code: string; message: string }> =>
      engine.fault('iii::queue::enqueue_batch', {
        jobs: [{}, ...more].map((each) => ({ queue: 'plain', function_id: 'f', data: 1, ...each })),
      });
    expect((await batch({ queue: 'nope' })).message).toContain("Queue 'nope' not found");
    expect((await batch({ prioriti: 1 })).message).toContain(
      '(jobs.1): unknown field `prioriti`: did you mean `priority`?',
    );
    expect((await batch(...Array.from({ length: 1_000 }, () => ({})))).message).toContain('at most 1000');
    expect((await engine.fault('iii::queue::enqueue_batch', { jobs: [] })).message).toContain('empty');
    expect(await engine.stats('plain')).toMatchObject({ waiting: 0 });
    const { receipts, deduplicated } = await engine.call<{ receipts: string[]; deduplicated: number[] }>(
      'iii::queue::enqueue_batch',
      { jobs: [1, 2, 3].map((data) => ({ queue: 'plain', function_id: 'f', data: `],"${data}`, unique_key: 'k' })) },
    );
    expect(deduplicated).toEqual([1, 2]);
    expect(new Set(receipts).size).toBe(1);
  });
});
