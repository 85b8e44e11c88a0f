/**
 * Seeded runs of a real engine with failing handlers, dying workers, restarts and redrives, judged by
 * what the clients saw: nothing acknowledged is lost, a job ends once, attempts are failures only, and
 * groups keep their order.
 */
import { FakeClock, tempFolder, waitFor } from '@trine/testing';
import { describe, expect, it } from 'vitest';
import { TriggerAction, type EmbeddedWorker } from '../../core/embedded-worker.js';
import { createLog } from '../../core/log-writer.js';
import { createEngine, type Engine } from '../../engine.js';

const GROUPS = ['a', 'b', 'c', 'd', 'e'];
const ROUNDS = 60;
const MAX_RETRIES = 3;

interface Data {
  readonly id: number;
  readonly group: string;
}
interface Fate {
  readonly queue: string;
  readonly data: Data;
  failures: number;
  done: number;
}
interface Stats {
  readonly depth: number;
  readonly delayed: number;
  readonly running: number;
  readonly dlq_depth: number;
}
interface Dead {
  readonly message_receipt_id: string;
  readonly payload: Data;
  readonly retries: number;
}

describe('the queue under a seeded storm', () => {
  it.each([1, 2, 3, 4])('loses nothing, ends each job once and keeps groups in order (seed %i)', async (seed) => {
    const random = seeded(seed);
    const folder = await tempFolder();
    const clock = new FakeClock();
    const log = createLog({ level: 'error', format: 'json', stream: { write: () => true } });
    const config = {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        {
          name: 'queue',
          config: {
            queue_configs: {
              fifo: { type: 'fifo', message_group_field: 'group', concurrency: 3, max_retries: MAX_RETRIES },
              plain: { concurrency: 4, max_retries: MAX_RETRIES },
            },
          },
        },
      ],
    };
    let engine: Engine | undefined;
    let client!: EmbeddedWorker;
    let worker!: EmbeddedWorker;
    let workers = 0;
    let nextId = 0;
    let calm = false;
    let stopping = false;
    const fates = new Map<string, Fate>();
    /** First starts per group of the fifo queue. */
    const starts = new Map<string, number[]>(GROUPS.map((group) => [group, []]));

    const offer = (running: Engine | undefined = engine): void => {
      if (running === undefined) throw new Error('no engine runs');
      worker = running.worker(`worker-${workers++}`);
      const own = worker;
      worker.registerFunction('job', async (data: Data, meta) => {
        const { receipt, attempt } = (meta as { queue: { receipt: string; attempt: number } }).queue;
        // The receipt may not have reached its client yet: the job runs after the commit, not after the reply.
        const fate = await waitFor(() => fates.get(receipt), { everyMs: 1 });
        expect(fate.data).toEqual(data);
        expect(attempt).toBe(fate.failures + 1);
        const seen = starts.get(data.group) as number[];
        if (fate.queue === 'fifo' && !seen.includes(data.id)) seen.push(data.id);
        const chance = calm ? 1 : random();
        if (chance < 0.1) return new Promise(() => undefined); // hangs until its worker dies
        await new Promise((resolve) => setImmediate(resolve));
        // An answer that nobody takes any more is no failure.
        if (stopping || own.closed) return new Promise(() => undefined);
        if (chance < 0.4) {
          fate.failures++;
          throw new Error(`failure ${fate.failures}`);
        }
        fate.done++;
        return undefined;
      });
    };
    const start = async (): Promise<void> => {
      const next = (engine = await createEngine({ cwd: folder.path, clock, log, config, drainMs: 0 }));
      await next.start();
      client = next.worker('client');
      offer(next);
    };
    const call = <T>(functionId: string, payload: unknown): Promise<T> =>
      client.trigger<unknown, T>({ function_id: functionId, payload });
    const deadOf = (topic: string): Promise<Dead[]> => call('engine::queue::dlq_messages', { topic, limit: 1_000 });
    const quiet = async (): Promise<boolean> => {
      const all = await Promise.all(
        ['fifo', 'plain'].map((topic) => call<Stats>('engine::queue::topic_stats', { topic })),
      );
      return all.every(({ depth, delayed }) => depth === 0 && delayed === 0);
    };

    await start();
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const what = random();
        if (what < 0.65) {
          for (let i = 0; i < 5; i++) {
            const queue = random() < 0.6 ? 'fifo' : 'plain';
            const data = { id: nextId++, group: GROUPS[Math.floor(random() * GROUPS.length)] as string };
            const action = TriggerAction.Enqueue({ queue });
            const { messageReceiptId } = await client.trigger<Data, { messageReceiptId: string }>({
              function_id: 'job',
              payload: data,
              action,
            });
            fates.set(messageReceiptId, { queue, data, failures: 0, done: 0 });
          }
        } else if (what < 0.8) {
          await clock.advance(Math.floor(random() * 5_000));
        } else if (what < 0.92) {
          await worker.shutdown();
          offer();
        } else {
          stopping = true;
          await engine?.stop();
          stopping = false;
          await start();
        }
      }
      // What hangs is let go with its worker; then everything runs to its end.
      calm = true;
      await worker.shutdown();
      offer();
      await waitFor(async () => {
        await clock.advance(30_000);
        return quiet();
      });

      const dead = new Map(
        (await Promise.all(['fifo', 'plain'].map(deadOf))).flat().map((entry) => [entry.message_receipt_id, entry]),
      );
      for (const [receipt, fate] of fates) {
        const entry = dead.get(receipt);
        if (entry === undefined) {
          expect(fate.done, `job ${fate.data.id} ended`).toBeGreaterThanOrEqual(1);
          expect(fate.failures).toBeLessThan(MAX_RETRIES);
        } else {
          expect(entry.payload).toEqual(fate.data);
          expect(entry.retries).toBe(MAX_RETRIES);
          expect(fate).toMatchObject({ failures: MAX_RETRIES, done: 0 });
        }
      }
      expect([...dead.keys()].every((receipt) => fates.has(receipt))).toBe(true);
      for (const seen of starts.values()) expect(seen).toEqual([...seen].sort((x, y) => x - y));

      for (const fate of fates.values()) fate.failures = 0;
      for (const queue of ['fifo', 'plain']) await call('iii::queue::redrive', { queue });
      await waitFor(quiet);
      expect([...fates.values()].every(({ done }) => done >= 1)).toBe(true);
      expect((await Promise.all(['fifo', 'plain'].map(deadOf))).flat()).toEqual([]);
    } finally {
      await engine?.stop();
      await folder.remove();
    }
  });
});

/** mulberry32: small, fast and the same everywhere. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
