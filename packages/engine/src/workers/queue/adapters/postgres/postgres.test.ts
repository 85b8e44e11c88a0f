import { CuttingProxy, postgresMissing, PostgresServer, StandingClock } from '@trine/testing';
import { afterAll, beforeAll, describe } from 'vitest';
import { createLog } from '../../../../core/log-writer.js';
import { systemRandom } from '../../../../core/random.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import { adapterCapabilities, type Broker } from '../index.js';
import { brokerSuite, type SuiteStore } from '../suite/index.js';
import { openPostgres } from './broker.js';
import { postgresConfig } from './config.js';

const missing = postgresMissing();
let server: PostgresServer;
let schemas = 0;

async function store(): Promise<SuiteStore> {
  const schema = `suite_${++schemas}`;
  const clock = new StandingClock();
  const log = createLog({ level: 'error', format: 'json', stream: { write: () => true } });
  const proxies = new Map<Broker, CuttingProxy>();
  let last: Broker | undefined;
  const setTime = (now = clock.now()): Promise<string> =>
    server.sql(
      `CREATE OR REPLACE FUNCTION ${schema}.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT ${now}::bigint'`,
      'jobs',
    );
  return {
    async open(events) {
      const proxy = await CuttingProxy.start(server.port);
      const host: Partial<WorkerHost> = { clock, log, random: systemRandom, projectDir: process.cwd() };
      const config = postgresConfig.parse({ database_url: server.url(proxy.port), schema });
      const broker = await openPostgres(host as WorkerHost, config, events);
      await setTime();
      proxies.set(broker, proxy);
      last = broker;
      return broker;
    },
    /** Its connections die without a word; its lease runs out. */
    async kill(broker) {
      await proxies.get(broker)?.stop();
      await broker.stop();
      await server.sql(`DELETE FROM ${schema}.engines`, 'jobs');
    },
    async cut() {
      const broker = last as Broker;
      const proxy = proxies.get(broker) as CuttingProxy;
      const { port } = proxy;
      await proxy.stop();
      return async () => void proxies.set(broker, await CuttingProxy.start(server.port, port));
    },
    async pass(ms) {
      await setTime(clock.now() + ms);
      clock.move(ms);
    },
    now: () => clock.now(),
    async remove() {
      for (const proxy of proxies.values()) await proxy.stop().catch(() => undefined);
      await server.sql(`DROP SCHEMA ${schema} CASCADE`, 'jobs');
    },
  };
}

describe.skipIf(missing !== undefined)(missing ?? 'postgres', () => {
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(() => server.stop());

  brokerSuite({ adapter: 'postgres', capabilities: adapterCapabilities.postgres, store });
});
