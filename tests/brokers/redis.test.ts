/** The queue on a real Redis server that is cut, held, killed, full and locked, and shared by engines. */
import { RedisServer, redisServerProgram, waitFor } from '@trine/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { onRedis } from './adapters.js';
import { Beds } from './beds.js';
import { waitUntilWorkedOff, refuses } from './probes.js';
import {
  answersWhileCut,
  givesUpWhileHeld,
  losesNothingToEngineKills,
  losesNothingToServerKills,
  SDKS,
  servesSdk,
  startsWithWrongPassword,
} from './scenarios.js';
import { SharedLoad } from './shared-load.js';

/** Leases of a killed engine end soon, so that the test need not wait for half a minute. */
const LEASE_MS = 3_000;

let server: RedisServer;
const beds = new Beds();

describe.skipIf(redisServerProgram === undefined)('the queue on Redis (needs redis-server)', () => {
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterEach(async () => {
    await beds.stop();
    await server.command('FLUSHALL');
  });
  afterAll(() => server.stop());

  it.each(SDKS)(
    'serves the unmodified iii-sdk %s: enqueue, retry, dead letter, redrive, durable topic',
    (version, sdk) => servesSdk(beds, onRedis(server), version, sdk),
  );

  it('is shared by two engines: either is killed, nothing is lost, and the order of groups holds across both', async () => {
    const random = new SeededRandom(testSeed('engines on one Redis'));
    const adapter = onRedis(server, { prefix: 'shared', lease_ms: LEASE_MS });
    const load = beds.keep(await SharedLoad.start({ random, adapter, engines: 2 }));
    await losesNothingToEngineKills(load, 40);
  });

  it('loses nothing when the server is killed and started again under load', async () => {
    const own = beds.keep(await RedisServer.start());
    const random = new SeededRandom(testSeed('Redis killed'));
    const load = beds.keep(await SharedLoad.start({ random, adapter: onRedis(own), engines: 1 }));
    await losesNothingToServerKills(load, own, { kills: 3, jobs: 40 });
  });

  it('answers at once while the connection is cut, says so in its health, and goes on', () =>
    answersWhileCut(
      beds,
      server.port,
      (port) => onRedis(server, { redis_url: `redis://127.0.0.1:${port}` }),
      (port) => ({
        health: new RegExp(`^Redis at redis://127\\.0\\.0\\.1:${port}`),
        refusal: 'cannot be reached',
      }),
    ));

  it('gives up an enqueue within seconds when the server answers nothing', async () => {
    const own = beds.keep(await RedisServer.start());
    const bed = await beds.queue(onRedis(own));
    await givesUpWhileHeld(bed, own, { refusal: 'may have done', withinMs: 10_000 });
  });

  it('starts without a server that refuses its password, and comes up when it is right', async () => {
    const password = 's3cret-word';
    const own = beds.keep(await RedisServer.start({ settings: { requirepass: 'another' } }));
    await startsWithWrongPassword(
      await beds.queue(onRedis(own, { redis_url: `redis://:${password}@127.0.0.1:${own.port}` })),
      password,
      // A connection that signs in with the other password and changes it.
      () => own.change('another', 'requirepass', password),
      { health: 'does not accept the user name or password of redis_url', refusal: 'password of redis_url' },
    );
  });

  it('refuses jobs while the memory of the server is full, works off what is there, and recovers', async () => {
    const own = beds.keep(await RedisServer.start());
    const engine = await beds.queue(onRedis(own));
    await engine.enqueue({ n: 1 });
    await own.command('CONFIG', 'SET', 'maxmemory', '1');
    await refuses(engine, { n: 2 }, 'memory is full');
    await expect(
      engine.call('iii::queue::enqueue_batch', {
        jobs: [1, 2].map((n) => ({ queue: 'default', function_id: 'test::job', data: { n } })),
      }),
    ).rejects.toMatchObject({ code: 'enqueue_error' });
    expect((await engine.health()).details).toMatchObject({ state: 'degraded' });
    const seen = engine.seenBy();
    await waitFor(() => seen.length === 1);
    await waitUntilWorkedOff(engine);
    await own.command('CONFIG', 'SET', 'maxmemory', '0');
    await engine.enqueue({ n: 3 });
    await waitFor(() => seen.length === 2);
    expect(seen).toEqual([{ n: 1 }, { n: 3 }]);
    expect(await engine.state()).toBe('ready');
  });

  it('says what a server with other settings may forget', async () => {
    const settings = { appendonly: 'no', 'maxmemory-policy': 'allkeys-lru' };
    const own = beds.keep(await RedisServer.start({ settings }));
    const engine = await beds.queue(onRedis(own));
    const { status, details } = await engine.health();
    expect(status).toBe('healthy');
    expect(details.durability).toBe('relaxed');
    expect(details.detail).toContain("appendonly is 'no' and not 'yes'");
    expect(details.detail).toContain("maxmemory-policy is 'allkeys-lru'");
    expect(engine.log.filter((line) => line.includes('Redis may lose what it accepted'))).toHaveLength(1);
  });

  it('makes its queues and subscriptions again on a server that lost them', async () => {
    const engine = await beds.queue(onRedis(server));
    const seen = engine.seenBy();
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
    const own = beds.keep(await RedisServer.start());
    const engine = await beds.queue(onRedis(own));
    const subscribe = (id: string): ReturnType<typeof engine.client.registerTrigger> => {
      engine.client.registerFunction(id, (data: unknown) => (seen.push([id, data]), null));
      return engine.client.registerTrigger({ type: 'durable:subscriber', function_id: id, config: { topic: 't' } });
    };
    const seen: unknown[] = [];
    const leaving = subscribe('test::leaves');
    await leaving.ready;
    await own.kill();
    await waitFor(async () => (await engine.state()) === 'unreachable');
    const coming = subscribe('test::comes');
    leaving.unregister();
    await coming.ready;
    await own.restart();
    await waitFor(async () => (await engine.state()) === 'ready');
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
