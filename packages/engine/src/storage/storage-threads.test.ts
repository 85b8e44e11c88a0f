import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { tempFolder, type TempFolder } from '@trine/testing';
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

  it('bounds what waits for the disk', async () => {
    const store = await storage().open({ module });
    const block = 'x'.repeat(10_000_000);
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) => store.write('add', block + String(i))),
    );
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(4);
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'storage_overloaded', retryable: true },
    });
    await store.write('add', 'goes on');
  });
});
