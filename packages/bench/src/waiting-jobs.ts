/**
 * `node packages/bench/dist/waiting-jobs.js [--jobs N] [--kinds ready,delayed,fifo]`: what jobs that wait
 * cost. Fills a queue through `iii::queue::enqueue_batch` of an embedded engine on an empty folder, looks
 * at the process's memory, stops it, and starts another one on what is on disk.
 *
 * Kinds: `ready` wait for an absent function, `delayed` are due in a day, `fifo` have a group each.
 * Each measurement is a process of its own.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createEngine, type Engine } from '@trine/engine';

const KINDS = ['ready', 'delayed', 'fifo'] as const;
type Kind = (typeof KINDS)[number];

const BATCH = 1_000;
/** Batches under way at once. */
const IN_FLIGHT = 4;
const DELAY_MS = 24 * 3_600_000;
const MIB = 1024 * 1024;
/** Payload of a job, in bytes: like the other rows. */
const PAYLOAD = 'x'.repeat(50);

interface Figures {
  readonly ms: number;
  readonly rssMib: number;
  readonly heapMib: number;
}

const { values } = parseArgs({
  options: {
    jobs: { type: 'string', default: '1000000' },
    kinds: { type: 'string', default: KINDS.join(',') },
    step: { type: 'string' },
    folder: { type: 'string' },
  },
});
const jobs = Number(values.jobs);

if (values.step !== undefined && values.folder !== undefined) {
  const figures = await measure(values.step, values.folder, values.kinds as Kind);
  process.stdout.write(`${JSON.stringify(figures)}\n`);
  process.exit(0);
}

for (const kind of values.kinds.split(',') as Kind[]) {
  const folder = mkdtempSync(join(tmpdir(), 'trine-bench-waiting-'));
  try {
    const empty = child('start', folder, kind);
    const filled = child('fill', folder, kind);
    const restarted = child('start', folder, kind);
    const grown = (figures: Figures): string =>
      `RSS +${(figures.rssMib - empty.rssMib).toFixed(0)} MiB, heap +${(figures.heapMib - empty.heapMib).toFixed(0)} MiB` +
      ` (${(((figures.heapMib - empty.heapMib) * MIB) / jobs).toFixed(0)} bytes of heap a job)`;
    process.stdout.write(
      `${kind}: ${jobs} jobs\n  empty: ${empty.ms.toFixed(0)} ms to start, RSS ${empty.rssMib.toFixed(0)} MiB\n` +
        `  filled in ${(filled.ms / 1_000).toFixed(1)} s: ${grown(filled)}\n` +
        `  started again in ${restarted.ms.toFixed(0)} ms: ${grown(restarted)}\n`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function child(step: string, folder: string, kind: Kind): Figures {
  const own = fileURLToPath(import.meta.url);
  const args = ['--expose-gc', own, '--step', step, '--folder', folder, '--kinds', kind, '--jobs', String(jobs)];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Figures;
}

async function measure(step: string, folder: string, kind: Kind): Promise<Figures> {
  const from = performance.now();
  const engine = await createEngine({
    cwd: folder,
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        {
          name: 'queue',
          config: { queue_configs: { bench: kind === 'fifo' ? { type: 'fifo', message_group_field: 'g' } : {} } },
        },
      ],
    },
  });
  await engine.start();
  if (step === 'fill') await fill(engine, kind);
  const ms = performance.now() - from;
  await new Promise((done) => setTimeout(done, 1_000));
  global.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  await engine.stop();
  return { ms, rssMib: rss / MIB, heapMib: heapUsed / MIB };
}

async function fill(engine: Engine, kind: Kind): Promise<void> {
  const client = engine.worker('filler');
  let next = 0;
  const feed = async (): Promise<void> => {
    while (next < jobs) {
      const batch = [];
      for (; batch.length < BATCH && next < jobs; next++) {
        const data = kind === 'fifo' ? { g: `group-${next}`, p: PAYLOAD } : { n: next, p: PAYLOAD };
        const delay = kind === 'delayed' ? { delay_ms: DELAY_MS + next } : {};
        batch.push({ queue: 'bench', function_id: 'bench::absent', data, ...delay });
      }
      await client.trigger({ function_id: 'iii::queue::enqueue_batch', payload: { jobs: batch } });
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, feed));
}
