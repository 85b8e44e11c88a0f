import { join } from 'node:path';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OpenStoreOptions, Storage, StorageHealth, Store, StoreValue } from '../../../core/store.js';
import { StorageThreads } from '../../../storage/index.js';
import { ValueCache } from '../../../values/index.js';
import { cacheId, openKv } from './kv.js';
import { stateSuite } from './suite/index.js';

/** The real storage, with answers that can be held back after the operation is done. */
class HeldStorage implements Storage {
  readonly #storage: Storage;
  readonly #gates = new Map<string, { opened: Promise<void>; open: () => void }>();
  readonly #answers = new Map<string, number>();

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async open(options: OpenStoreOptions): Promise<Store> {
    const store = await this.#storage.open(options);
    const held = async <T>(operation: string, answer: Promise<unknown>): Promise<T> => {
      const result = await answer;
      this.#answers.set(operation, this.answers(operation) + 1);
      await this.#gates.get(operation)?.opened;
      return result as T;
    };
    return {
      write: <T>(operation: string, ...args: StoreValue[]) => held<T>(operation, store.write(operation, ...args)),
      read: <T>(operation: string, ...args: StoreValue[]) => held<T>(operation, store.read(operation, ...args)),
      as: (durability) => store.as(durability),
      onReopened: (listener) => store.onReopened(listener),
      close: () => store.close(),
    };
  }

  health(): StorageHealth {
    return this.#storage.health();
  }

  /** Operations that are done, answered or held. */
  answers(operation: string): number {
    return this.#answers.get(operation) ?? 0;
  }

  hold(operation: string): void {
    let open = (): void => undefined;
    const opened = new Promise<void>((resolve) => (open = resolve));
    this.#gates.set(operation, { opened, open });
  }

  release(operation: string): void {
    this.#gates.get(operation)?.open();
  }
}

stateSuite('an SQLite file', async () => {
  const folder = await tempFolder();
  const threads: StorageThreads[] = [];
  return {
    async open() {
      const storage = new StorageThreads({ projectDir: folder.path, dataDir: join(folder.path, 'data') });
      threads.push(storage);
      return openKv(storage, undefined);
    },
    async close(adapter) {
      await adapter.close();
      for (const storage of threads.splice(0)) await storage.stop();
    },
    remove: () => folder.remove(),
  };
});

describe('state in an SQLite file, read from memory', () => {
  let folder: TempFolder;
  let storage: StorageThreads;

  const start = (): StorageThreads =>
    new StorageThreads({ projectDir: folder.path, dataDir: join(folder.path, 'data') });

  beforeEach(async () => {
    folder = await tempFolder();
    storage = start();
  });

  afterEach(async () => {
    await storage.stop();
    await folder.remove();
  });

  it('keeps the text of a value over a restart, from memory and from the file', async () => {
    const text = '{ "float": 1.0, "big": 12345678901234567890, "text": "\\u00e9" }';
    const first = await openKv(storage, join(folder.path, 'state.db'));
    expect(await first.set('s', 'k', text)).toBeUndefined();
    expect(first.get('s', 'k')).toBe(text);
    await first.close();
    await storage.stop();

    storage = start();
    const second = await openKv(storage, join(folder.path, 'state.db'));
    const read = second.get('s', 'k');
    expect(read).toBeInstanceOf(Promise);
    expect(await read).toBe(text);
    expect(second.get('s', 'k')).toBe(text);
    expect(await second.set('s', 'k', '2')).toBe(text);
  });

  it('answers absence from memory once it was looked up', async () => {
    const kv = await openKv(storage, ':memory:');
    expect(await kv.get('s', 'k')).toBeUndefined();
    expect(kv.get('s', 'k')).toBeUndefined();
    await kv.set('s', 'k', 'null');
    expect(kv.get('s', 'k')).toBe('null');
    expect(await kv.delete('s', 'k')).toBe('null');
    expect(kv.get('s', 'k')).toBeUndefined();
    expect(await kv.delete('s', 'k')).toBeUndefined();
  });

  it('refuses a folder in the place of the file', async () => {
    await expect(openKv(storage, folder.path)).rejects.toThrow(/is a folder/);
  });

  it('forgets what it knew of a key whose write failed', async () => {
    const kv = await openKv(storage, join(folder.path, 'state.db'));
    await kv.set('s', 'k', '1');
    await storage.stop();
    await expect(kv.set('s', 'k', '2')).rejects.toThrow();
    await expect(kv.get('s', 'k')).rejects.toThrow();
  });

  it('does not let a slow read put an older value in the place of a newer one', async () => {
    const held = new HeldStorage(storage);
    const kv = await openKv(held, undefined);
    held.hold('get');
    const slow = kv.get('s', 'k');
    await waitFor(() => held.answers('get') === 1);
    await kv.set('s', 'k', '1');
    held.release('get');
    expect(await slow).toBeUndefined();
    expect(kv.get('s', 'k')).toBe('1');
  });

  it.each(['get', 'list'] as const)('does not show by %s what its writer has not been told yet', async (by) => {
    const held = new HeldStorage(storage);
    const kv = await openKv(held, undefined, new ValueCache(0));
    const order: string[] = [];
    held.hold('set');
    const write = kv.set('s', 'k', '1').then(() => order.push('set'));
    await waitFor(() => held.answers('set') === 1);
    const read = Promise.resolve(kv[by]('s', 'k')).then((value) => order.push(`${by} ${value}`));
    await waitFor(() => held.answers(by) === 1);
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(order).toEqual([]);
    held.release('set');
    await Promise.all([write, read]);
    expect(order).toEqual(['set', by === 'get' ? 'get 1' : 'list [1]']);
  });

  /**
   * One writer per key counts up; readers read through a memory too small for all keys. A read may
   * show any value between the newest that was acknowledged (or seen by anyone) before it began and
   * the newest that was asked for before it ended.
   */
  it('is linearizable per key while values come and go in memory', async () => {
    const keys = ['a', 'b', 'c', 'd', 'e', 'f'];
    const cache = new ValueCache(3 * (160 + 2 * (cacheId('s', 'a').length + 4)));
    const kv = await openKv(storage, join(folder.path, 'state.db'), cache);
    const asked = new Map(keys.map((key) => [key, 0]));
    const known = new Map(keys.map((key) => [key, 0]));
    const see = (key: string, value: number, atLeast: number): void => {
      expect(value).toBeGreaterThanOrEqual(atLeast);
      expect(value).toBeLessThanOrEqual(asked.get(key) as number);
      known.set(key, Math.max(known.get(key) as number, value));
    };
    let reads = 0;
    let hits = 0;
    let writing = true;

    const write = async (key: string): Promise<void> => {
      for (let n = 1; n <= 300; n++) {
        asked.set(key, n);
        await kv.set('s', key, String(n));
        see(key, n, n);
        if (n % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const read = async (offset: number): Promise<void> => {
      for (let i = offset; writing; i++) {
        const key = keys[i % keys.length] as string;
        const atLeast = known.get(key) as number;
        const answer = kv.get('s', key);
        if (typeof answer === 'string') hits++;
        see(key, Number((await answer) ?? 0), atLeast);
        reads++;
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const list = async (): Promise<void> => {
      while (writing) {
        const before = new Map(known);
        const values = JSON.parse(await kv.list('s')) as number[];
        keys.forEach((key, i) => see(key, values[i] as number, before.get(key) as number));
      }
    };

    // The order of the list is the order of the first writes.
    for (const key of keys) await kv.set('s', key, '0');
    const others = [read(0), read(1), read(2), read(3), list()];
    await Promise.all(keys.map(write));
    writing = false;
    await Promise.all(others);
    expect(reads).toBeGreaterThan(100);
    expect(hits).toBeGreaterThan(0);
    expect(hits).toBeLessThan(reads);
    for (const key of keys) expect(await kv.get('s', key)).toBe('300');
  });
});
