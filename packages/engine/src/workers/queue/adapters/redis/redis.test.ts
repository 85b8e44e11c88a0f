import { RedisServer, redisServerProgram } from '@trine/testing';
import { afterAll, beforeAll, describe } from 'vitest';
import { adapterCapabilities } from '../index.js';
import { brokerSuite } from '../suite/index.js';
import { redisStore } from './fixtures/store.js';

describe.skipIf(redisServerProgram === undefined)('on a Redis server (needs redis-server)', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterAll(() => server.stop());

  brokerSuite({ adapter: 'redis', capabilities: adapterCapabilities.redis, store: () => redisStore(server) });
});
