import { waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QueueEngine, type QueueMetadata } from './fixtures/queue-engine.js';

const QUEUES = { q: { concurrency: 1, max_retries: 3 }, kept: { keep_ended_ms: 60_000, keep_ended_count: 10 } };

describe('what can be done about jobs', () => {
  let engine: QueueEngine;
  beforeEach(async () => void (engine = await QueueEngine.start(QUEUES)));
  afterEach(() => engine.stop());

  it('tells what became of a receipt, also of one the client chose', async () => {
    let broken = true;
    engine.client.registerFunction('f', () => {
      if (broken) throw new Error('not yet');
    });
    const enqueuedAt = engine.clock.now();
    const receipt = await engine.action('q', 'f', 1);
    await engine.untilState(receipt, 'delayed');
    expect(await engine.job(receipt)).toMatchObject({
      queue: 'q',
      function_id: 'f',
      failed_attempts: 1,
      errors: [{ at_ms: enqueuedAt, error: 'not yet' }],
      enqueued_at_ms: enqueuedAt,
      due_at_ms: enqueuedAt + 1_000,
    });
    broken = false;
    await engine.clock.advance(1_000);
    await engine.untilState(receipt, 'done');
    expect(await engine.job(receipt)).toMatchObject({ started_at_ms: enqueuedAt + 1_000, failed_attempts: 1 });
    expect(await engine.job('unknown')).toEqual({ receipt: 'unknown', state: 'unknown' });
    const chosen = await engine.put('q', 'absent', 1, { messageReceiptId: 'order-7' });
    expect(chosen).toBe('order-7');
    await engine.restart(QUEUES);
    expect((await engine.job('order-7')).state).toBe('waiting');
    expect((await engine.job(receipt)).state).toBe('unknown');
  });

  it('keeps ended jobs on record where a queue asks for it', async () => {
    engine.client.registerFunction('f', () => undefined);
    const receipt = await engine.put('kept', 'f', 1);
    await engine.untilState(receipt, 'done');
    await engine.restart(QUEUES);
    expect(await engine.job(receipt)).toMatchObject({ state: 'done', queue: 'kept', function_id: 'f' });
  });

  it('takes a waiting job back, and says why it cannot', async () => {
    let release!: () => void;
    engine.client.registerFunction('f', () => new Promise<void>((go) => (release = go)));
    const running = await engine.put('q', 'f', 1);
    const waiting = await engine.put('q', 'f', 2);
    await engine.untilState(running, 'running');
    expect(await engine.call('iii::queue::cancel', { receipt: waiting })).toEqual({
      receipt: waiting,
      cancelled: true,
      state: 'cancelled',
    });
    expect(await engine.call('iii::queue::cancel', { receipt: running })).toMatchObject({
      cancelled: false,
      state: 'running',
    });
    expect(await engine.call('iii::queue::cancel', { receipt: 'x' })).toMatchObject({ state: 'unknown' });
    release();
    await engine.until('q', { depth: 0 });
    expect((await engine.job(waiting)).state).toBe('cancelled');
  });

  it('pauses over a restart; what is enqueued meanwhile waits', async () => {
    expect(await engine.call('iii::queue::pause', { queue: 'q' })).toEqual({ queue: 'q', paused: true });
    await engine.restart(QUEUES);
    const seen: unknown[] = [];
    engine.client.registerFunction('f', (data) => void seen.push(data));
    await engine.put('q', 'f', 1);
    expect(await engine.stats('q')).toMatchObject({ waiting: 1, paused: true });
    expect(seen).toEqual([]);
    await engine.call('iii::queue::resume', { topic: 'q' });
    await waitFor(() => seen.length === 1);
    expect(await engine.stats('q')).not.toHaveProperty('paused');
    expect((await engine.fault('iii::queue::pause', { queue: 'nope' })).code).toBe('queue_not_found');
  });

  it('purges what waits, is delayed or dead, and shows what is next', async () => {
    engine.client.registerFunction('fails', () => {
      throw new Error('no');
    });
    await engine.put('q', 'fails', 'dead', { max_retries: 1 });
    await engine.until('q', { dlq_depth: 1 });
    const receipts: string[] = [];
    for (let i = 0; i < 3; i++) receipts.push(await engine.put('q', 'absent', { price: i }, { priority: i }));
    await engine.put('q', 'absent', 'delayed', { delay_ms: 1_000 });
    const { jobs } = await engine.call<{ jobs: { receipt: string; data: unknown; priority: number }[] }>(
      'iii::queue::peek',
      { queue: 'q', limit: 2 },
    );
    expect(jobs).toMatchObject([
      { receipt: receipts[2], data: { price: 2 }, priority: 2 },
      { receipt: receipts[1], data: { price: 1 } },
    ]);
    const purge = (what: string): Promise<unknown> => engine.call('iii::queue::purge', { queue: 'q', what });
    expect(await purge('waiting')).toEqual({ queue: 'q', what: 'waiting', purged: 3 });
    expect(await purge('delayed')).toMatchObject({ purged: 1 });
    expect(await purge('dead')).toMatchObject({ purged: 1 });
    expect(await engine.stats('q')).toMatchObject({ waiting: 0, delayed: 0, dlq_depth: 0 });
    expect((await engine.job(receipts[0] ?? '')).state).toBe('purged');
  });

  it('gives a handler that says it is alive more time', async () => {
    await engine.configure({ q: { timeout_ms: 5_000, max_retries: 1 } });
    let receipt = '';
    let release!: () => void;
    engine.client.registerFunction('long', async (_data, meta) => {
      ({ receipt } = (meta as QueueMetadata).queue);
      await new Promise<void>((go) => (release = go));
    });
    await engine.put('q', 'long', 1);
    await waitFor(() => receipt !== '');
    for (let i = 0; i < 3; i++) {
      await engine.clock.advance(4_000);
      expect(await engine.call('iii::queue::heartbeat', { receipt })).toEqual({ receipt, timeout_ms: 5_000 });
    }
    release();
    await engine.untilState(receipt, 'done');
    expect((await engine.fault('iii::queue::heartbeat', { receipt })).code).toBe('job_not_running');
  });

  it('lets a handler reject its job for good, or until later', async () => {
    const states: unknown[] = [];
    engine.client.registerFunction('judge', async (data, meta) => {
      const { receipt } = (meta as QueueMetadata).queue;
      states.push(await engine.call('iii::queue::reject', { receipt, ...(data as object) }));
      throw new Error('its answer is ignored');
    });
    const dead = await engine.put('q', 'judge', { dead_letter: true, error: 'bad address', error_code: 'bad_address' });
    await engine.untilState(dead, 'dead');
    expect((await engine.dead('q'))[0]).toMatchObject({ error: 'bad address', error_code: 'bad_address', retries: 1 });
    const later = await engine.put('q', 'judge', { retry_in_ms: 7_000 });
    await engine.untilState(later, 'delayed');
    expect(await engine.job(later)).toMatchObject({ failed_attempts: 1 });
    await engine.clock.advance(6_999);
    expect(states).toHaveLength(2);
    await engine.clock.advance(1);
    await waitFor(() => states.length === 3);
    expect(states.map((state) => (state as { state: string }).state)).toEqual(['dead', 'delayed', 'delayed']);
    expect((await engine.fault('iii::queue::reject', { receipt: dead })).code).toBe('deserialization_error');
    expect((await engine.fault('iii::queue::reject', { receipt: dead, dead_letter: true })).code).toBe(
      'job_not_running',
    );
  });

  it('does not retry an error that a pattern of the queue names', async () => {
    await engine.configure({ q: { max_retries: 5, no_retry_on: ['*404*', 'payment_*'] } });
    engine.client.registerFunction('f', (message) => {
      throw new Error(message as string);
    });
    const final = await engine.put('q', 'f', 'status 404 (gone)');
    const retried = await engine.put('q', 'f', 'status 500');
    await engine.untilState(final, 'dead');
    await engine.untilState(retried, 'delayed');
  });
});
