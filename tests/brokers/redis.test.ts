/** The queue on a real Redis server that is cut, held, killed, full and locked, and shared by engines. */
import { CuttingProxy, RedisServer, redisServerProgram, waitFor } from '@trine/testing';
import * as sdk11 from 'iii-sdk-0.11';
import * as sdk22 from 'iii-sdk-0.22';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { queueOn, RedisBed } from './redis-bed.js';
import { SharedLoad } from './shared-load.js';

/** Leases of a killed engine end soon, so that the test need not wait for half a minute. */
const LEASE_MS = 3_000;

let server: RedisServer;
const beds: { stop(): Promise<unknown> }[] = [];

async function bed(...workers: object[]): Promise<RedisBed> {
  const started = await RedisBed.start(workers);
  beds.push(started);
  return started;
}

describe.skipIf(redisServerProgram === undefined)('the queue on Redis (needs redis-server)', () => {
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterEach(async () => {
    for (const each of beds.splice(0).reverse()) await each.stop();
    await server.command('FLUSHALL');
  });
  afterAll(() => server.stop());

  it.each([
    ['0.11.6', sdk11],
    ['0.22.1', sdk22],
  ])('serves the unmodified iii-sdk %s: enqueue, retry, dead letter, redrive, durable topic', async (version, sdk) => {
    const own = await bed(queueOn(server.url, {}, { orders: { max_retries: 2, backoff_ms: 20 } }));
    const worker = (sdk as typeof sdk22).registerWorker(own.engine.url, {
      workerName: `w-${version}`,
      otel: { enabled: false },
    });
    beds.push({ stop: () => worker.shutdown() });
    const seen: unknown[] = [];
    let fails = true;
    worker.registerFunction('orders::take', async (order: { n: number }) => {
      seen.push(order.n);
      if (order.n === 2 && fails) throw new Error('not today');
      return { ok: true };
    });
    const heard: unknown[] = [];
    worker.registerFunction('orders::heard', async (message: unknown) => (heard.push(message), null));
    worker.registerTrigger({ type: 'durable:subscriber', function_id: 'orders::heard', config: { topic: 'orders' } });
    const enqueue = (n: number): Promise<unknown> =>
      worker.trigger({
        function_id: 'orders::take',
        payload: { n },
        action: sdk22.TriggerAction.Enqueue({ queue: 'orders' }),
      });
    expect(await enqueue(1)).toEqual({ messageReceiptId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string });
    await waitFor(() => seen.includes(1));
    await enqueue(2);
    const dead = async (): Promise<number> =>
      (await own.call<{ dlq_depth: number }>('engine::queue::topic_stats', { topic: 'orders' })).dlq_depth;
    await waitFor(async () => (await dead()) === 1);
    expect(seen).toEqual([1, 2, 2]);
    fails = false;
    expect(await worker.trigger({ function_id: 'iii::queue::redrive', payload: { queue: 'orders' } })).toMatchObject({
      redriven: 1,
    });
    await waitFor(() => seen.length === 4);
    await waitFor(async () => {
      const lines = await own.call<unknown[]>('engine::queue::subscriptions', { topic: 'orders' });
      return lines.length === 1;
    });
    expect(await own.call('engine::queue::list_topics', {})).toContainEqual({
      name: 'orders',
      broker_type: 'redis',
      subscriber_count: 1,
    });
    await worker.trigger({ function_id: 'iii::durable::publish', payload: { topic: 'orders', data: { total: 3 } } });
    await waitFor(() => heard.length === 1);
    expect(heard).toEqual([{ total: 3 }]);
  });

  it('is shared by two engines: either is killed, nothing is lost, and the order of groups holds across both', async () => {
    const random = new SeededRandom(testSeed('engines on one Redis'));
    const adapter = { name: 'redis', config: { redis_url: server.url, prefix: 'shared', lease_ms: LEASE_MS } };
    const load = await SharedLoad.start(random, adapter, 2);
    beds.push(load);
    for (const member of [...load.members, ...load.members]) {
      await load.underWay();
      await load.kill(member);
      await load.goesOn();
      await load.back(member);
    }
    await load.underWay();
    await load.finish();
    expect(load.auditor.faults).toEqual([]);
    expect(load.standard.redelivered + load.ordered.redelivered).toBeGreaterThan(0);
  });

  it('loses nothing when the server is killed and started again under load', async () => {
    const own = await RedisServer.start();
    beds.push(own);
    const random = new SeededRandom(testSeed('Redis killed'));
    const load = await SharedLoad.start(random, { name: 'redis', config: { redis_url: own.url } }, 1);
    beds.push(load);
    for (let kill = 0; kill < 3; kill++) {
      await load.underWay();
      const { refused } = load;
      await own.kill();
      await waitFor(() => load.refused > refused, { what: 'an enqueue to be refused' });
      await own.restart();
      await load.goesOn();
    }
    await load.finish();
    expect(load.auditor.faults).toEqual([]);
  });

  it('answers at once while the connection is cut, says so in its health, and goes on', async () => {
    const proxy = await CuttingProxy.start(server.port);
    const own = await bed(queueOn(`redis://127.0.0.1:${proxy.port}`));
    const seen: unknown[] = [];
    let release = (): void => undefined;
    const held = new Promise<void>((go) => (release = go));
    own.client.registerFunction('test::job', async (data: unknown) => {
      seen.push(data);
      if (data === 'during') await held;
      return null;
    });
    await own.enqueue('before');
    await waitFor(() => seen.length === 1);
    expect((await own.health()).details).toMatchObject({ state: 'ready', durability: 'full' });

    await own.enqueue('during');
    await waitFor(() => seen.length === 2);
    const { port } = proxy;
    await proxy.stop();
    await waitFor(async () => (await own.health()).details.state === 'unreachable');
    const { status, details } = await own.health();
    expect(status).toBe('degraded');
    expect(details.detail).toMatch(/^Redis at redis:\/\/127\.0\.0\.1/);
    const asked = performance.now();
    await expect(own.enqueue('refused')).rejects.toMatchObject({
      code: 'enqueue_error',
      message: expect.stringContaining('cannot be reached') as string,
    });
    expect(performance.now() - asked).toBeLessThan(1_000);
    // Ends while Redis is away: the end is kept until it can be stored.
    release();
    const again = await CuttingProxy.start(server.port, port);
    beds.push(again);
    await waitFor(async () => (await own.health()).details.state === 'ready');
    await own.enqueue('after');
    await waitFor(() => seen.length === 3);
    await waitFor(async () => {
      const stats = await own.call<{ depth: number }>('engine::queue::topic_stats', { topic: 'default' });
      return stats.depth === 0;
    });
    expect(seen).toEqual(['before', 'during', 'after']);
  });

  it('gives up an enqueue within seconds when the server answers nothing', async () => {
    const own = await RedisServer.start();
    beds.push(own);
    const engine = await bed(queueOn(own.url));
    own.hold();
    const asked = performance.now();
    await expect(engine.enqueue(1)).rejects.toMatchObject({
      code: 'enqueue_error',
      message: expect.stringContaining('may have done') as string,
    });
    expect(performance.now() - asked).toBeLessThan(10_000);
    expect((await engine.health()).details.state).toBe('unreachable');
    own.goOn();
    await waitFor(async () => (await engine.health()).details.state === 'ready');
    await engine.enqueue(2);
  });

  it('starts without a server that refuses its password, and comes up when it is right', async () => {
    const own = await RedisServer.start({ settings: { requirepass: 'another' } });
    beds.push(own);
    const url = `redis://:s3cret-word@127.0.0.1:${own.port}`;
    const engine = await bed(queueOn(url));
    const seen: unknown[] = [];
    engine.client.registerFunction('test::job', (data: unknown) => (seen.push(data), null));
    const { details } = await engine.health();
    expect(details.state).toBe('unreachable');
    expect(details.durability).toBeUndefined(); // nobody knows yet
    expect(details.detail).toContain('does not accept the user name or password of redis_url');
    await expect(engine.enqueue(1)).rejects.toMatchObject({
      code: 'enqueue_error',
      message: expect.stringContaining('password of redis_url') as string,
    });
    // A connection that signs in with the other password and changes it.
    await own.change('another', 'requirepass', 's3cret-word');
    await waitFor(async () => (await engine.health()).details.state === 'ready');
    await engine.enqueue(2);
    await waitFor(() => seen.length === 1);
    expect(seen).toEqual([2]);
    expect(engine.log.join('')).not.toContain('s3cret-word');
    expect(JSON.stringify(await engine.health())).not.toContain('s3cret-word');
  });

  it('refuses jobs while the memory of the server is full, works off what is there, and recovers', async () => {
    const own = await RedisServer.start();
    beds.push(own);
    const engine = await bed(queueOn(own.url));
    await engine.enqueue({ n: 1 });
    await own.command('CONFIG', 'SET', 'maxmemory', '1');
    await expect(engine.enqueue({ n: 2 })).rejects.toMatchObject({
      code: 'enqueue_error',
      message: expect.stringContaining('memory is full') as string,
    });
    await expect(
      engine.call('iii::queue::enqueue_batch', {
        jobs: [1, 2].map((n) => ({ queue: 'default', function_id: 'test::job', data: { n } })),
      }),
    ).rejects.toMatchObject({ code: 'enqueue_error' });
    expect((await engine.health()).details).toMatchObject({ state: 'degraded' });
    const seen: unknown[] = [];
    engine.client.registerFunction('test::job', (data: unknown) => (seen.push(data), null));
    await waitFor(() => seen.length === 1);
    await waitFor(async () => {
      const stats = await engine.call<{ depth: number; running: number }>('engine::queue::topic_stats', {
        topic: 'default',
      });
      return stats.depth === 0 && stats.running === 0;
    });
    await own.command('CONFIG', 'SET', 'maxmemory', '0');
    await engine.enqueue({ n: 3 });
    await waitFor(() => seen.length === 2);
    expect(seen).toEqual([{ n: 1 }, { n: 3 }]);
    expect((await engine.health()).details.state).toBe('ready');
  });

  it('says what a server with other settings may forget', async () => {
    const own = await RedisServer.start({ settings: { appendonly: 'no', 'maxmemory-policy': 'allkeys-lru' } });
    beds.push(own);
    const engine = await bed(queueOn(own.url));
    const { status, details } = await engine.health();
    expect(status).toBe('healthy');
    expect(details.durability).toBe('relaxed');
    expect(details.detail).toContain("appendonly is 'no' and not 'yes'");
    expect(details.detail).toContain("maxmemory-policy is 'allkeys-lru'");
    expect(engine.log.filter((line) => line.includes('Redis may lose what it accepted'))).toHaveLength(1);
  });

  it('makes its queues and subscriptions again on a server that lost them', async () => {
    const engine = await bed(queueOn(server.url));
    const seen: unknown[] = [];
    engine.client.registerFunction('test::job', (data: unknown) => (seen.push(data), null));
    await engine.client.registerTrigger({
      type: 'durable:subscriber',
      function_id: 'test::job',
      config: { topic: 't' },
    }).ready;
    await engine.enqueue('first');
    await waitFor(() => seen.length === 1);
    await server.command('FLUSHALL');
    engine.client.registerFunction('test::other', (data: unknown) => (seen.push(data), null));
    await engine.enqueue('job', 'test::other');
    await engine.call('iii::durable::publish', { topic: 't', data: 'message' });
    await waitFor(() => seen.length === 3);
    expect(seen.sort()).toEqual(['first', 'job', 'message']);
  });

  it('lets workers come and go while the server is away', async () => {
    const own = await RedisServer.start();
    beds.push(own);
    const engine = await bed(queueOn(own.url));
    const subscribe = (id: string): ReturnType<typeof engine.client.registerTrigger> => {
      engine.client.registerFunction(id, (data: unknown) => (seen.push([id, data]), null));
      return engine.client.registerTrigger({ type: 'durable:subscriber', function_id: id, config: { topic: 't' } });
    };
    const seen: unknown[] = [];
    const leaving = subscribe('test::leaves');
    await leaving.ready;
    await own.kill();
    await waitFor(async () => (await engine.health()).details.state === 'unreachable');
    const coming = subscribe('test::comes');
    leaving.unregister();
    await coming.ready;
    await own.restart();
    await waitFor(async () => (await engine.health()).details.state === 'ready');
    await engine.call('iii::durable::publish', { topic: 't', data: 1 });
    await waitFor(() => seen.length === 1);
    expect(seen).toEqual([['test::comes', 1]]);
    const lines = await engine.call<{ function_id: string; state: string }[]>('engine::queue::subscriptions', {
      topic: 't',
    });
    expect(lines.map(({ function_id, state }) => [function_id, state]).sort()).toEqual([
      ['test::comes', 'live'],
      ['test::leaves', 'ended'],
    ]);
  });
});
