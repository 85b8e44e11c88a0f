/** The queue on a real PostgreSQL that engines share. */
import { postgresMissing, PostgresServer } from '@trine/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { onPostgres } from './adapters.js';
import { Beds } from './beds.js';
import { losesNothingToEngineKills, SDKS, servesSdk } from './scenarios.js';
import { SharedLoad } from './shared-load.js';

/** Leases of a killed engine end soon, so that the test need not wait for half a minute. */
const LEASE_MS = 3_000;
const missing = postgresMissing();
const title = `the queue on PostgreSQL${missing === undefined ? '' : `: skipped, ${missing}`}`;

let server: PostgresServer;
const beds = new Beds();

describe.skipIf(missing !== undefined)(title, () => {
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterEach(() => beds.stop());
  afterAll(() => server.stop());

  it.each(SDKS)(
    'serves the unmodified iii-sdk %s: enqueue, retry, dead letter, redrive, durable topic',
    (version, sdk) => servesSdk(beds, onPostgres(server), version, sdk),
  );

  it('is shared by two engines: either is killed, nothing is lost, and the order of groups holds across both', async () => {
    const random = new SeededRandom(testSeed('engines on one PostgreSQL'));
    const adapter = onPostgres(server, { lease_ms: LEASE_MS });
    const load = beds.keep(await SharedLoad.start({ random, adapter, engines: 2 }));
    await losesNothingToEngineKills(load, 40);
  });

  it('makes one schema when several engines start at once', async () => {
    const schema = 'at_once';
    const queues = { orders: {}, mails: { type: 'fifo', message_group_field: 'to' } };
    await Promise.all(Array.from({ length: 4 }, () => beds.queue(onPostgres(server, { schema }), queues)));
    expect(await server.sql(`SELECT version FROM ${schema}.version`, 'jobs')).toBe('1');
    expect(await server.sql(`SELECT string_agg(name, ',' ORDER BY name) FROM ${schema}.lines`, 'jobs')).toBe(
      'default,mails,orders',
    );
  });

  it('refuses a schema that a newer engine made, by name', async () => {
    const schema = 'newer';
    await beds.queue(onPostgres(server, { schema }));
    await beds.stop();
    await server.sql(`UPDATE ${schema}.version SET version = 99`, 'jobs');
    const { details } = await (await beds.queue(onPostgres(server, { schema }))).health();
    expect(details).toMatchObject({ state: 'unreachable' });
    expect(details.detail).toContain('schema "newer" has version 99');
  });
});
