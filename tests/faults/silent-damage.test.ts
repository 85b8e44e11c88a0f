import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspectDatabase, KNOWN_SCHEMAS, repairDatabase } from '@trine/engine/storage';
import { ConfigError, createEngine, createLog, type Engine } from '@trine/engine';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SeededRandom, testSeed } from '../support/seeded-random.js';
import { reportRun, sizeOf } from './report.js';

/** `pnpm test:faults --damages 1000` sets it. */
const DAMAGES = sizeOf('TRINE_DAMAGES', 60);
const VALUES = 120;
const JOBS = 60;
/** Time for jobs to reach their handler, in milliseconds. */
const SETTLE_MS = 5_000;
const Database = createRequire(fileURLToPath(import.meta.resolve('@trine/engine')))('better-sqlite3') as new (
  path: string,
) => { exec(sql: string): void; close(): void };
const DB = join('data', 'engine.db');
const WAL = join('data', 'engine.db-wal');

const config = {
  workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, { name: 'iii-queue' }, { name: 'iii-state' }],
};

let folder: TempFolder;
/** Left by an engine that was cut off: most is in the log. And by one that stopped: all is in the database. */
let crashed: string;
let stopped: string;

const valueOf = (number: number): unknown => ({ number, text: `value ${number} `.repeat(10 + (number % 40)) });
const jobOf = (number: number): unknown => ({ number, text: `job ${number} `.repeat(10 + (number % 40)) });

beforeAll(async () => {
  folder = await tempFolder('trine-damage-');
  crashed = join(folder.path, 'crashed');
  stopped = join(folder.path, 'stopped');
  const origin = join(folder.path, 'origin');
  const engine = await createEngine({ config, cwd: origin });
  await engine.start();
  const worker = engine.worker('maker');
  for (let number = 0; number < VALUES; number++)
    await worker.trigger({
      function_id: 'state::set',
      payload: { scope: 's', key: `k${number}`, value: valueOf(number) },
    });
  for (let number = 0; number < JOBS; number++)
    await worker.trigger({
      function_id: 'damage::work',
      payload: jobOf(number),
      action: { type: 'enqueue', queue: 'default' },
    });
  await cp(origin, crashed, { recursive: true });
  await engine.stop();
  await cp(origin, stopped, { recursive: true });
});
afterAll(() => folder.remove());

interface Outcome {
  /** It did not start, and said why. */
  readonly refused?: string;
  /** What was served and is not what was stored. */
  readonly wrong: string[];
  readonly missing: string[];
  /** Where damage was named: errors of calls, the quarantine, the log. */
  readonly named: string[];
}

/** Starts an engine on a folder and takes all out of it that it would give to anyone. */
async function takeAll(cwd: string): Promise<Outcome> {
  const named: string[] = [];
  const log = createLog({ level: 'error', stream: { write: (text: string) => void named.push(text) } });
  let engine: Engine;
  try {
    engine = await createEngine({ config, cwd, log });
    await engine.start();
  } catch (error) {
    return {
      refused: `${(error as { code?: string }).code}: ${(error as Error).message}`,
      wrong: [],
      missing: [],
      named,
    };
  }
  const wrong: string[] = [];
  const missing: string[] = [];
  const jobs = new Map<number, unknown>();
  try {
    const worker = engine.worker('taker');
    worker.registerFunction('damage::work', (data: unknown) => {
      jobs.set((data as { number: number }).number, data);
      return Promise.resolve(null);
    });
    for (let number = 0; number < VALUES; number++) {
      const key = `k${number}`;
      try {
        const value = await worker.trigger<unknown, unknown>({
          function_id: 'state::get',
          payload: { scope: 's', key },
        });
        if (value === null || value === undefined) missing.push(key);
        else if (JSON.stringify(value) !== JSON.stringify(valueOf(number))) wrong.push(key);
      } catch (error) {
        named.push((error as Error).message);
      }
    }
    try {
      const list = await worker.trigger<unknown, { number: number }[]>({
        function_id: 'state::list',
        payload: { scope: 's' },
      });
      for (const value of list)
        if (JSON.stringify(value) !== JSON.stringify(valueOf(value.number)))
          wrong.push(`list: ${JSON.stringify(value)}`);
    } catch (error) {
      named.push((error as Error).message);
    }
    const isEmpty = async (): Promise<boolean> => {
      const { depth } = await worker.trigger<unknown, { depth: number }>({
        function_id: 'engine::queue::topic_stats',
        payload: { topic: 'default' },
      });
      return depth === 0;
    };
    // A file that is broken right through keeps its jobs: the log has said so by then.
    await waitFor(async () => jobs.size === JOBS || (await isEmpty()), {
      timeoutMs: SETTLE_MS,
      what: 'the jobs',
    }).catch((error: unknown) => named.push((error as Error).message));
  } finally {
    await engine.stop();
  }
  for (const [number, data] of jobs)
    if (JSON.stringify({ ...(data as object), _caller_worker_id: undefined }) !== JSON.stringify(jobOf(number)))
      wrong.push(`job ${number}`);
  for (let number = 0; number < JOBS; number++) if (!jobs.has(number)) missing.push(`job ${number}`);
  return { wrong, missing, named };
}

test('faults - damage: what is sound is given back whole', { timeout: 60_000 }, async () => {
  for (const origin of [crashed, stopped]) {
    const cwd = join(folder.path, 'sound');
    await cp(origin, cwd, { recursive: true });
    expect(await takeAll(cwd)).toEqual({ wrong: [], missing: [], named: [] });
    await rm(cwd, { recursive: true });
  }
});

test(
  `faults - damage: ${DAMAGES} flipped bits and cut files are named, refused or harmless, and never served`,
  { timeout: 120_000 + DAMAGES * 15_000 },
  async () => {
    const seed = testSeed('damage');
    const random = new SeededRandom(seed);
    const counts = { harmless: 0, refused: 0, named: 0, tail: 0, repaired: 0 };
    for (let number = 1; number <= DAMAGES; number++) {
      const cwd = join(folder.path, 'damaged');
      const [origin, name] = random.pick([
        [stopped, DB],
        [crashed, DB],
        [crashed, WAL],
      ] as const);
      await cp(origin, cwd, { recursive: true });
      const bytes = await readFile(join(cwd, name));
      const isCut = random.chance(0.25);
      const at = random.between(0, bytes.length - 1);
      if (!isCut) bytes[at] = (bytes[at] as number) ^ (1 << random.between(0, 7));
      await writeFile(join(cwd, name), isCut ? bytes.subarray(0, at) : bytes);
      const where = `${number}: ${isCut ? 'cut' : 'bit flipped'} at ${at} of ${bytes.length} in ${name} of ${origin === stopped ? 'stopped' : 'crashed'}`;

      const before = inspect(cwd);
      const damaged = join(folder.path, 'before');
      await cp(cwd, damaged, { recursive: true });
      const { refused, wrong, missing, named } = await takeAll(cwd);
      expect(wrong, where).toEqual([]);
      if (refused !== undefined) {
        expect(refused, where).toMatch(
          /^(storage_damaged|storage_failed|schema_too_new|data_folder_unwritable): .*engine\.db/s,
        );
        counts.refused++;
      } else if (missing.length === 0 && named.length === 0) {
        counts.harmless++;
      } else if (name === WAL && before.length === 0) {
        // The end of the log: a power cut leaves the same, and only what came last is missing.
        if (!isCut) expect(missing.length, where).toBeLessThanOrEqual(1);
        counts.tail++;
      } else {
        // Named by the engine, or by the doctor.
        expect([...named, ...before, ...inspect(cwd)].length, `${where}: missing ${missing.join()}`).toBeGreaterThan(0);
        counts.named++;
      }
      if (refused !== undefined && before.length > 0 && (await mends(damaged))) counts.repaired++;
      await rm(cwd, { recursive: true });
      await rm(damaged, { recursive: true });
    }
    reportRun({
      test: 'files damaged while the engine is down',
      seed,
      counts: {
        cases: DAMAGES,
        harmless: counts.harmless,
        named: counts.named,
        'refused at the start': counts.refused,
        'of these mended by the doctor': counts.repaired,
        'at the end of the log': counts.tail,
      },
    });
    expect(counts.refused + counts.named).toBeGreaterThan(0);
  },
);

/** After a repair an engine starts, and gives nothing that was not stored. */
async function mends(cwd: string): Promise<boolean> {
  try {
    repairDatabase(join(cwd, DB), new Date());
  } catch {
    return false; // nothing of it can be read: it says so
  }
  expect(inspect(cwd)).toEqual([]);
  const { refused, wrong } = await takeAll(cwd);
  expect(wrong).toEqual([]);
  return refused === undefined;
}

function inspect(cwd: string): string[] {
  return inspectDatabase(join(cwd, DB), { isRunning: false, schemas: KNOWN_SCHEMAS })
    .findings.filter(({ level, kind }) => level === 'bad' || kind === 'quarantine')
    .map(({ message }) => message);
}

test(
  'faults - damage: a damaged job is set aside, the others are delivered, and the queue becomes empty',
  { timeout: 60_000 },
  async () => {
    const cwd = join(folder.path, 'jobs');
    await cp(stopped, cwd, { recursive: true });
    const db = new Database(join(cwd, DB));
    db.exec(`DROP TRIGGER queue_jobs_crc_update;
    UPDATE queue_jobs SET data = replace(data, 'job 7 ', 'job 8 ') WHERE data LIKE '%"number":7,%';
    UPDATE queue_jobs SET attempts = 2 WHERE data LIKE '%"number":30,%'`);
    db.close();
    const { wrong, missing, named } = await takeAll(cwd);
    expect({ wrong, missing }).toEqual({ wrong: [], missing: ['job 7', 'job 30'] });
    expect(named.filter((line) => line.includes('a damaged row was moved to the quarantine')).length).toBe(2);
    expect(inspect(cwd).filter((line) => line.includes('queue_jobs')).length).toBe(2);
    await rm(cwd, { recursive: true });
  },
);

test('faults - damage: a damaged config.yaml is refused by line, or says something else that is valid', async () => {
  const random = new SeededRandom(testSeed('damaged configuration'));
  const text = await readFile(new URL('../../config.yaml', import.meta.url));
  const cwd = join(folder.path, 'config');
  const log = createLog({ level: 'error', stream: { write: () => undefined } });
  await mkdir(cwd);
  let refused = 0;
  for (let number = 0; number < DAMAGES; number++) {
    const bytes = Buffer.from(text);
    const at = random.between(0, bytes.length - 1);
    const isCut = random.chance(0.25);
    if (!isCut) bytes[at] = (bytes[at] as number) ^ (1 << random.between(0, 7));
    await writeFile(join(cwd, 'config.yaml'), isCut ? bytes.subarray(0, at) : bytes);
    try {
      await createEngine({ cwd, log });
    } catch (error) {
      expect(error, `${isCut ? 'cut' : 'flipped'} at ${at}`).toBeInstanceOf(ConfigError);
      expect((error as Error).message).toContain('config.yaml');
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(0);
});
