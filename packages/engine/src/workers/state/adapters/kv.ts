/**
 * State in one SQLite file, read from memory where it can be.
 *
 * Hot path: `get` of a value in memory answers in the same turn. Guarded by the state rows of the
 * benchmarks.
 *
 * Linearizable per key. The memory holds committed values only:
 * - a write enters it when its commit was answered, before its caller hears of it;
 * - a value read from the file enters it only if no write of that key was under way at any time
 *   during the read, so an older value never replaces a newer one;
 * - what was read from the file may be newer than the memory (committed, not yet answered). Such an
 *   answer waits for the writes under way, so that nobody reads the older value from memory after it.
 */
import { builtUrl } from '../../../core/built-url.js';
import type { Storage, Store } from '../../../core/store.js';
import type { UpdateAnswer } from '../store.js';
import type { UpdateOp } from '../update-ops.js';
import { ValueCache } from '../value-cache.js';
import type { StateAdapter } from './index.js';

/** What is under way for one key. */
interface Activity {
  writes: number;
  reads: number;
  /** A write was under way while one of the reads was. */
  overlapped: boolean;
}

/** @param file - absolute path; undefined = the engine's own file; `:memory:` keeps nothing */
export async function openKv(
  storage: Storage,
  file: string | undefined,
  cache = new ValueCache(),
): Promise<StateAdapter> {
  const module = builtUrl(import.meta.url, '../store.js');
  return new KvAdapter(await storage.open(file === undefined ? { module } : { module, file }), cache);
}

class KvAdapter implements StateAdapter {
  readonly #store: Store;
  readonly #cache: ValueCache;
  readonly #active = new Map<string, Activity>();
  /** The newest write; when it has settled, so have all before it. */
  #lastWrite: Promise<unknown> = Promise.resolve();
  readonly #reads = new Set<Promise<unknown>>();

  constructor(store: Store, cache: ValueCache) {
    this.#store = store;
    this.#cache = cache;
  }

  get(scope: string, key: string): string | undefined | Promise<string | undefined> {
    const id = cacheId(scope, key);
    const hit = this.#cache.get(id);
    return hit === undefined ? this.#tracked(this.#readThrough(id, scope, key)) : hit.text;
  }

  set(scope: string, key: string, value: string): Promise<string | undefined> {
    return this.#write(scope, key, this.#store.write<string | undefined>('set', scope, key, value), () => value);
  }

  delete(scope: string, key: string): Promise<string | undefined> {
    return this.#write(scope, key, this.#store.write<string | undefined>('delete', scope, key), () => undefined);
  }

  update(scope: string, key: string, ops: readonly UpdateOp[], maxBytes: number | undefined): Promise<UpdateAnswer> {
    const answer = this.#store.write<UpdateAnswer>('update', scope, key, ops, maxBytes);
    return this.#write(scope, key, answer, (update) => ('tooLarge' in update ? UNCHANGED : update.value));
  }

  list(scope: string): Promise<string> {
    return this.#tracked(this.#settled(this.#store.read<string>('list', scope)));
  }

  listScopes(): Promise<string[]> {
    return this.#tracked(this.#settled(this.#store.read<string[]>('listScopes')));
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#lastWrite, ...this.#reads]);
    await this.#store.close();
  }

  /** Follows a write and remembers the key's new value when it is committed. */
  #write<T>(
    scope: string,
    key: string,
    answer: Promise<T>,
    newValue: (answer: T) => string | undefined | typeof UNCHANGED,
  ): Promise<T> {
    const id = cacheId(scope, key);
    const activity = this.#activity(id);
    activity.writes++;
    if (activity.reads > 0) activity.overlapped = true;
    const settled = answer.then(
      (result) => {
        const value = newValue(result);
        if (value !== UNCHANGED) this.#cache.put(id, value);
        activity.writes--;
        this.#leave(id, activity);
        return result;
      },
      (error: unknown) => {
        // What the file holds now is for the next read to find out.
        this.#cache.drop(id);
        activity.writes--;
        this.#leave(id, activity);
        throw error;
      },
    );
    this.#lastWrite = settled;
    return settled;
  }

  async #readThrough(id: string, scope: string, key: string): Promise<string | undefined> {
    const activity = this.#activity(id);
    activity.reads++;
    if (activity.writes > 0) activity.overlapped = true;
    let text: string | undefined;
    try {
      text = await this.#store.read<string | undefined>('get', scope, key);
      if (!activity.overlapped) this.#cache.put(id, text);
    } finally {
      activity.reads--;
      this.#leave(id, activity);
    }
    if (activity.writes > 0) await this.#writesUnderWay();
    return text;
  }

  /** The answer of a read that bypasses the memory, once all that it may have seen is there too. */
  async #settled<T>(answer: Promise<T>): Promise<T> {
    const result = await answer;
    if (this.#active.size > 0) await this.#writesUnderWay();
    return result;
  }

  #writesUnderWay(): Promise<unknown> {
    // A failed write is its own caller's to report.
    return this.#lastWrite.catch(() => undefined);
  }

  #tracked<T>(read: Promise<T>): Promise<T> {
    this.#reads.add(read);
    const forget = (): void => void this.#reads.delete(read);
    read.then(forget, forget);
    return read;
  }

  #activity(id: string): Activity {
    let activity = this.#active.get(id);
    if (activity === undefined) this.#active.set(id, (activity = { writes: 0, reads: 0, overlapped: false }));
    return activity;
  }

  #leave(id: string, activity: Activity): void {
    if (activity.reads > 0) return;
    activity.overlapped = false;
    if (activity.writes === 0) this.#active.delete(id);
  }
}

const UNCHANGED = Symbol('unchanged');

/** One text per (scope, key); no two pairs share one. */
export function cacheId(scope: string, key: string): string {
  return `${scope.length}:${scope}${key}`;
}
