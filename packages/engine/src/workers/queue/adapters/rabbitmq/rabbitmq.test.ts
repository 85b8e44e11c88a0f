import { CuttingProxy, RabbitServer } from '@trine/testing';
import { afterAll, beforeAll, describe } from 'vitest';
import { adapterCapabilities } from '../index.js';
import { brokerSuite, type SuiteStore } from '../suite/index.js';
import { fixtureHost } from './fixtures/host.js';
import { openRabbit } from './broker.js';
import { rabbitConfig } from './config.js';

/** One virtual host per test of the suites. */
const VHOSTS = 60;

describe.skipIf(RabbitServer.missing !== undefined)(
  `rabbitmq adapter${RabbitServer.missing === undefined ? '' : `: ${RabbitServer.missing}`}`,
  () => {
    let server: RabbitServer;
    let proxy: CuttingProxy;
    let used = 0;

    beforeAll(async () => {
      server = await RabbitServer.start();
      proxy = await CuttingProxy.start(server.port);
      await server.addVhosts(Array.from({ length: VHOSTS }, (_, i) => `suite${i}`));
    }, 90_000);
    afterAll(async () => {
      await proxy.stop();
      await server.stop();
    });

    async function store(): Promise<SuiteStore> {
      const vhost = `suite${used++}`;
      const told: string[] = [];
      const config = rabbitConfig.parse({ amqp_url: `amqp://guest:guest@127.0.0.1:${proxy.port}/${vhost}` });
      return {
        open: (events) => openRabbit(fixtureHost(undefined, told), config, events),
        async cut() {
          proxy.refusing = true;
          proxy.cut();
          return async () => void (proxy.refusing = false);
        },
        pass: (ms) => new Promise((go) => setTimeout(go, ms)),
        now: () => Date.now(),
        said: (text) => told.filter((line) => line.includes(text)).length,
        remove: async () => undefined,
      };
    }

    brokerSuite({ adapter: 'rabbitmq', capabilities: adapterCapabilities.rabbitmq, store });
  },
);
