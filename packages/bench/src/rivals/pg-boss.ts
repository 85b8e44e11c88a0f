import PgBoss from 'pg-boss';
import { packageVersion } from './package-version.js';
import type { Rival } from './rival.js';
import type { PostgresAddress } from './servers.js';

const QUEUE = 'bench';
/** Jobs taken and completed at once, and loops that do so: `work` would wait half a second between two. */
const BATCH = 256;
const LOOPS = 4;

export function pgBoss(server: PostgresAddress): Rival {
  return {
    name: 'pg-boss',
    versions: `pg-boss ${packageVersion('pg-boss')}, PostgreSQL ${server.version}`,
    guarantee: 'committed and synced (jobs are taken and ended 256 at a time, in one statement)',
    async open() {
      const boss = new PgBoss({ connectionString: server.url, max: 20, supervise: false, schedule: false });
      // Told while its server stops; during a run a lost job fails the measurement anyway.
      boss.on('error', () => undefined);
      await boss.start();
      await boss.createQueue(QUEUE);
      let isRunning = true;
      let loops: Promise<void>[] = [];
      return {
        enqueue: (payload) => boss.send(QUEUE, payload),

        async work(ended) {
          const loop = async (): Promise<void> => {
            while (isRunning) {
              const jobs = await boss.fetch(QUEUE, { batchSize: BATCH });
              if (jobs.length === 0) return;
              await boss.complete(
                QUEUE,
                jobs.map(({ id }) => id),
              );
              for (let i = 0; i < jobs.length; i++) ended();
            }
          };
          loops = Array.from({ length: LOOPS }, loop);
        },
        async close() {
          isRunning = false;
          await Promise.all(loops);
          await boss.stop({ graceful: false, wait: true });
        },
      };
    },
  };
}
