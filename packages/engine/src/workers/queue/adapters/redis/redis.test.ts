import { CuttingProxy, FakeClock, RedisServer, redisServerProgram } from '@trine/testing';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { createLog } from '../../../../core/log-writer.js';
import { systemRandom } from '../../../../core/random.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import { adapterCapabilities } from '../index.js';
import { brokerSuite, type SuiteStore } from '../suite/index.js';
import { openRedis } from './broker.js';

/** The server's clock, and what a test lets pass on top of it. */
const TIME = `local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(call('GET', 'ahead:' .. P) or 0)`;

let server: RedisServer;
let stores = 0;

async function store(): Promise<SuiteStore> {
  const prefix = `suite${++stores}`;
  const clock = new FakeClock(Date.now());
  const log = createLog({ level: 'error', format: 'json', stream: { write: () => true } });
  const proxies: CuttingProxy[] = [];
  let proxy = await CuttingProxy.start(server.port);
  proxies.push(proxy);
  return {
    open(events) {
      const host: Partial<WorkerHost> = { clock, log, random: systemRandom, projectDir: import.meta.dirname };
      return openRedis(host as WorkerHost, { redis_url: `redis://127.0.0.1:${proxy.port}`, prefix }, events, TIME);
    },
    async cut() {
      const { port } = proxy;
      await proxy.stop();
      return async () => {
        proxy = await CuttingProxy.start(server.port, port);
        proxies.push(proxy);
      };
    },
    async pass(ms) {
      await server.command('INCRBY', `ahead:{${prefix}}:`, String(ms));
      await clock.advance(ms);
    },
    now: () => clock.now(),
    async remove() {
      await proxy.stop();
    },
  };
}

describe.skipIf(redisServerProgram === undefined)('on a Redis server', () => {
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterAll(() => server.stop());

  brokerSuite({ adapter: 'redis', capabilities: adapterCapabilities.redis, store });
});

describe.runIf(redisServerProgram === undefined)('on a Redis server', () => {
  it.skip('redis-server is not installed: apt-get install redis-server');
});
