import { createEngine } from '@trine/engine';
import { tempFolder, waitFor } from '@trine/testing';
import { expect, test } from 'vitest';
import { ReconnectingClient, type Delivery } from '../support/reconnecting-client.js';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { Auditor, JobLog, readDeadLetters, waitUntilEmpty } from './audit/index.js';
import { pause } from './kill/timeline.js';
import { reportRun, sizeOf } from './report.js';

/** Groups, and jobs in each. */
const SIZE = sizeOf('TRINE_GROUPS', 100);
const QUEUE = 'storm';
const FUNCTION = 'storm::job';
const WORKERS = 4;
/** Groups that run at once. */
const CONCURRENCY = 64;
const MAX_FAILURES = 3;
const MAX_HANDLER_MS = 3;
/** Share of jobs whose handler fails once, and of those whose handler always fails. */
const FLAKY = 0.1;
const POISON = 0.005;
/** Enqueues in flight. */
const PRODUCERS = 128;
/** A worker loses its connection each time this many jobs have started. */
const STARTS_PER_CUT = 200;
/** Share of cuts after which the worker stays away until the next one. */
const AWAY = 0.3;
const DEADLINE_MS = 120_000 + SIZE * SIZE * 6;

interface JobData {
  readonly id: string;
  readonly group: string;
  readonly number: number;
}

test(
  `faults - ${SIZE} groups of ${SIZE} jobs with failures, lost workers and reconnects: the order of every group holds`,
  { timeout: DEADLINE_MS },
  async () => {
    const seed = testSeed('fifo storm');
    const random = new SeededRandom(seed);
    const auditor = new Auditor();
    const log = new JobLog(auditor, { maxFailures: MAX_FAILURES, inOrder: true });
    const folder = await tempFolder('trine-storm-');
    const queue = { type: 'fifo', message_group_field: 'group', concurrency: CONCURRENCY, max_retries: MAX_FAILURES };
    const engine = await createEngine({
      cwd: folder.path,
      logLevel: 'error',
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'iii-queue', config: { queue_configs: { [QUEUE]: { ...queue, backoff_ms: 5 } } } },
        ],
      },
    });
    await engine.start();
    const client = new ReconnectingClient(engine.url);
    const flaky = new Set<string>();
    const poison = new Set<string>();
    let cuts = 0;

    const handle = async ({ data, metadata, connection }: Delivery): Promise<null> => {
      const { id } = data as JobData;
      const lease = log.started(id, connection, metadata?.queue);
      if (log.starts % STARTS_PER_CUT === 0) cut();
      if (lease === undefined) return null;
      await pause(random.between(0, MAX_HANDLER_MS));
      if (poison.has(id) || flaky.delete(id)) {
        log.failed(lease);
        throw new Error('this handler fails on purpose');
      }
      log.succeeded(lease);
      return null;
    };
    const workers = Array.from({ length: WORKERS }, () => new ReconnectingClient(engine.url, 'storm'));
    // Each one has names of its own for its connections.
    const holderOf = (worker: ReconnectingClient): string => `${workers.indexOf(worker)}/${worker.connection}`;
    for (const [at, worker] of workers.entries())
      worker.serve(FUNCTION, (delivery) => handle({ ...delivery, connection: `${at}/${delivery.connection}` }));
    let away: ReconnectingClient | undefined;
    const cut = (): void => {
      cuts++;
      away?.start();
      away = undefined;
      const worker = random.pick(workers.filter((each) => each.isOpen));
      log.gone(holderOf(worker));
      if (!random.chance(AWAY)) return worker.cut();
      worker.stop();
      away = worker;
    };

    /** Jobs that were made, by group: a group's are sent in order, several of them in flight. */
    const made: JobData[] = [];
    const next = (): JobData => {
      const at = made.length;
      const data = {
        id: `${at % SIZE}-${Math.floor(at / SIZE) + 1}`,
        group: `group ${at % SIZE}`,
        number: Math.floor(at / SIZE) + 1,
      };
      made.push(data);
      if (random.chance(FLAKY)) flaky.add(data.id);
      else if (random.chance(POISON)) poison.add(data.id);
      return data;
    };
    const produce = async (): Promise<void> => {
      while (made.length < SIZE * SIZE) {
        const data = next();
        const job = log.sent(data.id, data);
        const answer = await client.ask(FUNCTION, data, { type: 'enqueue', queue: QUEUE });
        if (answer.kind !== 'result') auditor.tell('refused', `${data.id}: ${JSON.stringify(answer)}`);
        else log.acknowledge(job, (answer.result as { messageReceiptId: unknown }).messageReceiptId);
      }
    };

    try {
      for (const each of [client, ...workers]) each.start();
      await Promise.all([client, ...workers].map((each) => each.connected()));
      await Promise.all(Array.from({ length: PRODUCERS }, produce));
      await waitFor(() => log.unfinished === 0, { timeoutMs: DEADLINE_MS, everyMs: 50, what: 'all jobs to end' });
      away?.start();
      await waitUntilEmpty(client, QUEUE, DEADLINE_MS);
      log.audit(await readDeadLetters(client, QUEUE), (id) => poison.has(id));
      auditor.checkAnswers(client);
      expect(auditor.faults).toEqual([]);
      expect(log.acknowledged).toBe(SIZE * SIZE);
      expect(log.redelivered).toBeGreaterThan(0);
      expect(log.failures).toBeGreaterThan(0);
      reportRun({
        test: 'fifo groups (F14)',
        seed,
        counts: {
          groups: SIZE,
          jobs: log.acknowledged,
          'lost connections': cuts,
          'deliveries cut off': log.lost,
          'handler failures': log.failures,
          'dead letters': poison.size,
        },
      });
    } finally {
      for (const each of [client, ...workers]) each.stop();
      await engine.stop({ drainMs: 0 });
      await folder.remove();
    }
  },
);
