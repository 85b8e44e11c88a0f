/** Two brokers on one Redis, as two engines have them. */
import { RedisServer, redisServerProgram, waitFor } from '@trine/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Lease, Line } from '../index.js';
import { House } from '../suite/index.js';
import { DEFAULT_LEASE_MS } from './config.js';
import { redisStore, type RedisStore } from './fixtures/store.js';
import type { RedisLease } from './line.js';

describe.skipIf(redisServerProgram === undefined)('two engines on one Redis (needs redis-server)', () => {
  let server: RedisServer;
  let store: RedisStore;
  let a: House;
  let b: House;

  beforeAll(async () => {
    server = await RedisServer.start();
  });
  beforeEach(async () => {
    store = await redisStore(server);
    [a, b] = [await House.open(store), await House.open(store)];
  });
  afterEach(async () => {
    await Promise.all([a.stop(), b.stop()]);
    await store.remove();
  });
  afterAll(() => server.stop());

  /** The next job, whichever of them gets it. */
  const either = (lineA: Line, lineB: Line): Promise<Lease> =>
    waitFor(() => a.broker.reserve(lineA) ?? b.broker.reserve(lineB));
  const neither = async (lineA: Line, lineB: Line): Promise<boolean> =>
    (await a.nothing(lineA)) && (await b.nothing(lineB));

  it('hand a job of the one to the other, without being asked again', async () => {
    const line = await b.queue();
    expect(await b.nothing(line)).toBe(true);
    const receipt = await a.accept(await a.queue(), 1);
    const lease = await b.lease(line);
    expect(lease.job.receipt).toBe(receipt);
    expect(await a.broker.lookup?.(receipt)).toMatchObject({ state: 'running' });
    expect(await a.broker.cancel?.(receipt)).toBe('running');
    await b.broker.settle(lease, { kind: 'done' });
    expect((await a.broker.stats([await a.queue()])).running).toBe(0);
  });

  it('run no more than the global bound together', async () => {
    const rules = { globalConcurrency: 3 };
    const [lineA, lineB] = [await a.queue(rules), await b.queue(rules)];
    for (let i = 0; i < 6; i++) await a.accept(lineA, i);
    const running = [await a.lease(lineA), await either(lineA, lineB), await either(lineA, lineB)];
    expect(await neither(lineA, lineB)).toBe(true);
    await a.broker.settle(running[0] as Lease, { kind: 'done' });
    await either(lineA, lineB);
    expect(await neither(lineA, lineB)).toBe(true);
  });

  it('start no more than the rate together', async () => {
    const rules = { rate: { max: 2, perMs: 30_000 } };
    const [lineA, lineB] = [await a.queue(rules, 'q', 1), await b.queue(rules, 'q', 1)];
    for (let i = 0; i < 4; i++) await a.accept(lineA, i);
    const running = [await a.lease(lineA), await b.lease(lineB)];
    await a.broker.settle(running[0] as Lease, { kind: 'done' });
    await b.broker.settle(running[1] as Lease, { kind: 'done' });
    expect(await neither(lineA, lineB)).toBe(true);
    await store.pass(30_001);
    await a.lease(lineA);
    await b.lease(lineB);
  });

  it('run one job of a group at a time, and the next when the first has ended wherever that was', async () => {
    const rules = { serial: true };
    const [lineA, lineB] = [await a.queue(rules), await b.queue(rules)];
    for (let i = 0; i < 3; i++)
      await (i % 2 === 0 ? a.accept(lineA, i, { group: 'g' }) : b.accept(lineB, i, { group: 'g' }));
    const first = await a.lease(lineA);
    expect(await b.nothing(lineB)).toBe(true);
    await a.broker.settle(first, { kind: 'postpone', delayMs: 1_000, attempts: 1, lost: 0, failures: [] });
    expect(await b.nothing(lineB)).toBe(true);
    await store.pass(1_000);
    const again = await either(lineA, lineB);
    expect(again.job).toMatchObject({ data: '0', attempts: 1 });
  });

  it('share unique keys, pauses and dead letters', async () => {
    const [lineA, lineB] = [await a.queue(), await b.queue()];
    const extras = { uniqueKey: 'k' };
    const receipt = await a.accept(lineA, 1, { extras });
    expect(await b.broker.accept(lineB, b.job(2, { extras }))).toEqual({ receipt, deduplicated: true });
    await a.broker.setPaused?.(lineA, true);
    expect(await b.nothing(lineB)).toBe(true);
    await a.broker.setPaused?.(lineA, false);
    const lease = await b.lease(lineB);
    await b.broker.settle(lease, { kind: 'dead', error: 'e', code: 'c', attempts: 3, lost: 0, failures: [] });
    expect(await a.broker.redriveOne([lineA], receipt)).toBe(true);
    expect((await either(lineA, lineB)).job).toMatchObject({ receipt, attempts: 0 });
  });

  it('give the jobs of an engine that is gone to the other when its leases end, and ignore its late answers', async () => {
    const lineA = await a.queue();
    const receipt = await a.accept(lineA, 1);
    const lost = await a.lease(lineA);
    const lineB = await b.queue();
    expect(await b.nothing(lineB)).toBe(true);
    // As if its signs did not arrive: the time of the server goes on, its own does not.
    await store.ahead(DEFAULT_LEASE_MS + 1);
    expect((await b.broker.stats([lineB])).waiting).toBe(1);
    const lease = await b.lease(lineB);
    expect(lease.job).toMatchObject({ receipt, attempts: 0, redelivered: true });
    await a.broker.settle(lost, { kind: 'dead', error: 'e', code: 'c', attempts: 3, lost: 0, failures: [] });
    expect(await b.broker.stats([lineB])).toMatchObject({ dead: 0, running: 1 });
    await b.broker.settle(lease, { kind: 'done' });
    expect(await b.broker.stats([lineB])).toMatchObject({ waiting: 0, running: 0, dead: 0 });
  });

  it('keep a lease for as long as signs come', async () => {
    const lineA = await a.queue();
    await a.accept(lineA, 1);
    const lease = await a.lease(lineA);
    for (let i = 0; i < 6; i++) {
      await store.pass(DEFAULT_LEASE_MS / 3);
      await a.broker.stats([lineA]);
    }
    expect(await b.nothing(await b.queue())).toBe(true);
    await a.broker.settle(lease, { kind: 'done' });
    expect(await b.broker.stats([await b.queue()])).toMatchObject({ waiting: 0, running: 0 });
  });

  it('keep a subscription live while one of them serves it', async () => {
    const [lineA, lineB] = [await a.subscription('f'), await b.subscription('f')];
    await a.broker.leave(lineA, 'ended');
    await b.broker.publish(b.message(1));
    expect(await b.drain(lineB, 1)).toEqual([1]);
    await b.broker.leave(lineB, 'offline');
    const [known] = await a.broker.lines({ kind: 'subscription', name: 't' });
    expect(known?.offlineSince).toBeGreaterThan(0);
    expect(known?.endedAt).toBeUndefined();
  });

  it('tell of a job whose time is over while every slot is taken', async () => {
    const line = await a.queue({}, 'q', 1);
    await a.accept(line, 1);
    await a.lease(line);
    const receipt = await a.accept(line, 2, { extras: { expiresAt: store.now() + 1_000, uniqueKey: 'k' } });
    await store.pass(1_500);
    expect((await a.broker.lookup?.(receipt))?.state).toBe('expired');
    expect((await a.broker.accept(line, a.job(3, { extras: { uniqueKey: 'k' } }))).deduplicated).toBe(false);
  });

  it('end no job by the number of one that the server has lost', async () => {
    const line = await a.queue();
    await a.accept(line, 'lost');
    const lost = (await a.lease(line)) as RedisLease;
    const counters = (await server.command('KEYS', '*:ids')).match(/\{suite\d+\}:ids/g) ?? [];
    const back = await store.cut?.();
    await server.command('FLUSHALL');
    await back?.();
    await waitFor(() => a.broker.health().state === 'ready');
    // As after a crash that took the last moments: the numbers of then are given out again.
    for (const counter of counters) await server.command('SET', counter, String(Number(lost.id) - 1));
    const receipt = await a.accept(line, 'new');
    const lease = (await a.lease(line)) as RedisLease;
    expect([lease.id, lease.number]).toEqual([lost.id, lost.number]);
    await a.broker.settle(lost, { kind: 'done' });
    expect(await b.broker.lookup?.(receipt)).toMatchObject({ state: 'running' });
    await a.broker.settle(lease, { kind: 'done' });
    expect(await a.broker.lookup?.(receipt)).toMatchObject({ state: 'done' });
  });
});
