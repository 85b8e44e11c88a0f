/**
 * Wall time jumps, steady time goes on: what is relative (backoff, timeouts, heartbeats) follows the
 * steady clock; what names a moment or an age (retention) follows wall time.
 */
import { createEngine, type Engine } from '@trine/engine';
import { FakeClock, RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { Auditor, JobLog, readDeadLetters, waitUntilEmpty, type DeliveryFacts } from './audit/index.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const JUMPS = [
  ['an hour forward', HOUR_MS],
  ['an hour back', -HOUR_MS],
  ['a day forward', DAY_MS],
  ['a day back', -DAY_MS],
] as const;
const QUEUE = 'jumping';
const FUNCTION = 'jumping::job';
const TOPIC = 'jumping.topic';
const SUBSCRIBER = 'jumping::on-topic';
const BACKOFF_MS = 60_000;
const JOBS = 40;
const DELAY_MS = 600_000;
/** How long a wall clock that was set goes unnoticed, at most. */
const LOOK_MS = 60_000;
/** How often the queue looks at retention, see `SWEEP_EVERY_MS`. */
const SWEEP_MS = 10 * 60_000;

describe('faults - the wall clock jumps', () => {
  let folder: TempFolder;
  let clock: FakeClock;
  let engine: Engine;
  let worker: RawWorker;
  let auditor: Auditor;
  let log: JobLog;
  /** Deliveries of a job that fail. */
  let failures: number;
  /** What `SUBSCRIBER` got. */
  let received: unknown[];
  let runs: number;

  beforeEach(async () => {
    folder = await tempFolder('trine-jumps-');
    auditor = new Auditor();
    log = new JobLog(auditor, { maxFailures: 5 });
    failures = 1;
    received = [];
    runs = 0;
  });
  afterEach(async () => {
    worker.drop();
    await engine.stop({ drainMs: 0 });
    await folder.remove();
  });

  const start = async (at?: number): Promise<void> => {
    clock = new FakeClock(at);
    engine = await createEngine({
      cwd: folder.path,
      clock,
      logLevel: 'silent',
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'iii-queue', config: { queue_configs: { [QUEUE]: { max_retries: 5, backoff_ms: BACKOFF_MS } } } },
        ],
      },
    });
    await engine.start();
    worker = await RawWorker.connect(engine.url);
    const holder = `engine ${++runs}`;
    worker.serve(FUNCTION, (data, frame) => {
      const { queue } = frame['metadata'] as { queue: DeliveryFacts };
      const lease = log.started((data as { id: string }).id, holder, queue);
      if (lease === undefined) return null;
      if (queue.attempt > failures) return log.succeeded(lease);
      log.failed(lease);
      throw new Error('on purpose');
    });
  };
  /** @param extra - more of the enqueue call's input, by the clock of the moment */
  const enqueue = async (extra: object = {}): Promise<void> => {
    await Promise.all(
      Array.from({ length: JOBS }, async (_, i) => {
        const job = log.sent(String(i));
        const request = { queue: QUEUE, function_id: FUNCTION, data: { id: job.id }, ...extra };
        const receipt = await worker.call('iii::queue::enqueue', request);
        log.acknowledge(job, (receipt as { messageReceiptId: string }).messageReceiptId);
      }),
    );
  };
  const stats = async (topic: string): Promise<{ depth: number; delayed: number }> =>
    (await worker.call('engine::queue::topic_stats', { topic })) as { depth: number; delayed: number };
  const delayed = (count: number): Promise<unknown> =>
    waitFor(async () => (await stats(QUEUE)).delayed === count, { what: `${count} delayed jobs` });
  const starts = (count: number): Promise<unknown> => waitFor(() => log.starts === count, { what: `${count} starts` });
  const subscribe = async (): Promise<void> => {
    worker.serve(SUBSCRIBER, (data) => void received.push(data));
    worker.send({
      type: 'registertrigger',
      id: 'subscription',
      trigger_type: 'durable:subscriber',
      function_id: SUBSCRIBER,
      config: { topic: TOPIC },
    });
    await waitFor(async () => {
      const known = (await worker.call('engine::queue::subscriptions', { topic: TOPIC })) as unknown[];
      return known.length === 1;
    });
  };
  const publish = (data: unknown): Promise<unknown> => worker.call('iii::durable::publish', { topic: TOPIC, data });
  /** Lets time pass until something has happened: reads of the disk do not wait for the clock. */
  const passUntil = (everyMs: number, check: () => boolean | Promise<boolean>, what: string): Promise<unknown> =>
    waitFor(
      async () => {
        await clock.advance(everyMs);
        return check();
      },
      { what },
    );
  const audit = async (): Promise<void> => {
    await waitUntilEmpty(worker, QUEUE, 10_000);
    log.audit(await readDeadLetters(worker, QUEUE), () => false);
    expect(auditor.faults).toEqual([]);
  };

  test.each(JUMPS)('%s: no retry comes sooner or later, none twice', async (_, jumpMs) => {
    const random = new SeededRandom(testSeed('clock jumps'));
    failures = 2;
    await start();
    await enqueue();
    await starts(JOBS);
    await delayed(JOBS);
    const before = random.between(1, BACKOFF_MS - 2);
    await clock.advance(before);
    clock.jump(jumpMs);
    await clock.advance(BACKOFF_MS - 1 - before);
    expect(log.starts).toBe(JOBS);
    await clock.advance(1);
    await starts(2 * JOBS);

    // And back again, during the second wait, which is twice as long.
    await delayed(JOBS);
    await clock.advance(random.between(1, BACKOFF_MS));
    clock.jump(-jumpMs);
    expect(log.starts).toBe(2 * JOBS);
    await passUntil(BACKOFF_MS / 4, () => log.starts === 3 * JOBS, 'the last retries');
    await audit();
  });

  test.each([
    ['in spring', Date.UTC(2026, 2, 29, 1), [1, 3]],
    ['in autumn', Date.UTC(2026, 9, 25, 1), [2, 2]],
  ] as const)('daylight saving time changes %s: no retry notices', async (_, changeAt, [hourBefore, hourAfter]) => {
    const zone = process.env['TZ'];
    process.env['TZ'] = 'Europe/Berlin';
    try {
      await start(changeAt - BACKOFF_MS / 2);
      expect(new Date(clock.now()).getHours()).toBe(hourBefore);
      await enqueue();
      await starts(JOBS);
      await delayed(JOBS);
      await clock.advance(BACKOFF_MS - 1);
      expect(new Date(clock.now()).getHours()).toBe(hourAfter);
      expect(log.starts).toBe(JOBS);
      await clock.advance(1);
      await starts(2 * JOBS);
      await audit();
    } finally {
      if (zone === undefined) delete process.env['TZ'];
      else process.env['TZ'] = zone;
    }
  });

  test.each(JUMPS)(
    '%s while the engine is down: no retry waits longer than it was to wait, none is charged',
    async (_, jumpMs) => {
      await start();
      await enqueue();
      await starts(JOBS);
      await delayed(JOBS);
      await clock.advance(BACKOFF_MS / 4);
      const stoppedAt = clock.now();
      worker.drop();
      await engine.stop();

      await start(stoppedAt + jumpMs);
      if (jumpMs < 0) {
        await delayed(JOBS);
        await clock.advance(BACKOFF_MS);
      } else {
        await clock.advance(1);
      }
      await starts(2 * JOBS);
      await audit();
    },
  );

  test.each(JUMPS)('%s: a delay is as long as it was to be', async (_, jumpMs) => {
    failures = 0;
    await start();
    await enqueue({ delay_ms: DELAY_MS });
    await clock.advance(DELAY_MS / 2);
    clock.jump(jumpMs);
    await clock.advance(DELAY_MS / 2 - 1);
    expect(log.starts).toBe(0);
    await clock.advance(1);
    await starts(JOBS);
    await audit();
  });

  test.each(JUMPS)('%s: a job that names a time runs when the wall clock shows it', async (_, jumpMs) => {
    failures = 0;
    await start();
    await enqueue({ run_at: clock.now() + 2 * HOUR_MS });
    await clock.advance(LOOK_MS);
    clock.jump(jumpMs);
    const leftMs = 2 * HOUR_MS - LOOK_MS - jumpMs;
    if (leftMs > 0) {
      await clock.advance(leftMs - 1);
      expect(log.starts).toBe(0);
    }
    // The engine reads the wall clock again within a minute.
    await clock.advance(LOOK_MS);
    await starts(JOBS);
    await audit();
  });

  test.each(JUMPS)('%s: a job that waits expires when the wall clock says so', async (_, jumpMs) => {
    await start();
    const job = { queue: QUEUE, function_id: 'jumping::absent', data: null, expires_in_ms: 2 * HOUR_MS };
    const { messageReceiptId } = (await worker.call('iii::queue::enqueue', job)) as { messageReceiptId: string };
    const state = async (): Promise<unknown> =>
      ((await worker.call('iii::queue::job', { receipt: messageReceiptId })) as { state: unknown }).state;
    await clock.advance(LOOK_MS);
    clock.jump(jumpMs);
    const leftMs = 2 * HOUR_MS - LOOK_MS - jumpMs;
    if (leftMs > 0) {
      await clock.advance(leftMs - 1);
      expect(await state()).toBe('waiting');
    }
    await clock.advance(LOOK_MS);
    await waitFor(async () => (await state()) === 'expired', { what: 'the job to expire' });
  });

  test.each(JUMPS)('%s: connections stay, and a call keeps its time', async (_, jumpMs) => {
    await start();
    const caller = engine.worker('caller');
    const calls: ((value: unknown) => void)[] = [];
    worker.serve('jumping::slow', () => new Promise((resolve) => calls.push(resolve)));
    await waitFor(() =>
      caller.trigger({ function_id: 'engine::functions::info', payload: { function_id: 'jumping::slow' } }),
    );
    const call = caller.trigger({ function_id: 'jumping::slow', timeoutMs: 30_000 });
    await waitFor(() => calls.length === 1);
    clock.jump(jumpMs);
    await clock.advance(29_000);
    expect(worker.isOpen).toBe(true);
    calls[0]?.('in time');
    expect(await call).toBe('in time');
    const late = expect(caller.trigger({ function_id: 'jumping::slow', timeoutMs: 30_000 })).rejects.toThrow(
      expect.objectContaining({ code: 'TIMEOUT' }),
    );
    await waitFor(() => calls.length === 2);
    clock.jump(-jumpMs);
    await clock.advance(30_000);
    await late;
  });

  test.each(JUMPS)(
    '%s: messages that wait for a first subscription are as old as the wall clock says',
    async (_, jumpMs) => {
      await start();
      await publish('held');
      clock.jump(jumpMs);
      await clock.advance(SWEEP_MS);
      if (jumpMs >= DAY_MS) {
        await passUntil(SWEEP_MS, async () => (await stats(TOPIC)).depth === 0, 'the message to expire');
        await subscribe();
        await publish('later');
        await waitFor(() => received.length > 0);
        expect(received).toEqual(['later']);
        return;
      }
      await subscribe();
      await waitFor(() => received.length > 0);
      expect(received).toEqual(['held']);
    },
  );

  test.each(JUMPS)('%s: a subscription whose worker is away does not end', async (_, jumpMs) => {
    await start();
    await subscribe();
    worker.drop();
    const before = worker;
    worker = await RawWorker.connect(engine.url);
    expect(before.isOpen).toBe(false);
    await waitFor(async () => {
      const [known] = (await worker.call('engine::queue::subscriptions', { topic: TOPIC })) as { state: string }[];
      return known?.state === 'offline';
    });
    clock.jump(jumpMs);
    await clock.advance(2 * SWEEP_MS);
    await publish('while away');
    await subscribe();
    await waitFor(() => received.length > 0);
    expect(received).toEqual(['while away']);
  });
});
