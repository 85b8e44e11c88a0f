import { join } from 'node:path';
import { FakeClock, tempFolder, waitFor } from '@trine/testing';
import { describe, expect, it } from 'vitest';
import { createLog } from '../../../../core/log-writer.js';
import { systemRandom } from '../../../../core/random.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import { StorageThreads } from '../../../../storage/index.js';
import { adapterCapabilities, type SubscriptionSettings } from '../index.js';
import { brokerSuite, type SuiteStore } from '../suite/index.js';
import { openBuiltin } from './durability.js';

async function store(): Promise<SuiteStore> {
  const folder = await tempFolder();
  const clock = new FakeClock();
  const log = createLog({ level: 'error', format: 'json', stream: { write: () => true } });
  const threads: StorageThreads[] = [];
  return {
    async open(events) {
      const storage = new StorageThreads({ projectDir: folder.path, dataDir: join(folder.path, 'data') });
      threads.push(storage);
      const host: Partial<WorkerHost> = { clock, log, random: systemRandom, storage };
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
    async remove() {
      await Promise.all(threads.map((storage) => storage.stop()));
      await folder.remove();
    },
  };
}

brokerSuite({ adapter: 'builtin', capabilities: adapterCapabilities.builtin, store });

describe('the builtin broker', () => {
  it('keeps the order of a message, the first subscription and another message that come in one turn', async () => {
    const under = await store();
    try {
      const broker = await under.open({
        ready: () => undefined,
        missing: () => undefined,
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
});
