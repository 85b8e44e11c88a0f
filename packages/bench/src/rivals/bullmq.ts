import { createPostgresBackend, Queue, Worker, type Job } from 'bullmq';
import { packageVersion } from './package-version.js';
import type { Rival, RivalQueue } from './rival.js';
import type { PostgresAddress, RedisAddress } from './servers.js';

/** Jobs that one worker runs at once: what its documentation names for jobs that wait for others. */
const CONCURRENCY = 256;
const QUEUE = 'bench';
/** Nothing is kept of ended jobs, as in the others. */
const FORGET = { removeOnComplete: true } as const;

export function bullmqOnRedis(server: RedisAddress): Rival {
  const { host, port, version, appendfsync } = server;
  const connection = { host, port, maxRetriesPerRequest: null };
  return {
    name: `BullMQ on Redis, ${appendfsync === undefined ? 'default' : `appendfsync ${appendfsync}`}`,
    versions: `bullmq ${packageVersion('bullmq')}, ioredis ${packageVersion('ioredis')}, Redis ${version}`,
    guarantee:
      appendfsync === undefined
        ? 'in memory; a crash loses what came since the last snapshot, minutes'
        : appendfsync === 'always'
          ? 'in the append-only file, synced'
          : 'in the append-only file, synced within a second',
    open: () =>
      openBull(
        new Queue(QUEUE, { connection }),
        (run) => new Worker(QUEUE, run, { connection, concurrency: CONCURRENCY }),
      ),
  };
}

export function bullmqOnPostgres(server: PostgresAddress): Rival {
  const connection = { connectionString: server.url, max: 20, migrate: true };
  return {
    name: 'BullMQ on PostgreSQL',
    versions: `bullmq ${packageVersion('bullmq')}, pg ${packageVersion('pg')}, PostgreSQL ${server.version}`,
    guarantee: 'committed and synced',
    open: () =>
      openBull(
        new Queue(QUEUE, { connection }, createPostgresBackend),
        (run) => new Worker(QUEUE, run, { connection, concurrency: CONCURRENCY }, createPostgresBackend),
      ),
  };
}

interface BullQueue {
  on(event: 'error', listener: () => void): unknown;
  add(name: string, data: unknown, options: typeof FORGET): Promise<unknown>;
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
}

interface BullWorker {
  on(event: 'completed' | 'error', listener: () => void): unknown;
  close(force?: boolean): Promise<void>;
}

async function openBull(
  queue: BullQueue,
  start: (run: (job: Job) => Promise<null>) => BullWorker,
): Promise<RivalQueue> {
  // Told while its server stops; during a run a lost job fails the measurement anyway.
  queue.on('error', () => undefined);
  await queue.waitUntilReady();
  let worker: BullWorker | undefined;
  return {
    enqueue: (payload) => queue.add('job', payload, FORGET),

    async work(ended) {
      worker = start(() => Promise.resolve(null));
      worker.on('completed', ended);
      worker.on('error', () => undefined);
    },
    async close() {
      await worker?.close(true);
      await queue.close();
    },
  };
}
