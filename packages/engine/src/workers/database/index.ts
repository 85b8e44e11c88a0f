import { defineWorker } from '../../core/worker-host.js';
import { databaseConfig, defaultBlock, type DatabaseConfig } from './config.js';
import { Databases } from './databases.js';
import { registerDatabaseFunctions } from './functions.js';
import { PreparedStatements } from './prepared.js';

/** SQL for workers: SQLite files, each with a thread of its own. */
export const databaseWorker = defineWorker<DatabaseConfig>({
  name: 'database',
  aliases: ['iii-database'],
  description: 'SQL databases (SQLite): queries, statements and transactions',
  config: databaseConfig,
  defaultBlock,

  async start(host, config) {
    const databases = new Databases({ projectDir: host.projectDir, clock: host.clock, log: host.log });
    await databases.apply(config);
    const prepared = new PreparedStatements(host.clock, host.random);
    registerDatabaseFunctions(host, databases, prepared);
    return {
      async reconfigure(next) {
        await databases.apply(next as DatabaseConfig);
        prepared.keepOnly((name) => databases.has(name));
      },
      async stop() {
        prepared.stop();
        await databases.close();
      },
    };
  },
});
