import { statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspectDatabase, KNOWN_SCHEMAS } from '@trine/engine/storage';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { ReconnectingClient, type Answer } from '../support/reconnecting-client.js';
import { FaultyDisk, noFaultyDisk, type DiskMode } from './disk/disk-library.js';

/** A refusal comes within this, in milliseconds (a busy machine included). */
const REFUSAL_MS = 1_000;
/** Operations that are in no transaction are refused after 5 s of a sync; looked at four times a second. */
const SLOW_REFUSAL_MS = 7_000;
const RECOVERY_MS = 20_000;
const RESERVE_BYTES = 16 * 1024 * 1024;
const GIB = 2 ** 30;

const unusable = await noFaultyDisk();
if (unusable !== undefined) console.log(`disk faults: skipped, ${unusable}`);

let folder: TempFolder;
let disk: FaultyDisk;
let port: number;
let engine: EngineProcess;
let client: ReconnectingClient;
let acknowledged: number;
let handled: Map<number, number>;
let release: (() => void) | undefined;

beforeEach(async () => {
  if (unusable !== undefined) return;
  folder = await tempFolder('trine-disk-');
  await mkdir(join(folder.path, 'work'));
  disk = await FaultyDisk.create(join(folder.path, 'data'), join(folder.path, 'work'));
  port = await freePort();
  const workers = [
    { name: 'iii-worker-manager', config: { port } },
    { name: 'iii-observability', config: { level: 'info' } },
    { name: 'iii-queue' },
    { name: 'iii-state' },
  ];
  await writeFile(join(folder.path, 'config.yaml'), stringify({ workers }));
  engine = await EngineProcess.start({ cwd: folder.path, port, env: disk.env });
  client = new ReconnectingClient(`ws://127.0.0.1:${port}`);
  acknowledged = 0;
  handled = new Map();
  release = undefined;
  client.serve('disk::echo', ({ data }) => data);
  client.serve('disk::work', async ({ data }) => {
    const { number, holds } = data as { number: number; holds?: boolean };
    handled.set(number, (handled.get(number) ?? 0) + 1);
    if (holds === true) await new Promise<void>((done) => (release = done));
    return null;
  });
  client.start();
  await client.connected();
  await set('kept', 1);
});

afterEach(async () => {
  if (unusable !== undefined) return;
  client.stop();
  disk.set('sound');
  await engine.kill();
  disk.close();
  await folder.remove();
});

/** An engine sets its reserve aside a moment after its start; one that is half written would give room back. */
async function reserveWritten(): Promise<void> {
  const reserve = join(folder.path, 'data', 'engine.reserve');
  await waitFor(() => statSync(reserve, { throwIfNoEntry: false })?.size === RESERVE_BYTES, { what: 'the reserve' });
}

function enqueue(number: number, more: object = {}): Promise<Answer> {
  return client.ask('disk::work', { number, ...more }, { type: 'enqueue', queue: 'default' });
}

function set(key: string, value: unknown): Promise<Answer> {
  return client.ask('state::set', { scope: 'disk', key, value });
}

/** The workers keep their own codes; the message names the cause. */
function refusal(code: string): unknown {
  return {
    kind: 'error',
    code: expect.stringMatching(/^(enqueue_error|SET_ERROR)$/) as string,
    message: expect.stringContaining(`${code}: `) as string,
  };
}

async function within<T>(what: string, maxMs: number, answer: Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await answer;
  expect(performance.now() - started, what).toBeLessThan(maxMs);
  return result;
}

/** Calls, values in memory and scans of the file: what needs no write. */
async function expectReadsGoOn(): Promise<void> {
  expect(await within('a call', REFUSAL_MS, client.call('disk::echo', { a: 1 }))).toMatchObject({ a: 1 });
  expect(await within('a value', REFUSAL_MS, client.call('state::get', { scope: 'disk', key: 'kept' }))).toBe(1);
  expect(await within('a scan', REFUSAL_MS, client.call('state::list', { scope: 'disk' }))).toContain(1);
}

async function untilEmpty(): Promise<void> {
  await waitFor(
    async () => {
      const { depth, delayed } = await client.call<{ depth: number; delayed: number }>('engine::queue::topic_stats', {
        topic: 'default',
      });
      return depth === 0 && delayed === 0;
    },
    { timeoutMs: RECOVERY_MS, what: `the queue to become empty\n${engine.output}` },
  );
}

/** Without a restart: what had failed works again, and jobs that were accepted reach their handler once. */
async function expectRecovery(): Promise<void> {
  await waitFor(async () => (await set('recovered', true)).kind === 'result', {
    timeoutMs: RECOVERY_MS,
    what: `writes to be accepted again\n${engine.output}`,
  });
  const answer = await enqueue(1_000);
  expect(answer).toMatchObject({ kind: 'result', result: { messageReceiptId: expect.any(String) as string } });
  await waitFor(() => handled.has(1_000), { timeoutMs: RECOVERY_MS, what: `job 1000\n${engine.output}` });
  await untilEmpty();
  expect(await client.call('state::get', { scope: 'disk', key: 'kept' })).toBe(1);
}

async function auditAfterKill(): Promise<void> {
  client.stop();
  await engine.kill();
  const file = join(folder.path, 'data', 'engine.db');
  const { findings } = inspectDatabase(file, { isRunning: false, schemas: KNOWN_SCHEMAS });
  expect(findings.filter(({ level }) => level === 'bad')).toEqual([]);
}

const CASES: readonly { readonly mode: DiskMode; readonly code: string }[] = [
  { mode: 'full', code: 'storage_full' },
  { mode: 'read-only', code: 'storage_full' },
  { mode: 'io-error', code: 'storage_degraded' },
  { mode: 'sync-error', code: 'storage_degraded' },
];

for (const { mode, code } of CASES) {
  test.skipIf(unusable !== undefined)(
    `faults - disk: ${mode} is an error within a second, and passes without a restart`,
    async () => {
      for (let number = 1; number <= 20; number++) if ((await enqueue(number)).kind === 'result') acknowledged++;
      expect(acknowledged).toBe(20);
      // A job that is in its handler when the disk fails.
      await enqueue(500, { holds: true });
      await waitFor(() => release !== undefined, { what: 'the held job to start' });

      await reserveWritten();
      disk.set(mode, 0);
      // A full disk is noticed when a file has to grow; what was set aside in the log is written first.
      const big = 'x'.repeat(200_000);
      let refused: Answer | undefined;
      await waitFor(
        async () => {
          const answer = await within('a refusal', REFUSAL_MS, set('big', big));
          if (answer.kind === 'error') refused = answer;
          return refused !== undefined;
        },
        { what: 'a refusal' },
      );
      expect(refused).toEqual(refusal(code));
      const answers = await within('refusals', REFUSAL_MS, Promise.all([enqueue(600), enqueue(601), set('lost', 1)]));
      for (const answer of answers) expect(answer).toEqual(refusal(code));
      await expectReadsGoOn();
      release?.(); // its end waits for the disk
      await expectReadsGoOn();
      expect(engine.isRunning).toBe(true);

      disk.set(mode === 'full' ? 'full' : 'sound', GIB);
      await expectRecovery();
      // The end of the held job was kept: it did not run again.
      expect(handled.get(500)).toBe(1);
      for (let number = 1; number <= 20; number++) expect(handled.get(number), `job ${number}`).toBe(1);
      // What was refused had no effect that anyone was promised; it ran at most once.
      for (const number of [600, 601]) expect(handled.get(number) ?? 0).toBeLessThanOrEqual(1);
      await auditAfterKill();
    },
  );
}

for (const mode of ['io-error', 'sync-error'] as const) {
  test.skipIf(unusable !== undefined)(
    `faults - disk: what an engine knows of its jobs after ${mode} is what a new start finds on disk`,
    async () => {
      await enqueue(500, { holds: true });
      await waitFor(() => release !== undefined, { what: 'the held job to start' });
      disk.set(mode);
      // It is answered with an error, and the disk may have it all the same.
      expect(await within('a refusal', REFUSAL_MS, enqueue(700))).toEqual(refusal('storage_degraded'));
      disk.set('sound');
      await waitFor(async () => (await enqueue(1_000)).kind === 'result', {
        timeoutMs: RECOVERY_MS,
        what: `jobs to be accepted again\n${engine.output}`,
      });
      await waitFor(() => handled.has(1_000), { timeoutMs: RECOVERY_MS, what: `job 1000\n${engine.output}` });
      // The held job is counted as running all the time, and when the others have ended it alone.
      await waitFor(
        async () =>
          (await client.call<{ depth: number }>('engine::queue::topic_stats', { topic: 'default' })).depth === 1,
        { timeoutMs: RECOVERY_MS, what: `the held job to be the last one\n${engine.output}` },
      );
      release?.();
      await untilEmpty();
      const before = new Map(handled);
      expect(before.get(500)).toBe(1);

      await engine.kill();
      engine = await EngineProcess.start({ cwd: folder.path, port, env: disk.env });
      await client.connected();
      await untilEmpty();
      expect(handled).toEqual(before);
    },
  );
}

test.skipIf(unusable !== undefined)('faults - disk: ends of jobs fit into the room that was set aside', async () => {
  await reserveWritten();
  for (let number = 1; number <= 5; number++) await enqueue(number);
  await enqueue(500, { holds: true });
  await waitFor(() => release !== undefined, { what: 'the held job to start' });
  disk.set('full', 0);
  await waitFor(async () => (await set('big', 'x'.repeat(200_000))).kind === 'error', { what: 'a refusal' });
  release?.();
  // The disk stays full for new things, and the job ends all the same.
  await waitFor(
    async () => (await client.call<{ depth: number }>('engine::queue::topic_stats', { topic: 'default' })).depth === 0,
    { timeoutMs: RECOVERY_MS, what: `the held job to end\n${engine.output}` },
  );
  client.stop();
  await engine.kill();
  const file = join(folder.path, 'data', 'engine.db');
  const { rows } = inspectDatabase(file, { isRunning: false, schemas: KNOWN_SCHEMAS });
  expect(rows).toBe(1); // the value of `kept`; no job is left
});

test.skipIf(unusable !== undefined)(
  'faults - disk: a sync of seconds refuses what is in no transaction, and lets the rest go on',
  async () => {
    disk.set('slow-sync');
    const inTransaction = enqueue(1);
    await waitFor(() => disk.waitingSyncs > 0, { what: 'the sync to begin' });
    const waiting = [enqueue(2), set('late', 1)];
    for (const answer of await within('refusals', SLOW_REFUSAL_MS, Promise.all(waiting)))
      expect(answer).toEqual(refusal('storage_slow'));
    // While it lasts, nobody waits for seconds again.
    expect(await within('a refusal', REFUSAL_MS, enqueue(3))).toEqual(refusal('storage_slow'));
    await expectReadsGoOn();
    disk.set('sound');
    expect(await inTransaction).toMatchObject({ kind: 'result' });
    await expectRecovery();
    expect(handled.get(1)).toBe(1);
    // Refused means refused: it is not run behind its caller's back.
    expect(handled.has(2) || handled.has(3)).toBe(false);
    expect((await client.call('state::get', { scope: 'disk', key: 'late' })) ?? null).toBe(null);
    await auditAfterKill();
  },
);
