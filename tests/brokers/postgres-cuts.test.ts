/** The queue on a real PostgreSQL whose connections are cut at random. */
import { CuttingProxy, postgresMissing, PostgresServer } from '@trine/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { SharedLoad } from './shared-load.js';

const missing = postgresMissing();
const title = `cut connections to PostgreSQL${missing === undefined ? '' : `: skipped, ${missing}`}`;
let server: PostgresServer;
const beds: { stop(): Promise<unknown> }[] = [];

describe.skipIf(missing !== undefined)(title, () => {
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterEach(async () => {
    for (const each of beds.splice(0).reverse()) await each.stop();
  });
  afterAll(() => server.stop());

  it('loses nothing when connections are cut under load, whatever was on its way', async () => {
    const random = new SeededRandom(testSeed('connections cut'));
    const proxy = await CuttingProxy.start(server.port);
    beds.push(proxy);
    const config = { database_url: server.url(proxy.port), schema: 'cuts' };
    const load = await SharedLoad.start(random, { name: 'postgres', config }, 1);
    beds.push(load);
    for (let cut = 0; cut < 10; cut++) {
      await load.underWay(random.between(1, 20));
      proxy.cut({ side: random.chance(0.5) ? 'client' : 'upstream', holdMs: random.between(0, 500) });
      await load.goesOn(10);
    }
    await load.finish();
    expect(load.auditor.faults).toEqual([]);
  });
});
