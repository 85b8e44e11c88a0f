/** The queue on a real PostgreSQL whose connections are cut at random. */
import { CuttingProxy, postgresMissing, PostgresServer } from '@trine/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { onPostgres } from './adapters.js';
import { Beds } from './beds.js';
import { SharedLoad } from './shared-load.js';

const missing = postgresMissing();
const title = `cut connections to PostgreSQL${missing === undefined ? '' : `: skipped, ${missing}`}`;
let server: PostgresServer;
const beds = new Beds();

describe.skipIf(missing !== undefined)(title, () => {
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterEach(() => beds.stop());
  afterAll(() => server.stop());

  it('loses nothing when connections are cut under load, whatever was on its way', async () => {
    const random = new SeededRandom(testSeed('connections cut'));
    const proxy = beds.keep(await CuttingProxy.start(server.port));
    const adapter = onPostgres(server, { database_url: server.url(proxy.port) });
    const load = beds.keep(await SharedLoad.start({ random, adapter, engines: 1 }));
    for (let cut = 0; cut < 10; cut++) {
      await load.underWay(random.between(1, 20));
      proxy.cut({ side: random.chance(0.5) ? 'client' : 'upstream', holdMs: random.between(0, 500) });
      await load.goesOn(10);
    }
    await load.finish();
    expect(load.auditor.faults).toEqual([]);
  });
});
