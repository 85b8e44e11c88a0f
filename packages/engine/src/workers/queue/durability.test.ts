/** What `durability` promises for queues and topics. What a power cut takes is shown by the simulation. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '@trine/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { QueueEngine } from './fixtures/queue-engine.js';

let engine: QueueEngine;
afterEach(() => engine.stop());

const MEMORY = { fast: { durability: 'memory', max_retries: 1 } };

describe('durability: memory', () => {
  it('runs jobs and keeps dead letters until the engine stops, then they are gone', async () => {
    engine = await QueueEngine.start({ ...MEMORY, safe: {} });
    const ran: unknown[] = [];
    engine.client.registerFunction('work', (data: unknown) => void ran.push(data));
    engine.client.registerFunction('fail', () => {
      throw new Error('on purpose');
    });
    const done = await engine.put('fast', 'work', { n: 1 });
    await engine.untilState(done, 'done');
    expect(ran).toEqual([{ n: 1 }]);
    const dead = await engine.put('fast', 'fail', { n: 2 });
    await engine.untilState(dead, 'dead');
    expect(await engine.dead('fast')).toMatchObject([{ message_receipt_id: dead, error: 'on purpose' }]);
    const waiting = await engine.put('fast', 'absent', { n: 3 });
    const safe = await engine.put('safe', 'absent', { n: 4 });
    expect(await engine.stats('fast')).toMatchObject({ waiting: 1, dlq_depth: 1 });

    await engine.restart({ ...MEMORY, safe: {} });
    expect(await engine.stats('fast')).toMatchObject({ waiting: 0, dlq_depth: 0 });
    expect(await engine.job(waiting)).toMatchObject({ state: 'unknown' });
    expect(await engine.job(safe)).toMatchObject({ state: 'waiting', queue: 'safe' });
  });

  it('answers `queue_full` when as many wait as may, and takes more when some have run', async () => {
    engine = await QueueEngine.start({ fast: { durability: 'memory', max_waiting: 2 } });
    await engine.put('fast', 'work', 1);
    await engine.put('fast', 'work', 2);
    const request = { queue: 'fast', function_id: 'work', data: 3 };
    expect(await engine.fault('iii::queue::enqueue', request)).toMatchObject({ code: 'queue_full' });
    expect(await engine.fault('iii::queue::enqueue_batch', { jobs: [request] })).toMatchObject({ code: 'queue_full' });
    engine.client.registerFunction('work', () => undefined);
    await engine.until('fast', { depth: 0 });
    await engine.put('fast', 'work', 3);
  });

  it('refuses a batch that is half on disk and half in memory: it could not be one transaction', async () => {
    engine = await QueueEngine.start({ ...MEMORY, safe: {} });
    const jobs = ['fast', 'safe'].map((queue) => ({ queue, function_id: 'work', data: 1 }));
    expect(await engine.fault('iii::queue::enqueue_batch', { jobs })).toMatchObject({ code: 'enqueue_error' });
    expect(await engine.stats('safe')).toMatchObject({ depth: 0 });
    expect(await engine.stats('fast')).toMatchObject({ depth: 0 });
  });

  it('does not forget jobs by a live change of the durability', async () => {
    engine = await QueueEngine.start(MEMORY);
    const receipt = await engine.put('fast', 'work', 1);
    await expect(engine.configure({ fast: { durability: 'full' } })).rejects.toThrow(/in memory/);
    expect(await engine.job(receipt)).toMatchObject({ state: 'waiting' });
    engine.client.registerFunction('work', () => undefined);
    await engine.until('fast', { depth: 0 });
    await engine.configure({ fast: { durability: 'full' } });
    await engine.put('fast', 'absent', 2);
    await engine.restart({ fast: { durability: 'full' } });
    expect(await engine.stats('fast')).toMatchObject({ waiting: 1 });
  });

  it('delivers the messages of a topic, and holds them for its first subscription', async () => {
    engine = await QueueEngine.start({}, { topic_configs: { news: { durability: 'memory' } } });
    await engine.call('iii::durable::publish', { topic: 'news', data: 1 });
    expect(await engine.stats('news')).toMatchObject({ held: 1 });
    const seen: unknown[] = [];
    engine.client.registerFunction('reader', (data: unknown) => void seen.push(data));
    engine.client.registerTrigger({ type: 'durable:subscriber', function_id: 'reader', config: { topic: 'news' } });
    await waitFor(() => seen.length === 1);
    await engine.call('iii::durable::publish', { topic: 'news', data: 2 });
    await waitFor(() => seen.length === 2);
    expect(seen).toEqual([1, 2]);
  });
});

describe('durability: normal', () => {
  it('survives a stop, and does not wait for the disk', async () => {
    const queues = { quick: { durability: 'normal' }, safe: {} };
    engine = await QueueEngine.start(queues);
    // The mark says that commits were made which were not synced one by one.
    const mark = join(engine.folder.path, 'data', 'engine.db-relaxed');
    await engine.put('safe', 'absent', 1);
    expect(existsSync(mark)).toBe(false);
    const receipt = await engine.put('quick', 'absent', 2);
    expect(existsSync(mark)).toBe(true);
    await engine.restart(queues);
    expect(await engine.job(receipt)).toMatchObject({ state: 'waiting', queue: 'quick' });
  });

  it('is changed live', async () => {
    engine = await QueueEngine.start({ quick: {} });
    await engine.put('quick', 'work', 1);
    await engine.configure({ quick: { durability: 'normal' } });
    await engine.put('quick', 'work', 2);
    await engine.configure({ quick: {} });
    engine.client.registerFunction('work', () => undefined);
    await engine.until('quick', { depth: 0 });
  });
});
