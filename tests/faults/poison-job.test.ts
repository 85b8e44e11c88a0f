import { createEngine, type Engine } from '@trine/engine';
import { FakeClock, RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  Auditor,
  JobLog,
  LOSSES_THAT_END,
  readDeadLetters,
  waitUntilEmpty,
  type DeliveryFacts,
} from './audit/index.js';

const QUEUE = 'infirmary';
const TOPIC = 'infirmary.topic';
const POISON = 'poison::pill';
const HEALTHY = 'poison::vitamin';
/** Waits between the deliveries of a job whose worker is lost each time, in milliseconds. */
const WAITS_MS = [0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000];
const LATER_MS = 3_600_000;

describe('faults - a job that kills its worker each time', () => {
  let folder: TempFolder;
  let clock: FakeClock;
  let engine: Engine;
  let client: RawWorker;
  let fragile: RawWorker;
  let auditor: Auditor;
  let log: JobLog;
  let workers: number;

  beforeEach(async () => {
    folder = await tempFolder('trine-poison-');
    clock = new FakeClock();
    engine = await createEngine({
      cwd: folder.path,
      clock,
      logLevel: 'silent',
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'iii-queue', config: { queue_configs: { [QUEUE]: { concurrency: 2 } } } },
        ],
      },
    });
    await engine.start();
    client = await RawWorker.connect(engine.url);
    auditor = new Auditor();
    log = new JobLog(auditor, { maxFailures: 3 });
    workers = 0;
  });
  afterEach(async () => {
    for (const worker of [client, fragile]) worker.drop();
    await engine.stop({ drainMs: 0 });
    await folder.remove();
  });

  const enqueue = (functionId: string, data: object): Promise<unknown> =>
    client.call(functionId, data, { action: { type: 'enqueue', queue: QUEUE } });
  /** A worker that dies as soon as it gets the job, or one that lives. */
  const connect = async (dies: boolean, subscribes: boolean): Promise<void> => {
    const worker = (fragile = await RawWorker.connect(engine.url));
    const holder = `worker ${++workers}`;
    worker.serve(POISON, (data, frame) => {
      const { queue } = frame['metadata'] as { queue: DeliveryFacts };
      const lease = log.started((data as { id: string }).id, holder, queue);
      if (!dies) {
        if (lease !== undefined) log.succeeded(lease);
        return null;
      }
      log.gone(holder);
      worker.drop();
      return new Promise(() => undefined);
    });
    if (subscribes)
      worker.send({
        type: 'registertrigger',
        id: 'subscription',
        trigger_type: 'durable:subscriber',
        function_id: POISON,
        config: { topic: TOPIC },
      });
    worker.describe({ name: 'fragile' });
  };
  const starts = (count: number): Promise<unknown> =>
    waitFor(() => log.starts >= count, { what: `start ${count} of the job` });

  test.each([
    ['a named queue', QUEUE, false],
    ['a durable topic', TOPIC, true],
  ])(
    'of %s goes to the dead letters at the 11th loss in a row, and no sooner again than it may',
    async (_, name, isTopic) => {
      client.serve(HEALTHY, (data) => data);
      await connect(true, isTopic);
      const job = log.sent('pill');
      if (isTopic) {
        await waitFor(async () => {
          const known = (await client.call('engine::queue::subscriptions', { topic: TOPIC })) as unknown[];
          return known.length === 1;
        });
        await client.call('iii::durable::publish', { topic: TOPIC, data: { id: 'pill' } });
      } else {
        const { messageReceiptId } = (await enqueue(POISON, { id: 'pill' })) as { messageReceiptId: string };
        log.acknowledge(job, messageReceiptId);
      }
      await starts(1);

      for (const [at, waitMs] of WAITS_MS.entries()) {
        await connect(true, isTopic);
        if (waitMs > 0) {
          await waitFor(
            async () =>
              ((await client.call('engine::queue::topic_stats', { topic: name })) as { delayed: number }).delayed === 1,
            { what: 'the job to be delayed' },
          );
          // The others of its queue do not wait for it.
          await enqueue(HEALTHY, { n: at });
          await clock.advance(waitMs - 1);
          expect(log.starts, `starts ${waitMs - 1} ms after loss ${at + 1}`).toBe(at + 1);
          await clock.advance(1);
        }
        await starts(at + 2);
      }
      const letters = await waitFor(
        async () => {
          const found = await readDeadLetters(client, name);
          return found.length > 0 ? found : undefined;
        },
        { what: 'the dead letter' },
      );
      expect(letters).toMatchObject([{ error_code: 'worker_lost', retries: 0 }]);
      const { error } = letters[0] as unknown as { error: string };
      expect(error).toContain('fragile');
      expect(error).toContain(POISON);

      await connect(true, isTopic);
      await clock.advance(LATER_MS);
      await waitUntilEmpty(client, QUEUE, 10_000);
      expect(log.starts).toBe(LOSSES_THAT_END);
      log.audit(letters, () => false);
      expect(auditor.faults).toEqual([]);

      // Once its worker is mended it can be run again.
      fragile.drop();
      await connect(false, isTopic);
      await client.call('iii::queue::redrive', { queue: name });
      await starts(LOSSES_THAT_END + 1);
      await waitUntilEmpty(client, name, 10_000);
      expect(await readDeadLetters(client, name)).toEqual([]);
      expect(auditor.faults).toEqual([]);
    },
  );
});
