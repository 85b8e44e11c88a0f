import { postgresMissing, PostgresServer } from '@trine/testing';
import { afterAll, beforeAll, describe } from 'vitest';
import { adapterCapabilities } from '../index.js';
import { brokerSuite } from '../suite/index.js';
import { postgresStore } from './fixtures/store.js';

const missing = postgresMissing();
const title = `the suites on PostgreSQL${missing === undefined ? '' : `: skipped, ${missing}`}`;
let server: PostgresServer;

describe.skipIf(missing !== undefined)(title, () => {
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(() => server.stop());

  brokerSuite({
    adapter: 'postgres',
    capabilities: adapterCapabilities.postgres,
    store: () => Promise.resolve(postgresStore(server)),
  });
});
