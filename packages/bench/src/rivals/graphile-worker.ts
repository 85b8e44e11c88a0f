import { Logger, makeWorkerUtils, run, type Runner } from 'graphile-worker';
import { Pool } from 'pg';
import { packageVersion } from './package-version.js';
import type { Rival } from './rival.js';
import type { PostgresAddress } from './servers.js';

/** Settings of its documentation for throughput: many at once, fetched and completed in batches. */
const CONCURRENT_JOBS = 24;
const LOCAL_QUEUE_SIZE = 500;
const COMPLETE_BATCH_DELAY_MS = 0;

const silent = new Logger(() => () => undefined);

export function graphileWorker(server: PostgresAddress): Rival {
  return {
    name: 'graphile-worker',
    versions: `graphile-worker ${packageVersion('graphile-worker')}, PostgreSQL ${server.version}`,
    guarantee: 'committed and synced',
    async open() {
      const pgPool = new Pool({ connectionString: server.url, max: 26 });
      // Told while its server stops; during a run a lost job fails the measurement anyway.
      pgPool.on('error', () => undefined);
      const utils = await makeWorkerUtils({ pgPool, logger: silent });
      await utils.migrate();
      let runner: Runner | undefined;
      return {
        enqueue: (payload) => utils.addJob('job', payload),
        async work(ended) {
          runner = await run({
            pgPool,
            logger: silent,
            taskList: { job: () => Promise.resolve() },
            preset: {
              worker: {
                concurrentJobs: CONCURRENT_JOBS,
                localQueue: { size: LOCAL_QUEUE_SIZE },
                completeJobBatchDelay: COMPLETE_BATCH_DELAY_MS,
              },
            },
          });
          runner.events.on('job:complete', ended);
        },
        async close() {
          await runner?.stop();
          await utils.release();
          await pgPool.end();
        },
      };
    },
  };
}
