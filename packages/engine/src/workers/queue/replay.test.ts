import { waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QueueEngine, type QueueMetadata } from './fixtures/queue-engine.js';

describe('replay of a durable topic', () => {
  let engine: QueueEngine;
  let seen: { readonly id: string; readonly data: unknown; readonly receipt: string; readonly replayed: unknown }[];
  beforeEach(async () => {
    engine = await QueueEngine.start({}, { topic_configs: { kept: { replay_retention_ms: 3_600_000 } } });
    seen = [];
  });
  afterEach(() => engine.stop());
  const subscribe = async (id: string, topic: string): Promise<void> => {
    const worker = engine.engine.worker(`of ${topic}`);
    worker.registerFunction(id, (data, meta) => {
      const { receipt, replayed } = (meta as QueueMetadata).queue;
      seen.push({ id, data, receipt, replayed });
    });
    await worker.registerTrigger({ type: 'durable:subscriber', function_id: id, config: { topic } }).ready;
  };
  const publish = (topic: string, data: unknown): Promise<unknown> =>
    engine.call('iii::durable::publish', { topic, data });
  const replay = (topic: string, id: string, since: number): Promise<unknown> =>
    engine.call('iii::durable::replay', { topic, function_id: id, since_ms: since });

  it('delivers messages since a time to one subscription, marked and under new receipts', async () => {
    await subscribe('a', 'kept');
    await subscribe('b', 'kept');
    await publish('kept', 1);
    await engine.clock.advance(1_000);
    const since = engine.clock.now();
    await publish('kept', 2);
    await waitFor(() => seen.length === 4);
    expect(await replay('kept', 'a', since)).toEqual({ topic: 'kept', function_id: 'a', replayed: 1 });
    await waitFor(() => seen.length === 5);
    expect(seen[4]).toMatchObject({ id: 'a', data: 2, replayed: true });
    expect(new Set(seen.map(({ receipt }) => receipt)).size).toBe(5);
    expect(seen[0]?.replayed).toBeUndefined();
  });

  it('says what it cannot', async () => {
    await subscribe('a', 'plain');
    await publish('plain', 1);
    const fault = await engine.fault('iii::durable::replay', { topic: 'plain', function_id: 'a', since_ms: 0 });
    expect(fault.code).toBe('replay_not_retained');
    expect(fault.message).toContain('replay_retention_ms');
    await subscribe('a', 'kept');
    const first = engine.clock.now();
    await publish('kept', 1);
    const early = await engine.fault('iii::durable::replay', { topic: 'kept', function_id: 'a', since_ms: first - 1 });
    expect(early).toMatchObject({
      code: 'replay_not_retained',
      message: expect.stringContaining(`${first}`) as string,
    });
    expect((await engine.fault('iii::durable::replay', { topic: 'kept', function_id: 'x', since_ms: 0 })).code).toBe(
      'subscription_not_found',
    );
  });

  it('keeps a subscription without a worker as long as configured', async () => {
    await engine.restart({}, { subscription_retention_ms: 60_000 });
    const worker = engine.engine.worker('w');
    worker.registerFunction('away', () => undefined);
    await worker.registerTrigger({ type: 'durable:subscriber', function_id: 'away', config: { topic: 't' } }).ready;
    await worker.shutdown();
    const state = async (): Promise<unknown> =>
      (await engine.call<{ state: string }[]>('engine::queue::subscriptions', {}))[0]?.state;
    await waitFor(async () => (await state()) === 'offline');
    await engine.clock.advance(10 * 60_000);
    await waitFor(async () => (await state()) === 'ended');
  });
});
