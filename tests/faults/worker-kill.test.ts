import { createEngine } from '@trine/engine';
import { tempFolder, waitFor } from '@trine/testing';
import { expect, test } from 'vitest';
import { ReconnectingClient } from '../support/reconnecting-client.js';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { Auditor, JobLog, readDeadLetters, waitUntilEmpty } from './audit/index.js';
import { MortalWorkers } from './kill/mortal-workers.js';
import { reportRun, sizeOf } from './report.js';

const KILLS = sizeOf('TRINE_KILLS', 20);
const QUEUE = 'mortal';
const FUNCTION = 'mortal::job';
const WORKERS = 4;
const CONCURRENCY = 12;
const MAX_FAILURES = 3;
const MAX_WORK_MS = 60;
/** Jobs that succeed from one kill to the next: most deliveries are not cut off. */
const BETWEEN_KILLS = 20;
/** New jobs are made while this many wait. */
const WAITING = 40;
/** Jobs of which some fail once or twice, and some each time. */
const FAILURES = [0, 0, 0, 0, 0, 1, 1, 2, MAX_FAILURES] as const;
const DEADLINE_MS = 120_000;

test(
  `faults - ${KILLS} workers are killed in the middle of their jobs: every job ends, and no kill spends an attempt`,
  { timeout: DEADLINE_MS + KILLS * 5_000 },
  async () => {
    const seed = testSeed('worker kills');
    const random = new SeededRandom(seed);
    const auditor = new Auditor();
    const log = new JobLog(auditor, { maxFailures: MAX_FAILURES });
    const folder = await tempFolder('trine-mortal-');
    const queues = { [QUEUE]: { concurrency: CONCURRENCY, max_retries: MAX_FAILURES, backoff_ms: 20 } };
    const engine = await createEngine({
      cwd: folder.path,
      logLevel: 'error',
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'iii-queue', config: { queue_configs: queues } },
        ],
      },
    });
    await engine.start();
    const client = new ReconnectingClient(engine.url);
    const workers = new MortalWorkers(engine.url, FUNCTION);
    const alwaysFail = new Set<string>();
    let producing = true;
    const produce = async (): Promise<void> => {
      while (producing) {
        const { depth } = await client.call<{ depth: number }>('engine::queue::topic_stats', { topic: QUEUE });
        const jobs = Array.from({ length: Math.max(0, WAITING - depth) }, () => enqueue());
        await (jobs.length > 0 ? Promise.all(jobs) : new Promise((resolve) => setTimeout(resolve, 5)));
      }
    };
    const enqueue = async (): Promise<void> => {
      const id = String(log.size);
      const failures = random.pick(FAILURES);
      if (failures >= MAX_FAILURES) alwaysFail.add(id);
      const job = log.sent(id);
      const data = { id, failures, workMs: random.between(0, MAX_WORK_MS) };
      const answer = await client.ask(FUNCTION, data, { type: 'enqueue', queue: QUEUE });
      if (answer.kind !== 'result') auditor.tell('refused', `${id}: ${JSON.stringify(answer)}`);
      else log.acknowledge(job, (answer.result as { messageReceiptId: unknown }).messageReceiptId);
    };
    try {
      client.start();
      await client.connected();
      for (let i = 0; i < WORKERS; i++) workers.start();
      const produced = produce();
      for (let kill = 1; kill <= KILLS; kill++) {
        const before = workers.succeeded;
        await waitFor(() => workers.succeeded >= before + BETWEEN_KILLS, { timeoutMs: DEADLINE_MS, what: 'work done' });
        await workers.killOne((from) => random.pick(from), DEADLINE_MS);
        workers.start();
      }
      producing = false;
      await produced;
      await waitUntilEmpty(client, QUEUE, DEADLINE_MS);
      await workers.stop();
      workers.replay(log);
      log.audit(await readDeadLetters(client, QUEUE), (id) => alwaysFail.has(id));
      auditor.checkAnswers(client);
      expect(auditor.faults).toEqual([]);
      // A run in which no job was cut off in its handler would have shown nothing.
      expect(log.lost).toBeGreaterThanOrEqual(KILLS / 2);
      expect(log.redelivered).toBeGreaterThan(0);
      reportRun({
        test: 'workers killed in their jobs (F2)',
        seed,
        counts: {
          kills: KILLS,
          jobs: log.acknowledged,
          'deliveries cut off': log.lost,
          'handler failures': log.failures,
          'dead letters': alwaysFail.size,
        },
      });
    } finally {
      producing = false;
      client.stop();
      await workers.stop();
      await engine.stop({ drainMs: 0 });
      await folder.remove();
    }
  },
);
