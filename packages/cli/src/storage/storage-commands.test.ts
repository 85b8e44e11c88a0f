import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createEngine } from '@trine/engine';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { run } from '../testing/run-command.js';

const FRAME_BYTES = 24 + 4096;
const Database = createRequire(fileURLToPath(import.meta.resolve('@trine/engine')))('better-sqlite3') as new (
  path: string,
) => { exec(sql: string): void; close(): void };

let folder: TempFolder;
const config = {
  workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, { name: 'iii-state' }, { name: 'iii-queue' }],
};

beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(() => folder.remove());

/** Runs an engine with `values` keys of state; `during` sees it running. */
async function withEngine(
  values: number,
  during: (set: (key: string) => Promise<unknown>) => Promise<void>,
): Promise<void> {
  const engine = await createEngine({ config, cwd: folder.path });
  await engine.start();
  const worker = engine.worker('test');
  const set = (key: string): Promise<unknown> =>
    worker.trigger({ function_id: 'state::set', payload: { scope: 's', key, value: { key, text: 'x'.repeat(500) } } });
  try {
    for (let i = 0; i < values; i++) await set(`k${i}`);
    await during(set);
  } finally {
    await engine.stop();
  }
}

async function storedKeys(cwd: string): Promise<unknown[]> {
  const engine = await createEngine({ config, cwd });
  await engine.start();
  try {
    return await engine
      .worker('test')
      .trigger<unknown, unknown[]>({ function_id: 'state::list', payload: { scope: 's' } });
  } finally {
    await engine.stop();
  }
}

/** Number of a frame in the second half of a log whose page is written again behind it. */
function overwrittenFrame(log: Buffer): number {
  const pages: number[] = [];
  for (let at = 32; at + FRAME_BYTES <= log.length; at += FRAME_BYTES) pages.push(log.readUInt32BE(at));
  const frame = pages.findIndex((page, index) => index >= pages.length / 2 && pages.includes(page, index + 1));
  expect(frame).toBeGreaterThan(0);
  return frame;
}

const doctor = (cwd: string, ...words: string[]): ReturnType<typeof run> => run(['doctor', ...words], { cwd });

describe('iii backup', () => {
  it('copies what was acknowledged while the engine goes on writing', { timeout: 60_000 }, async () => {
    const target = join(folder.path, 'copies', 'one.db');
    await withEngine(50, async (set) => {
      let isDone = false;
      const writing = (async () => {
        for (let i = 0; !isDone; i++) await set(`later-${i}`);
      })();
      const { exitCode, stderr } = await run(['backup', target], { cwd: folder.path });
      isDone = true;
      await writing;
      expect(stderr).toContain('rows compared with their checksums');
      expect(exitCode).toBe(0);
      const again = await run(['backup', target], { cwd: folder.path });
      expect(again.exitCode).toBe(1);
      expect(again.stderr).toContain('is there already');
    });
    const restored = join(folder.path, 'restored');
    await mkdir(join(restored, 'data'), { recursive: true });
    await cp(target, join(restored, 'data', 'engine.db'));
    expect((await storedKeys(restored)).length).toBeGreaterThanOrEqual(50);
  });

  it('says that there is nothing to copy', async () => {
    const { exitCode, stderr } = await run(['backup', 'x.db'], { cwd: folder.path });
    expect([exitCode, stderr]).toEqual([1, 'error: there is no database in data to copy\n']);
  });
});

describe('iii doctor', () => {
  it('finds a sound project sound, running or not', { timeout: 60_000 }, async () => {
    await withEngine(3, async () => {
      const { exitCode, stderr } = await doctor(folder.path);
      expect(stderr).toContain('An engine is using data');
      expect(stderr).toContain('Everything is sound.');
      expect(exitCode).toBe(0);
      const repair = await doctor(folder.path, '--repair');
      expect([repair.exitCode, repair.stderr]).toEqual([1, 'error: an engine is using data: stop it, then repair\n']);
    });
    const { exitCode, stdout } = await doctor(folder.path, '--json');
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ engine_running: false, databases: [{ rows: 3, findings: [] }] });
  });

  it('names a row that does not match its checksum, and moves it away', { timeout: 60_000 }, async () => {
    await withEngine(5, () => Promise.resolve());
    const db = new Database(join(folder.path, 'data', 'engine.db'));
    db.exec(`UPDATE state_values SET value = replace(value, '"k2"', '"k7"') WHERE key = 'k2'`);
    db.close();
    const found = await doctor(folder.path);
    expect(found.stderr).toContain('state_values row 3: its bytes do not match its checksum');
    expect(found.stderr).toContain('1 problem found: run `iii doctor --repair`');
    expect(found.exitCode).toBe(1);
    const repaired = await doctor(folder.path, '--repair');
    expect(repaired.stderr).toContain('moved 1 damaged rows of state_values to the quarantine');
    expect(repaired.exitCode).toBe(0);
    expect((await storedKeys(folder.path)).map((value) => (value as { key: string }).key)).toEqual([
      'k0',
      'k1',
      'k3',
      'k4',
    ]);
  });

  it('salvages what a damaged log holds', { timeout: 60_000 }, async () => {
    const crashed = join(folder.path, 'crashed');
    await withEngine(30, async () => {
      await cp(join(folder.path, 'data'), join(crashed, 'data'), { recursive: true });
    });
    const log = join(crashed, 'data', 'engine.db-wal');
    const bytes = await readFile(log);
    const at = 32 + overwrittenFrame(bytes) * FRAME_BYTES + 2_000;
    bytes[at] = (bytes[at] as number) ^ 4;
    await writeFile(log, bytes);
    await expect(storedKeys(crashed)).rejects.toMatchObject({ code: 'storage_damaged' });
    const found = await doctor(crashed);
    expect(found.stderr).toMatch(
      /the write-ahead log is damaged at byte \d+ \(frame \d+ is broken\); \d+ commits follow it/,
    );
    expect(found.exitCode).toBe(1);
    const repaired = await doctor(crashed, '--repair');
    expect(repaired.stderr).toContain('Everything is sound.');
    expect(repaired.exitCode).toBe(0);
    const keys = (await storedKeys(crashed)).map((value) => (value as { key: string }).key);
    // A later frame holds what the broken one held.
    expect(keys).toContain('k0');
    expect(keys).toContain('k29');
    expect(keys.length).toBeGreaterThanOrEqual(29);
  });

  it('rescues the rows of a database whose structure is broken', { timeout: 60_000 }, async () => {
    await withEngine(200, () => Promise.resolve());
    const file = join(folder.path, 'data', 'engine.db');
    // A table without row numbers.
    const db = new Database(file);
    db.exec("INSERT INTO queue_topics (topic, kept_since) VALUES ('news', 1), ('weather', 2)");
    db.close();
    const bytes = await readFile(file);
    // A page full of values becomes a page of nothing.
    const marker = bytes.indexOf('"k100"');
    bytes.fill(0, Math.floor(marker / 4096) * 4096, Math.floor(marker / 4096) * 4096 + 4096);
    await writeFile(file, bytes);
    const found = await doctor(folder.path);
    expect(found.stderr).toContain('structure');
    expect(found.exitCode).toBe(1);
    const repaired = await doctor(folder.path, '--repair');
    expect(repaired.stderr).toMatch(/rescued \d+ rows of state_values; parts of it cannot be read/);
    expect(repaired.stderr).toMatch(/rescued 2 rows of queue_topics$/m);
    expect(repaired.exitCode).toBe(0);
    const keys = (await storedKeys(folder.path)).map((value) => (value as { key: string }).key);
    expect(keys.length).toBeGreaterThan(150);
    expect(existsSync(file)).toBe(true);
  });
});
