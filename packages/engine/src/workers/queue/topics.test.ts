import { FakeClock, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EmbeddedWorker } from '../../core/embedded-worker.js';
import { createLog } from '../../core/log-writer.js';
import { createEngine, type Engine } from '../../engine.js';
import { HELD_RETENTION_MS, MAX_HELD_MESSAGES } from './adapters/rules.js';
import { DEFAULT_SUBSCRIPTION_RETENTION_MS as SUBSCRIPTION_RETENTION_MS } from './config.js';

interface SubscriptionInfo {
  readonly function_id: string;
  readonly state: string;
  readonly waiting: number;
  readonly dead: number;
  readonly expired: number;
  readonly triggers: number;
}

describe('durable topics', () => {
  let folder: TempFolder;
  let clock: FakeClock;
  let engine: Engine;
  let client: EmbeddedWorker;

  const start = async (): Promise<void> => {
    clock ??= new FakeClock();
    engine = await createEngine({
      cwd: folder.path,
      clock,
      log: createLog({ level: 'error', format: 'json', stream: { write: () => true } }),
      config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, { name: 'queue' }] },
    });
    await engine.start();
    client = engine.worker('client');
  };
  const restart = async (): Promise<void> => {
    await engine.stop();
    await start();
  };
  const call = <T>(functionId: string, payload: unknown): Promise<T> =>
    client.trigger<unknown, T>({ function_id: functionId, payload });
  const publish = (data: unknown, topic = 'link.updated'): Promise<unknown> =>
    call('iii::durable::publish', { topic, data });
  const subscriptions = (): Promise<SubscriptionInfo[]> => call('engine::queue::subscriptions', {});
  const stats = (
    topic = 'link.updated',
  ): Promise<{ depth: number; delayed: number; dlq_depth: number; held: number }> =>
    call('engine::queue::topic_stats', { topic });
  const dead = (): Promise<{ payload: unknown; error: string; retries: number }[]> =>
    call('engine::queue::dlq_messages', { topic: 'link.updated' });
  /** A worker whose function keeps what it gets, subscribed. */
  const subscriber = async (
    name: string,
    functionId: string,
    config: object = {},
    seen: unknown[] = [],
  ): Promise<{ worker: EmbeddedWorker; seen: unknown[] }> => {
    const worker = engine.worker(name);
    worker.registerFunction(functionId, (data) => void seen.push(data));
    await worker.registerTrigger({
      type: 'durable:subscriber',
      function_id: functionId,
      config: { topic: 'link.updated', ...config },
    }).ready;
    return { worker, seen };
  };

  beforeEach(async () => {
    folder = await tempFolder();
    clock = new FakeClock();
    await start();
  });
  afterEach(async () => {
    await engine.stop();
    await folder.remove();
  });

  it('brings every message to every function, once each', async () => {
    const one = await subscriber('one', 'one::on');
    const two = await subscriber('two', 'two::on');
    await subscriber('one-more', 'one::on', {}, one.seen); // a replica competes, it is no further subscriber
    for (const data of [{ code: 'a' }, null, 'text']) await publish(data);
    await waitFor(() => one.seen.length === 3 && two.seen.length === 3);
    await waitFor(async () => (await stats()).depth === 0);
    expect(one.seen).toEqual([{ code: 'a' }, null, 'text']);
    expect(two.seen).toEqual([{ code: 'a' }, null, 'text']);
  });

  it('keeps receiving for a subscriber that is away, also over a restart of the engine', async () => {
    const { worker, seen } = await subscriber('analytics', 'analytics::on');
    await worker.shutdown();
    await publish(1);
    expect(await subscriptions()).toMatchObject([{ function_id: 'analytics::on', state: 'offline', waiting: 1 }]);
    await restart();
    await publish(2);
    expect(seen).toEqual([]);
    const back = await subscriber('analytics', 'analytics::on');
    await waitFor(() => back.seen.length === 2);
    await publish(3);
    await waitFor(() => back.seen.length === 3);
    expect(back.seen).toEqual([1, 2, 3]);
  });

  it('holds what is published before the first subscriber, in order, over a restart', async () => {
    for (let i = 0; i < 20; i++) await publish(i);
    expect((await stats()).held).toBe(20);
    await restart();
    for (let i = 20; i < 40; i++) await publish(i);
    const { seen } = await subscriber('first', 'first::on', { queue_config: { type: 'fifo' } });
    await publish(40);
    await waitFor(() => seen.length === 41);
    expect(seen).toEqual(Array.from({ length: 41 }, (_, i) => i));
    expect((await stats()).held).toBe(0);
    const second = await subscriber('second', 'second::on');
    await publish('new');
    await waitFor(() => second.seen.length === 1 && seen.length === 42);
    expect(second.seen).toEqual(['new']);
  });

  it('refuses to hold more than its bound, until a day has passed', async () => {
    await Promise.all(Array.from({ length: MAX_HELD_MESSAGES }, (_, i) => publish(i)));
    await expect(publish('too many')).rejects.toMatchObject({ code: 'topic_backlog_full' });
    await publish('another topic holds its own', 'other');
    clock.jump(HELD_RETENTION_MS + 1);
    await publish('fits again');
    expect((await stats()).held).toBe(1);
  });

  it('ends with an explicit unregister, keeps its backlog, and is live again with the same function', async () => {
    const worker = engine.worker('w');
    const trigger = worker.registerTrigger({
      type: 'durable:subscriber',
      function_id: 'late::on',
      config: { topic: 'link.updated' },
    });
    await trigger.ready;
    await publish('before');
    trigger.unregister();
    await waitFor(async () => (await subscriptions())[0]?.state === 'ended');
    await subscriber('other', 'other::on'); // takes what comes meanwhile
    await publish('meanwhile');
    const { seen } = await subscriber('w2', 'late::on');
    await publish('after');
    await waitFor(() => seen.length === 2);
    expect(seen).toEqual(['before', 'after']);
  });

  it('forgets an ended subscription and its backlog after the retention', async () => {
    const { worker } = await subscriber('w', 'gone::on');
    await worker.shutdown();
    await publish(1);
    clock.jump(SUBSCRIPTION_RETENTION_MS);
    await clock.advance(10 * 60_000);
    await waitFor(async () => (await subscriptions())[0]?.state === 'ended');
    clock.jump(SUBSCRIPTION_RETENTION_MS);
    // The next sweep is armed when the one before has ended.
    await waitFor(async () => {
      await clock.advance(10 * 60_000);
      return (await subscriptions()).length === 0;
    });
    await restart();
    expect(await subscriptions()).toEqual([]);
    expect((await stats()).depth).toBe(0);
  });

  it('is ended by iii::durable::unsubscribe, with or without its backlog', async () => {
    const { worker } = await subscriber('w', 'w::on');
    await worker.shutdown();
    for (let i = 0; i < 3; i++) await publish(i);
    const request = { topic: 'link.updated', function_id: 'w::on', discard_backlog: true };
    expect(await call('iii::durable::unsubscribe', request)).toEqual({
      topic: 'link.updated',
      function_id: 'w::on',
      unsubscribed: true,
      discarded: 3,
    });
    expect(await subscriptions()).toMatchObject([{ state: 'ended', waiting: 0 }]);
    expect(await call('iii::durable::unsubscribe', { ...request, function_id: 'nobody' })).toMatchObject({
      unsubscribed: false,
    });
  });

  it('lets the oldest expire when a backlog is full, and counts them', async () => {
    const { worker } = await subscriber('w', 'w::on', { queue_config: { max_backlog: 5 } });
    await worker.shutdown();
    for (let i = 0; i < 12; i++) await publish(i);
    await waitFor(async () => (await subscriptions())[0]?.expired === 7);
    const { seen } = await subscriber('w', 'w::on', { queue_config: { maxBacklog: 5 } });
    await waitFor(() => seen.length === 5);
    expect(seen).toEqual([7, 8, 9, 10, 11]);
  });

  it('retries as the trigger says, with its metadata, and dead-letters where it can be seen while the worker is away', async () => {
    const worker = engine.worker('w');
    const metadata: unknown[] = [];
    worker.registerFunction('fails::on', (_data, meta) => {
      metadata.push(meta);
      throw new Error('forced failure');
    });
    const config = { queue: 'link.updated', queue_config: { maxRetries: 1, backoffDelayMs: 500 } };
    await worker.registerTrigger({
      type: 'durable:subscriber',
      function_id: 'fails::on',
      config,
      metadata: { tenant: 'x' },
    }).ready;
    await publish({ code: 'a' });
    await waitFor(async () => (await stats()).delayed === 1);
    await clock.advance(500);
    await waitFor(async () => (await stats()).dlq_depth === 1);
    expect(metadata).toMatchObject([
      { tenant: 'x', queue: { topic: 'link.updated', attempt: 1, redelivered: false } },
      { tenant: 'x', queue: { topic: 'link.updated', attempt: 2, redelivered: true } },
    ]);
    await worker.shutdown();
    await restart();
    expect(await dead()).toMatchObject([{ payload: { code: 'a' }, error: 'forced failure', retries: 2 }]);
    expect(await call('iii::queue::redrive', { topic: 'link.updated' })).toEqual({
      queue: 'link.updated',
      redriven: 1,
    });
    const { seen } = await subscriber('w', 'fails::on');
    await waitFor(() => seen.length === 1);
  });

  it('asks the condition each time: false skips, an error is a failed attempt, an absent one is waited for', async () => {
    const { seen } = await subscriber('w', 'w::on', {
      condition_function_id: 'w::if',
      queue_config: { max_retries: 2 },
    });
    await publish({ want: true });
    await waitFor(async () => (await stats()).depth === 1);
    const asked: unknown[] = [];
    engine.worker('w').registerFunction('w::if', (data: { want?: boolean }) => {
      asked.push(data);
      if (data.want === undefined) throw new Error('no opinion');
      return data.want;
    });
    await waitFor(() => seen.length === 1);
    await publish({ want: false });
    await publish({});
    await waitFor(async () => (await stats()).delayed === 1);
    await clock.advance(1_000);
    await waitFor(async () => (await stats()).delayed === 1 && asked.length === 4);
    await clock.advance(2_000);
    await waitFor(async () => (await stats()).dlq_depth === 1);
    expect(seen).toEqual([{ want: true }]);
    expect((await dead())[0]).toMatchObject({ error: 'Condition function error: no opinion', retries: 3 });
    expect((await stats()).depth).toBe(0);
  });

  it('spends an attempt on a condition that passes on the end of another worker: it answered, it was not lost', async () => {
    const { seen } = await subscriber('w', 'w::on', {
      condition_function_id: 'w::if',
      queue_config: { max_retries: 0 },
    });
    engine.worker('w').registerFunction('w::if', () => {
      throw Object.assign(new Error('Invocation stopped'), { code: 'invocation_stopped' });
    });
    await publish({});
    await waitFor(async () => (await stats()).dlq_depth === 1);
    expect((await dead())[0]).toMatchObject({ error: 'Condition function error: Invocation stopped', retries: 1 });
    expect(seen).toEqual([]);
  });

  it('refuses a trigger without a topic', async () => {
    const refused = client.registerTrigger({ type: 'durable:subscriber', function_id: 'a::b', config: {} }).ready;
    await expect(refused).rejects.toMatchObject({
      code: 'trigger_registration_failed',
      message: expect.stringContaining('topic') as string,
    });
  });

  it('lists topics without inner names', async () => {
    await subscriber('w', 'w::on');
    await publish(1, 'unheard');
    expect(await call('engine::queue::list_topics', {})).toEqual([
      { name: 'default', broker_type: 'function_queue', subscriber_count: 10 },
      { name: 'link.updated', broker_type: 'builtin', subscriber_count: 1 },
      { name: 'unheard', broker_type: 'builtin', subscriber_count: 0 },
    ]);
  });
});
