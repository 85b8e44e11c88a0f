/** The queue on a real PostgreSQL that engines share. */
import { postgresMissing, PostgresServer, waitFor } from '@trine/testing';
import * as sdk11 from 'iii-sdk-0.11';
import * as sdk22 from 'iii-sdk-0.22';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { PostgresBed } from './postgres-bed.js';
import { SharedLoad } from './shared-load.js';

/** Leases of a killed engine end soon, so that the test need not wait for half a minute. */
const LEASE_MS = 3_000;
const missing = postgresMissing();
const title = `the queue on PostgreSQL${missing === undefined ? '' : `: skipped, ${missing}`}`;

let server: PostgresServer;
let schemas = 0;
const beds: { stop(): Promise<unknown> }[] = [];

/** An engine with a schema of its own unless one is named. */
async function bed(config: object = {}, queues: object = {}): Promise<PostgresBed> {
  const own = { database_url: server.url(), schema: `test_${++schemas}`, ...config };
  const started = await PostgresBed.start(own, queues);
  beds.push(started);
  return started;
}

describe.skipIf(missing !== undefined)(title, () => {
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterEach(async () => {
    for (const each of beds.splice(0).reverse()) await each.stop();
  });
  afterAll(() => server.stop());

  it.each([
    ['0.11.6', sdk11],
    ['0.22.1', sdk22],
  ])('serves the unmodified iii-sdk %s: enqueue, retry, dead letter, redrive, durable topic', async (version, sdk) => {
    const own = await bed({}, { orders: { max_retries: 2, backoff_ms: 20 } });
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
    worker.registerTrigger({
      type: 'durable:subscriber',
      function_id: 'orders::heard',
      config: { topic: 'orders' },
    });
    const enqueue = (n: number): Promise<unknown> =>
      worker.trigger({
        function_id: 'orders::take',
        payload: { n },
        action: sdk22.TriggerAction.Enqueue({ queue: 'orders' }),
      });
    expect(await enqueue(1)).toEqual({ messageReceiptId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string });
    await waitFor(() => seen.includes(1));
    await enqueue(2);
    await waitFor(async () => (await own.stats('orders'))['dlq_depth'] === 1);
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
    await worker.trigger({
      function_id: 'iii::durable::publish',
      payload: { topic: 'orders', data: { total: 3 } },
    });
    await waitFor(() => heard.length === 1);
    expect(heard).toEqual([{ total: 3 }]);
  });

  it('is shared by two engines: either is killed, nothing is lost, and the order of groups holds across both', async () => {
    const random = new SeededRandom(testSeed('engines on one PostgreSQL'));
    const config = { database_url: server.url(), schema: 'shared', lease_ms: LEASE_MS };
    const load = await SharedLoad.start(random, { name: 'postgres', config }, 2);
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

  it('makes one schema when several engines start at once', async () => {
    const schema = 'at_once';
    await Promise.all(
      Array.from({ length: 4 }, () =>
        bed({ schema }, { orders: {}, mails: { type: 'fifo', message_group_field: 'to' } }),
      ),
    );
    expect(await server.sql(`SELECT version FROM ${schema}.version`, 'jobs')).toBe('1');
    expect(await server.sql(`SELECT string_agg(name, ',' ORDER BY name) FROM ${schema}.lines`, 'jobs')).toBe(
      'default,mails,orders',
    );
  });

  it('refuses a schema that a newer engine made, by name', async () => {
    const schema = 'newer';
    await (await bed({ schema })).stop();
    beds.pop();
    await server.sql(`UPDATE ${schema}.version SET version = 99`, 'jobs');
    const { details } = await (await bed({ schema })).health();
    expect(details).toMatchObject({ state: 'unreachable' });
    expect(details.detail).toContain('schema "newer" has version 99');
  });
});
