import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspectDatabase, KNOWN_SCHEMAS } from '@trine/engine/storage';
import { tempFolder } from '@trine/testing';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { ReconnectingClient } from '../support/reconnecting-client.js';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { reportRun, sizeOf } from './report.js';
import { FaultyDisk, noFaultyDisk } from './disk/disk-library.js';
import { readTrace, TracedDisk } from './disk/disk-trace.js';

/** `pnpm test:faults --power-cuts 10000` sets it. */
const CUTS = sizeOf('TRINE_POWER_CUTS', 200);
/** Images that are also given to an engine, which must start on them and still know what it acknowledged. */
const ENGINE_STARTS = 3;
/** Operations of each engine; the payloads of the second make its log outgrow a checkpoint (8 MiB). */
const RUNS = [
  { operations: 150, payloadChars: 400, isKilled: false },
  { operations: 900, payloadChars: 8_000, isKilled: false },
  { operations: 300, payloadChars: 400, isKilled: true },
] as const;
const IN_FLIGHT = 24;
const KEYS = 10;
const FILES = ['engine.db', 'engine.db-wal', 'engine.db-relaxed'];

interface Acknowledged {
  /** All that it rests on was written before this point of the trace. */
  readonly at: number;
  readonly receipt?: string;
  readonly key?: string;
  readonly value?: number;
}

interface Rows {
  prepare(sql: string): { pluck(): { all(): unknown[] }; all(): unknown[] };
  close(): void;
}
const Database = createRequire(fileURLToPath(import.meta.resolve('@trine/engine')))('better-sqlite3') as new (
  path: string,
) => Rows;

const unusable = await noFaultyDisk();
if (unusable !== undefined) console.log(`power cuts: skipped, ${unusable}`);

test.skipIf(unusable !== undefined)(
  `faults - the power goes at ${CUTS} points: nothing acknowledged is lost, no file is damaged`,
  { timeout: 240_000 + CUTS * 1_000 },
  async () => {
    const seed = testSeed('power cuts');
    const random = new SeededRandom(seed);
    const folder = await tempFolder('trine-power-');
    const dataDir = join(folder.path, 'data');
    const port = await freePort();
    await writeFile(
      join(folder.path, 'config.yaml'),
      stringify({
        workers: [
          { name: 'iii-worker-manager', config: { port } },
          { name: 'iii-observability', config: { level: 'warn' } },
          { name: 'iii-queue' },
          { name: 'iii-state' },
        ],
      }),
    );
    const work = join(folder.path, 'work');
    await mkdir(work);
    const disk = await FaultyDisk.create(dataDir, work, { isTraced: true });
    try {
      const acknowledged = await load(folder.path, port, disk);
      const events = [...readTrace(disk.tracePath)];
      const boundaries = events.map(({ end }) => end);
      // A point may come up more than once: another choice of sectors is another cut.
      const cuts = new Map<number, number>();
      for (let i = 0; i < CUTS; i++) {
        const point = random.pick(boundaries);
        cuts.set(point, (cuts.get(point) ?? 0) + 1);
      }
      const forEngine = new Set(random.shuffled([...cuts.keys()]).slice(0, ENGINE_STARTS));
      const traced = new TracedDisk();
      const seen = { cuts: 0, inLog: 0, jobs: 0, values: 0 };
      for (const event of events) {
        traced.apply(event);
        const promised = cuts.has(event.end) ? acknowledged.filter(({ at }) => at <= event.end) : [];
        for (let left = cuts.get(event.end) ?? 0; left > 0; left--) {
          const image = join(folder.path, 'image');
          await mkdir(join(image, 'data'), { recursive: true });
          traced.writeImage(join(image, 'data'), FILES, random);
          const where = `cut at ${event.end} of ${boundaries.at(-1)}`;
          expect(audit(join(image, 'data', 'engine.db'), promised, seen), where).toEqual([]);
          if (left === 1 && forEngine.has(event.end)) await startOn(image, promised, where);
          seen.cuts++;
          await rm(image, { recursive: true });
        }
      }
      reportRun({
        test: 'disks that a power cut could have left',
        seed,
        counts: {
          'points in time': seen.cuts,
          'events on the disk': events.length,
          'operations acknowledged': acknowledged.length,
          'images with commits in the log': seen.inLog,
          'jobs compared': seen.jobs,
          'values compared': seen.values,
        },
      });
      // A run without anything acknowledged, or without a log to read, would have shown nothing.
      expect(seen.jobs).toBeGreaterThan(CUTS);
      expect(seen.inLog).toBeGreaterThan(0);
    } finally {
      disk.close();
      await folder.remove();
    }
  },
);

/** Runs engines one after the other on the recorded disk; returns what they acknowledged. */
async function load(cwd: string, port: number, disk: FaultyDisk): Promise<Acknowledged[]> {
  const acknowledged: Acknowledged[] = [];
  let number = 0;
  for (const { operations, payloadChars, isKilled } of RUNS) {
    const engine = await EngineProcess.start({ cwd, port, env: disk.env });
    const client = new ReconnectingClient(`ws://127.0.0.1:${port}`);
    client.start();
    await client.connected();
    try {
      const end = number + operations;
      const text = 'x'.repeat(payloadChars);
      const lane = async (lane: number): Promise<void> => {
        while (number < end) {
          const value = ++number;
          if (value % 2 === 0) {
            // Nobody serves it: the job stays.
            const answer = await client.ask('nobody::works', { value, text }, { type: 'enqueue', queue: 'default' });
            if (answer.kind !== 'result') throw new Error(`enqueue: ${JSON.stringify(answer)}\n${engine.output}`);
            const { messageReceiptId } = answer.result as { messageReceiptId: string };
            acknowledged.push({ at: disk.traceLength, receipt: messageReceiptId });
          } else {
            // One writer per key: its values only grow.
            const key = `key-${lane % KEYS}-${lane}`;
            const answer = await client.ask('state::set', { scope: 'power', key, value: { value } });
            if (answer.kind !== 'result') throw new Error(`set: ${JSON.stringify(answer)}\n${engine.output}`);
            acknowledged.push({ at: disk.traceLength, key, value });
          }
        }
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, (_, i) => lane(i)));
    } finally {
      client.stop();
      if (isKilled) await engine.kill();
      else await engine.stop();
    }
  }
  return acknowledged;
}

function audit(
  file: string,
  promised: readonly Acknowledged[],
  seen: { inLog: number; jobs: number; values: number },
): string[] {
  if (!existsSync(file)) return promised.length === 0 ? [] : ['the database is gone'];
  const { findings } = inspectDatabase(file, { isRunning: false, schemas: KNOWN_SCHEMAS });
  const faults = findings.filter(({ level }) => level === 'bad').map(({ message }) => message);
  if (faults.length > 0) return faults;
  if (findings.some(({ kind }) => kind === 'log')) seen.inLog++;
  const db = new Database(file);
  try {
    if (promised.length === 0) return [];
    const receipts = new Set(db.prepare('SELECT receipt FROM queue_jobs').pluck().all());
    const values = new Map(
      (db.prepare('SELECT key, value FROM state_values').all() as { key: string; value: string }[]).map((row) => [
        row.key,
        (JSON.parse(row.value) as { value: number }).value,
      ]),
    );
    for (const { receipt, key, value } of promised) {
      if (receipt !== undefined) {
        seen.jobs++;
        if (!receipts.has(receipt)) faults.push(`lost: job ${receipt}`);
      } else if (key !== undefined && value !== undefined) {
        seen.values++;
        if ((values.get(key) ?? 0) < value)
          faults.push(`lost: ${key} is at ${values.get(key)}, ${value} was acknowledged`);
      }
      if (faults.length > 10) break;
    }
    return faults;
  } finally {
    db.close();
  }
}

/** A whole engine on the image: it starts, and answers with what it promised. */
async function startOn(image: string, promised: readonly Acknowledged[], where: string): Promise<void> {
  const port = await freePort();
  await writeFile(
    join(image, 'config.yaml'),
    stringify({
      workers: [{ name: 'iii-worker-manager', config: { port } }, { name: 'iii-queue' }, { name: 'iii-state' }],
    }),
  );
  const engine = await EngineProcess.start({ cwd: image, port });
  const client = new ReconnectingClient(`ws://127.0.0.1:${port}`);
  client.start();
  try {
    await client.connected();
    const { depth } = await client.call<{ depth: number }>('engine::queue::topic_stats', { topic: 'default' });
    expect(depth, where).toBeGreaterThanOrEqual(promised.filter(({ receipt }) => receipt !== undefined).length);
    const answer = await client.ask('state::set', { scope: 'power', key: 'after', value: 1 });
    expect(answer.kind, where).toBe('result');
  } finally {
    client.stop();
    await engine.kill();
  }
}
