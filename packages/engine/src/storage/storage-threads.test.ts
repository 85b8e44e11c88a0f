import { existsSync, statSync } from 'node:fs';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtUrl } from '../core/built-url.js';
import { StorageThreads } from './storage-threads.js';

const module = builtUrl(import.meta.url, './testing-store.js');

let folder: TempFolder;
let dataDir: string;
const open: StorageThreads[] = [];

function storage(): StorageThreads {
  const threads = new StorageThreads({ projectDir: folder.path, dataDir });
  open.push(threads);
  return threads;
}

beforeEach(async () => {
  folder = await tempFolder();
  dataDir = join(folder.path, 'data');
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((threads) => threads.stop()));
  await folder.remove();
});

describe('storage', () => {
  it('answers after the commit, in order, and reads see every answered write', async () => {
    const store = await storage().open({ module });
    const ids = await Promise.all(Array.from({ length: 2_500 }, (_, i) => store.write<number>('add', `note ${i}`)));
    expect(ids).toEqual(Array.from({ length: 2_500 }, (_, i) => i + 1));
    expect(await store.read<string[]>('all')).toHaveLength(2_500);
    // Another process would see it too: it is in the file.
    const other = new Database(join(dataDir, 'engine.db'), { readonly: true });
    expect(other.prepare('SELECT count(*) FROM notes').pluck().get()).toBe(2_500);
    other.close();
  });

  it('lets a bad operation fail alone', async () => {
    const store = await storage().open({ module });
    const results = await Promise.allSettled([
      store.write('add', 'a'),
      store.write('addAndThrow', 'never kept'),
      store.write('add', 'b'),
      store.write('add', 'a'),
      store.write('nothing such'),
      store.write('add', 'c'),
    ]);
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
      'rejected',
      'fulfilled',
    ]);
    expect(results[1]).toMatchObject({ reason: { code: 'on_purpose', message: 'on purpose' } });
    expect(results[3]).toMatchObject({ reason: { code: 'storage_failed' } });
    expect(await store.read('all')).toEqual(['a', 'b', 'c']);
  });

  it('keeps what it has over a restart, and nothing of a file in memory', async () => {
    const first = storage();
    await (await first.open({ module })).write('add', 'kept');
    await (await first.open({ module, file: ':memory:' })).write('add', 'gone');
    await first.stop();
    const second = storage();
    expect(await (await second.open({ module })).read('all')).toEqual(['kept']);
    expect(await (await second.open({ module, file: ':memory:' })).read('all')).toEqual([]);
  });

  it('refuses a data folder that another engine holds, and takes it once that one ends', async () => {
    const first = storage();
    await first.open({ module });
    await expect(storage().open({ module })).rejects.toMatchObject({
      code: 'data_folder_locked',
      message: expect.stringContaining(dataDir) as string,
    });
    await first.stop();
    await expect(storage().open({ module })).resolves.toBeDefined();
  });

  it('says what is wrong with a path that cannot be used', async () => {
    await writeFile(join(folder.path, 'file'), 'x');
    dataDir = join(folder.path, 'file', 'data');
    await expect(storage().open({ module })).rejects.toMatchObject({ code: 'data_folder_unwritable' });
    dataDir = join(folder.path, 'data');
    const threads = storage();
    await mkdir(join(folder.path, 'store'));
    await expect(threads.open({ module, file: './store' })).rejects.toMatchObject({ code: 'foreign_data' });
    await writeFile(join(folder.path, 'text.db'), 'this is no database, and long enough to be seen as one'.repeat(20));
    await expect(threads.open({ module, file: './text.db' })).rejects.toMatchObject({ code: 'storage_damaged' });
  });

  it('refuses a file of a newer version', async () => {
    const first = storage();
    await first.open({ module });
    await first.stop();
    const db = new Database(join(dataDir, 'engine.db'));
    db.exec('UPDATE trine_schema SET version = 9');
    db.close();
    await expect(storage().open({ module })).rejects.toMatchObject({ code: 'schema_too_new' });
  });

  it('commits what waits before it stops, and refuses afterwards', async () => {
    const threads = storage();
    const store = await threads.open({ module });
    const writes = Array.from({ length: 50 }, (_, i) => store.write('add', `n${i}`));
    await threads.stop();
    await Promise.all(writes);
    await expect(store.write('add', 'late')).rejects.toMatchObject({ code: 'storage_closed' });
    await threads.stop();
  });

  it('bounds what waits for the disk, and tells before the bound who should rest', async () => {
    const threads = storage();
    const pressed: boolean[] = [];
    threads.pressure.on((isPressed) => pressed.push(isPressed));
    const store = await threads.open({ module });
    const block = 'x'.repeat(10_000_000);
    const writes = Array.from({ length: 20 }, (_, i) => store.write('add', block + String(i)));
    expect(pressed).toEqual([true]);
    expect(threads.health().waitingBytes).toBeGreaterThan(64 * 1024 * 1024);
    const results = await Promise.allSettled(writes);
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0);
    expect(results.at(-1)).toMatchObject({ reason: { code: 'storage_overloaded', retryable: true } });
    await waitFor(() => threads.health().waitingBytes === 0, { what: 'the disk to catch up' });
    await store.write('add', 'goes on');
    expect(pressed).toEqual([true, false]);
  });

  it('writes unsynced operations into the same order, and those for memory nowhere', async () => {
    const threads = storage();
    const store = await threads.open({ module });
    const normal = store.as('normal');
    await Promise.all([store.write('add', 'a'), normal.write('add', 'b'), store.write('add', 'c')]);
    await normal.write('add', 'd');
    expect(await store.read('all')).toEqual(['a', 'b', 'c', 'd']);
    const inMemory = store.as('memory');
    await inMemory.write('add', 'e');
    expect(await inMemory.read('all')).toEqual(['e']);
    expect(await normal.read('all')).toEqual(['a', 'b', 'c', 'd']);
    // While the log may have unsynced commits, a mark says so; a clean stop takes it away.
    expect(existsSync(join(dataDir, 'engine.db-relaxed'))).toBe(true);
    await threads.stop();
    expect(existsSync(join(dataDir, 'engine.db-relaxed'))).toBe(false);
  });

  it('keeps the log small under a steady load, and leaves none behind', async () => {
    const threads = storage();
    const store = await threads.open({ module });
    const block = 'x'.repeat(1_000_000);
    let largest = 0;
    for (let i = 0; i < 150; i++) {
      await store.write('add', `${block}${i}`);
      largest = Math.max(largest, statSync(join(dataDir, 'engine.db-wal')).size);
    }
    expect(largest).toBeLessThan(80 * 1024 * 1024);
    // Without checkpoints everything would be in the log still.
    expect(statSync(join(dataDir, 'engine.db')).size).toBeGreaterThan(50 * 1024 * 1024);
    await threads.stop();
    expect(existsSync(join(dataDir, 'engine.db-wal'))).toBe(false);
  });

  it('moves a damaged row to the quarantine instead of serving it', async () => {
    const first = storage();
    const store = await first.open({ module });
    await Promise.all(['a', 'b', 'c'].map((text) => store.write('add', text)));
    await first.stop();
    const db = new Database(join(dataDir, 'engine.db'));
    db.exec("DROP TRIGGER notes_crc_update; UPDATE notes SET text = 'x' WHERE text = 'b'");
    db.close();
    const second = storage();
    const again = await second.open({ module });
    await expect(again.read('all')).rejects.toMatchObject({ code: 'storage_row_damaged' });
    await waitFor(() => second.health().quarantined.length > 0, { what: 'the row to be moved' });
    expect(second.health().quarantined).toEqual([
      {
        file: join(dataDir, 'engine.db'),
        table: 'notes',
        rowid: 2,
        reason: 'its bytes do not match its checksum',
        foundAt: expect.any(Number) as number,
      },
    ]);
    expect(await again.read('all')).toEqual(['a', 'c']);
    await second.stop();
    // The next run names it too.
    const third = storage();
    await third.open({ module });
    expect(third.health().quarantined).toMatchObject([{ table: 'notes', rowid: 2 }]);
  });

  it('refuses a log that SQLite would read only in part, and names the place', async () => {
    const threads = storage();
    const store = await threads.open({ module });
    for (let i = 0; i < 5; i++) await store.write('add', `note ${i}`);
    const copy = join(folder.path, 'copy');
    await cp(dataDir, copy, { recursive: true });
    await threads.stop();
    const log = await readFile(join(copy, 'engine.db-wal'));
    const frames = (log.length - 32) / (24 + 4096);
    log[log.length - 3 * (24 + 4096) + 100]! ^= 1;
    await writeFile(join(copy, 'engine.db-wal'), log);
    dataDir = copy;
    await expect(storage().open({ module })).rejects.toMatchObject({
      code: 'storage_damaged',
      message: expect.stringContaining(`at byte ${32 + (frames - 3) * (24 + 4096)}`) as string,
    });
  });
});
