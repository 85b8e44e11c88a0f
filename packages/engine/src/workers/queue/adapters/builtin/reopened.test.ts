/** Commits whose outcome is unknown: the real storage, with a file that is said to have failed after, or before, its commit. */
import { join } from 'node:path';
import { TrineError } from '@trine/protocol';
import { FakeClock, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtUrl } from '../../../../core/built-url.js';
import { createLog } from '../../../../core/log-writer.js';
import { systemRandom } from '../../../../core/random.js';
import type { Store, StoreValue } from '../../../../core/store.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import { StorageThreads } from '../../../../storage/index.js';
import type { Accepted, Lease, Line, NewJob, QueueRules } from '../index.js';
import { openBroker, type BuiltinBroker } from './broker.js';
import { STORE_AGAIN_MS } from './core.js';

const RULES: QueueRules = {
  serial: false,
  rate: undefined,
  ratePerKey: undefined,
  globalConcurrency: undefined,
  keepEndedMs: 0,
  keepEndedCount: 0,
  keepDeadMs: 0,
};

/** A store whose next operation of a name ends with an error of the disk, done or not. */
class UnsureStore {
  readonly #store: Store;
  readonly #listeners = new Set<() => void>();
  readonly #faults = new Map<string, 'kept' | 'lost'>();
  #isFailed = false;

  constructor(store: Store) {
    this.#store = store;
  }

  failAt(operation: string, outcome: 'kept' | 'lost'): void {
    this.#faults.set(operation, outcome);
  }

  reopen(): void {
    this.#isFailed = false;
    for (const listener of this.#listeners) listener();
  }

  get store(): Store {
    const own = this.#store;
    const write = async <T>(operation: string, ...args: StoreValue[]): Promise<T> => {
      if (this.#isFailed) throw degraded();
      const fault = this.#faults.get(operation);
      if (fault === undefined) return own.write<T>(operation, ...args);
      this.#faults.delete(operation);
      this.#isFailed = true;
      if (fault === 'kept') await own.write(operation, ...args);
      throw degraded();
    };
    return {
      write,
      read: (operation, ...args) => own.read(operation, ...args),
      as: () => this.store,
      onReopened: (listener) => {
        this.#listeners.add(listener);
        return { remove: () => void this.#listeners.delete(listener) };
      },
      close: () => own.close(),
    };
  }
}

function degraded(): TrineError {
  return new TrineError('storage_degraded', 'the disk failed', { retryable: true });
}

let folder: TempFolder;
let storage: StorageThreads;
let clock: FakeClock;
let unsure: UnsureStore;
let broker: BuiltinBroker;

beforeEach(async () => {
  folder = await tempFolder();
  clock = new FakeClock();
  storage = new StorageThreads({ projectDir: folder.path, dataDir: join(folder.path, 'data') });
  unsure = new UnsureStore(await storage.open({ module: builtUrl(import.meta.url, '../../store.js') }));
  const log = createLog({ level: 'error', format: 'json', stream: { write: () => true } });
  const host = { clock, log, random: systemRandom, storage } as Partial<WorkerHost> as WorkerHost;
  broker = await openBroker(host, unsure.store, {
    ready: () => undefined,
    missing: () => undefined,
    expired: () => undefined,
    topicRules: () => ({ replayRetentionMs: 0, subscriptionRetentionMs: 3_600_000 }),
  });
});

afterEach(async () => {
  await broker.stop();
  await storage.stop();
  await folder.remove();
});

async function queue(name: string, rules = RULES): Promise<Line> {
  return (await broker.openQueues(new Map([[name, rules]]))).get(name) as Line;
}

function put(line: Line, data: string, more: Partial<NewJob> = {}): Promise<Accepted> {
  return broker.accept(line, {
    receipt: undefined,
    functionId: 'work',
    namespace: 'default',
    group: undefined,
    data,
    metadata: undefined,
    traceparent: undefined,
    baggage: undefined,
    createdAt: clock.now(),
    maxAttempts: 3,
    backoffMs: 0,
    extras: undefined,
    ...more,
  });
}

async function take(line: Line): Promise<Lease> {
  let lease: Lease | undefined;
  await waitFor(() => (lease = broker.reserve(line)) !== undefined, { what: 'a job' });
  return lease as Lease;
}

async function untilRead(): Promise<void> {
  await waitFor(
    () => {
      void clock.advance(STORE_AGAIN_MS);
      return broker.health().state === 'ready';
    },
    { what: 'the broker to have read what the disk kept' },
  );
}

describe('a commit whose outcome is unknown', () => {
  it.each([
    { outcome: 'kept', seen: ['1', '2', '3'] },
    { outcome: 'lost', seen: ['1', '3'] },
  ] as const)('that was $outcome: an enqueue is what the disk says, in its order', async ({ outcome, seen }) => {
    const line = await queue('q', { ...RULES, serial: true });
    const group = { group: 'g' };
    await put(line, '1', group);
    unsure.failAt('accept', outcome);
    await expect(put(line, '2', group)).rejects.toMatchObject({ code: 'storage_degraded' });
    expect(broker.health()).toMatchObject({ state: 'degraded' });
    expect(broker.reserve(line)).toBeUndefined();
    await expect(put(line, 'refused', group)).rejects.toMatchObject({ code: 'storage_degraded' });
    unsure.reopen();
    // It comes while memory is built anew, and stands behind what the disk has.
    await put(line, '3', group);
    await untilRead();
    expect(await broker.stats([line])).toMatchObject({ waiting: seen.length, running: 0 });
    for (const data of seen) {
      const lease = await take(line);
      expect(lease.job.data).toBe(data);
      await broker.settle(lease, { kind: 'done' });
    }
    expect(await broker.stats([line])).toMatchObject({ waiting: 0, running: 0, delayed: 0, bytes: 0 });
  });

  it('leaves running jobs with whoever runs them, delivers none twice and stores their ends', async () => {
    const line = await queue('q');
    for (const data of ['1', '2', '3']) await put(line, data);
    const [first, second] = [await take(line), await take(line)];
    unsure.failAt('end', 'kept');
    const ended = broker.settle(first, { kind: 'done' });
    await waitFor(() => broker.health().state === 'degraded');
    unsure.reopen();
    await untilRead();
    await ended;
    expect(await broker.stats([line])).toMatchObject({ waiting: 1, running: 1 });
    const third = await take(line);
    expect(third.job.data).toBe('3');
    expect(broker.reserve(line)).toBeUndefined();
    await broker.settle(second, { kind: 'postpone', delayMs: 0, attempts: 1, lost: 0, failures: [] });
    const again = await take(line);
    expect(again.job).toMatchObject({ data: '2', attempts: 1, redelivered: true });
    await broker.settle(third, { kind: 'done' });
    await broker.settle(again, { kind: 'done' });
    expect(await broker.stats([line])).toMatchObject({ waiting: 0, running: 0, delayed: 0, bytes: 0 });
  });

  it('reads delayed jobs, dead letters and pauses as the disk has them', async () => {
    const line = await queue('q');
    const later = { extras: { delayMs: 5_000 } };
    await put(line, 'later', later);
    await put(line, 'dead');
    const dead = await take(line);
    await broker.settle(dead, { kind: 'dead', attempts: 1, lost: 0, failures: [], error: 'on purpose', code: 'x' });
    unsure.failAt('setPaused', 'kept');
    await expect(broker.setPaused(line, true)).rejects.toMatchObject({ code: 'storage_degraded' });
    unsure.reopen();
    await untilRead();
    expect(line.paused).toBe(true);
    expect(await broker.stats([line])).toMatchObject({ waiting: 0, delayed: 1, running: 0, dead: 1 });

    unsure.failAt('acceptWithOptions', 'kept');
    await expect(put(line, 'ghost', later)).rejects.toMatchObject({ code: 'storage_degraded' });
    unsure.reopen();
    await untilRead();
    await broker.setPaused(line, false);
    expect(await broker.stats([line])).toMatchObject({ delayed: 2 });
    void clock.advance(5_000);
    const seen = [await take(line), await take(line)];
    expect(seen.map(({ job }) => job.data).sort()).toEqual(['ghost', 'later']);
    for (const lease of seen) await broker.settle(lease, { kind: 'done' });
    expect(broker.reserve(line)).toBeUndefined();
  });
});
