import { join } from 'node:path';
import Database from 'better-sqlite3';
import { FakeClock, tempFolder, waitFor } from '@trine/testing';
import { describe, expect, it } from 'vitest';
import { systemRandom } from '../../../../core/random.js';
import type { Storage, Store, StoreValue } from '../../../../core/store.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import { StorageThreads } from '../../../../storage/index.js';
import { adapterCapabilities, type SubscriptionSettings } from '../index.js';
import { brokerSuite, House, suiteLog, type SuiteStore } from '../suite/index.js';
import { MANY_DEAD_LETTERS } from '../rules.js';
import { MAX_UNCOMMITTED_ENDS } from './bounds.js';
import { openBuiltin } from './durability.js';

/** @param gate - what a write of the queue waits for, by the name of the operation */
async function store(
  gate: (operation: string) => Promise<void> | undefined = () => undefined,
): Promise<SuiteStore & { readonly file: string }> {
  const folder = await tempFolder();
  const clock = new FakeClock();
  const { log, said } = suiteLog();
  const threads: StorageThreads[] = [];
  return {
    file: join(folder.path, 'data', 'engine.db'),
    async open(events) {
      const storage = new StorageThreads({ projectDir: folder.path, dataDir: join(folder.path, 'data') });
      threads.push(storage);
      const gated: Storage = {
        open: async (options) => gatedStore(await storage.open(options), gate),
        health: () => storage.health(),
      };
      const host: Partial<WorkerHost> = { clock, log, random: systemRandom, storage: gated };
      const broker = await openBuiltin(host as WorkerHost, undefined, events);
      const stop = broker.stop.bind(broker);
      // The folder's lock belongs to the storage of one engine: it goes with its broker.
      broker.stop = async () => {
        await stop();
        await storage.stop();
      };
      return broker;
    },
    pass: (ms) => clock.advance(ms),
    now: () => clock.now(),
    said,
    async remove() {
      await Promise.all(threads.map((storage) => storage.stop()));
      await folder.remove();
    },
  };
}

function gatedStore(store: Store, gate: (operation: string) => Promise<void> | undefined): Store {
  return {
    ...store,
    write: <T>(operation: string, ...args: StoreValue[]) => {
      const open = gate(operation);
      return open === undefined
        ? store.write<T>(operation, ...args)
        : open.then(() => store.write<T>(operation, ...args));
    },
    as: (durability) => gatedStore(store.as(durability), gate),
  };
}

brokerSuite({ adapter: 'builtin', capabilities: adapterCapabilities.builtin, store: () => store() });

describe('the builtin broker', () => {
  it('keeps the order of a message, the first subscription and another message that come in one turn', async () => {
    const under = await store();
    try {
      const broker = await under.open({
        ready: () => undefined,
        missing: () => undefined,
        expired: () => undefined,
        topicRules: () => ({ replayRetentionMs: 0, subscriptionRetentionMs: 3_600_000 }),
      });
      const spec = { kind: 'subscription', name: 'news', namespace: 'default', functionId: 'reader' } as const;
      const settings: SubscriptionSettings = {
        fifo: true,
        maxAttempts: 3,
        backoffMs: 0,
        maxBacklog: 100,
        maxBacklogBytes: 1_000_000,
        concurrency: 1,
        timeoutMs: 1_000,
        maxBackoffMs: 1_000,
        jitter: 0,
        consumers: 'replicas',
      };
      const publish = (data: string): Promise<void> =>
        broker.publish({ topic: 'news', data, traceparent: undefined, baggage: undefined, createdAt: under.now() });
      const [, line] = await Promise.all([publish('1'), broker.subscribe(spec, settings), publish('2')]);
      const seen: string[] = [];
      await waitFor(async () => {
        const lease = broker.reserve(line);
        if (lease === undefined) return false;
        seen.push(lease.job.data);
        await broker.settle(lease, { kind: 'done' });
        return seen.length === 2;
      });
      expect(seen).toEqual(['1', '2']);
      await broker.stop();
    } finally {
      await under.remove();
    }
  });

  it('does not run a job that is being taken back, though its lane is read again before that is stored', async () => {
    let reached = false;
    let release!: () => void;
    const released = new Promise<void>((go) => (release = go));
    const under = await store((operation) => {
      if (operation !== 'endMany') return undefined;
      reached = true;
      return released;
    });
    const house = await House.open(under);
    try {
      const line = await house.queue();
      await house.accept(line, 'first');
      const receipt = await house.accept(line, 'second');
      const cancelled = house.broker.cancel?.(receipt);
      await waitFor(() => reached);
      house.vanish('f');
      expect(await house.nothing(line)).toBe(true); // the lane is parked and lets its window go
      house.appear('f');
      const lease = await house.lease(line);
      expect(lease.job.data).toBe('"first"');
      await house.broker.settle(lease, { kind: 'done' });
      expect(await house.nothing(line)).toBe(true);
      release();
      expect(await cancelled).toBe('cancelled');
      expect(await house.broker.stats([line])).toMatchObject({ waiting: 0, running: 0 });
    } finally {
      release();
      await house.stop();
      await under.remove();
    }
  });

  it('ends a delivery whose message was moved to the quarantine meanwhile', async () => {
    const under = await store();
    const house = await House.open(under);
    try {
      const line = await house.subscription('f');
      await house.broker.publish(house.message(1));
      const lease = await house.lease(line);
      const file = new Database(under.file);
      expect(file.prepare('DELETE FROM queue_messages').run().changes).toBe(1);
      file.close();
      await house.broker.settle(lease, { kind: 'done' });
      expect(house.broker.health()).toEqual({ state: 'ready' });
      expect(await house.broker.stats([line])).toMatchObject({ waiting: 0, running: 0 });
    } finally {
      await house.stop();
      await under.remove();
    }
  });

  it('gives a unique key to the next job when the one that had it is in the quarantine', async () => {
    const under = await store();
    const house = await House.open(under);
    try {
      const line = await house.queue();
      const extras = { uniqueKey: 'k' };
      const receipt = await house.accept(line, 1, { extras });
      expect(await house.broker.accept(line, house.job(2, { extras }))).toEqual({ receipt, deduplicated: true });
      const file = new Database(under.file);
      expect(file.prepare('DELETE FROM queue_jobs').run().changes).toBe(1);
      file.close();
      expect((await house.broker.accept(line, house.job(2, { extras }))).deduplicated).toBe(false);
    } finally {
      await house.stop();
      await under.remove();
    }
  });

  it('has one job for a receipt that the client chose, however often it is sent and whatever became of it', async () => {
    const under = await store();
    const house = await House.open(under);
    try {
      const line = await house.queue();
      const again = { receipt: 'mine', deduplicated: true };
      const send = (receipt = 'mine'): unknown => house.broker.accept(line, house.job(1, { receipt }));
      const answers = await Promise.all([send(), send()]);
      expect(answers).toEqual([{ ...again, deduplicated: false }, again]);
      expect(await house.broker.acceptMany?.([{ line, job: house.job(1, { receipt: 'mine' }) }])).toEqual([again]);
      const lease = await house.lease(line);
      expect(await send()).toEqual(again);
      const end = { error: 'no', code: 'no', attempts: 1, lost: 0, failures: [] };
      await house.broker.settle(lease, { kind: 'dead', ...end });
      expect(await send()).toEqual(again);
      await house.broker.redrive(line);
      expect(await send()).toEqual(again);
      expect(await house.drain(line, 1)).toEqual([1]);
      expect(await send()).toEqual(again);
      expect(await house.nothing(line)).toBe(true);
      expect(await send('other')).toEqual({ receipt: 'other', deduplicated: false });
    } finally {
      await house.stop();
      await under.remove();
    }
  });

  it('drops what is over the bytes of a backlog in a few steps, and not more than that', async () => {
    let steps = 0;
    const under = await store((operation) => {
      if (operation === 'expire' || operation === 'endStored') steps++;
      return undefined;
    });
    const house = await House.open(under);
    try {
      house.functions.clear();
      const line = await house.subscription('f', { maxBacklogBytes: 10_000 });
      const text = 'x'.repeat(98); // 100 with its quotes
      await Promise.all(Array.from({ length: 1_000 }, () => house.broker.publish(house.message(text))));
      await waitFor(async () => (await house.broker.stats([line])).bytes <= 10_000, { what: 'the backlog fits' });
      expect(await house.broker.stats([line])).toMatchObject({ bytes: 10_000, waiting: 100 });
      expect(line.expired).toBe(900);
      expect(steps).toBeLessThan(50);
    } finally {
      await house.stop();
      await under.remove();
    }
  });

  it('starts nothing more while a thousand ends are not stored yet', async () => {
    let open = true;
    let release!: () => void;
    const released = new Promise<void>((go) => (release = go));
    const under = await store(() => (open ? undefined : released));
    const house = await House.open(under);
    try {
      const line = await house.queue({}, 'q', 2_000);
      await Promise.all(Array.from({ length: MAX_UNCOMMITTED_ENDS + 100 }, (_, i) => house.accept(line, i)));
      open = false;
      const ends: Promise<void>[] = [];
      for (let i = 0; i < MAX_UNCOMMITTED_ENDS; i++) {
        const lease = await house.lease(line);
        ends.push(house.broker.settle(lease, { kind: 'done' }));
      }
      expect(house.broker.reserve(line)).toBeUndefined();
      expect((await house.broker.stats([line])).waiting).toBe(100);
      release();
      await Promise.all(ends);
      expect(await house.drain(line, 100)).toHaveLength(100);
    } finally {
      await house.stop();
      await under.remove();
    }
  });

  it('warns once when ten thousand dead letters lie there', async () => {
    const under = await store();
    const house = await House.open(under);
    try {
      const line = await house.queue({}, 'q', 1_000);
      const dies = async (): Promise<void> => {
        const failures = [{ at: 1, error: 'no' }];
        const how = { kind: 'dead', error: 'no', code: 'invocation_failed', attempts: 1, lost: 0, failures } as const;
        await house.broker.settle(await house.lease(line), how);
      };
      const dieTogether = async (count: number): Promise<void> => {
        await Promise.all(Array.from({ length: count }, (_, i) => house.accept(line, i)));
        for (let left = count; left > 0; left -= 500)
          await Promise.all(Array.from({ length: Math.min(500, left) }, dies));
      };
      await dieTogether(MANY_DEAD_LETTERS - 1);
      expect(under.said('many dead letters')).toBe(0);
      await dieTogether(2);
      expect(under.said('many dead letters')).toBe(1);
      expect(await house.broker.purge?.(line, 'dead')).toBe(MANY_DEAD_LETTERS + 1);
    } finally {
      await house.stop();
      await under.remove();
    }
  });

  it('ends many jobs that expire together, also over a restart, and those that expire before them', async () => {
    const under = await store();
    const house = await House.open(under);
    try {
      let line = await house.queue();
      const accept = (count: number, expiresInMs: number): Promise<unknown> =>
        house.broker.acceptMany!(
          Array.from({ length: count }, (_, i) => ({
            line,
            job: house.job(i, { extras: { expiresAt: under.now() + expiresInMs } }),
          })),
        );
      await accept(3, 1_000);
      await house.drain(line, 3);
      await accept(900, 5_000);
      await accept(700, 6_000);
      await accept(5, 3_600_000);
      await house.restart();
      line = await house.queue();
      await house.accept(line, 'sooner', { extras: { expiresAt: under.now() + 2_000 } });
      const waiting = async (count: number): Promise<unknown> =>
        waitFor(
          async () => {
            await under.pass(0); // a timer that was set for what is over already
            return (await house.broker.stats([line])).waiting === count;
          },
          { what: `${count} jobs wait` },
        );
      await under.pass(2_000);
      await waiting(1_605);
      await under.pass(3_000);
      await waiting(705);
      await under.pass(1_000);
      await waiting(5);
      await house.accept(line, 'later', { extras: { expiresAt: under.now() + 500 } });
      await under.pass(500);
      await waiting(5);
    } finally {
      await house.stop();
      await under.remove();
    }
  });

  it('does not count a damaged job for ever when the delayed ones are purged', async () => {
    const under = await store();
    const house = await House.open(under);
    try {
      const line = await house.queue();
      const extras = { delayMs: 60_000 };
      await house.accept(line, 'damaged', { extras });
      await house.accept(line, 'sound', { extras });
      const file = new Database(under.file);
      expect(file.prepare('UPDATE queue_jobs SET crc = crc + 1 WHERE data = ?').run('"damaged"').changes).toBe(1);
      file.close();
      expect(await house.broker.purge?.(line, 'delayed')).toBe(1);
      await under.pass(60_000);
      const none = { waiting: 0, delayed: 0, running: 0 };
      await waitFor(async () => (await house.broker.stats([line])).delayed === 0);
      expect(await house.broker.stats([line])).toMatchObject(none);
    } finally {
      await house.stop();
      await under.remove();
    }
  });
});
