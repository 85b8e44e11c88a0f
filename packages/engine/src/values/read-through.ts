/**
 * Values of a store, read from memory where they can be.
 *
 * Hot path: a value in memory is there in the same turn. Guarded by the state rows of the
 * benchmarks.
 *
 * Linearizable per key. The memory holds committed values only:
 * - a write enters it when its commit was answered, before its caller hears of it;
 * - a value read from the file enters it only if no write of that key was under way at any time
 *   during the read, so an older value never replaces a newer one;
 * - what was read from the file may be newer than the memory (committed, not yet answered). Such an
 *   answer waits for the writes under way, so that nobody reads the older value from memory after it;
 * - after a failure of the file nothing is remembered: the disk decides what was committed.
 */
import { ValueCache, type CachedValue } from './value-cache.js';

/** What is under way for one key. */
interface Activity {
  writes: number;
  reads: number;
  /** A write was under way while one of the reads was. */
  overlapped: boolean;
}

/** The new value of a key that a write left as it was. */
export const UNCHANGED = Symbol('unchanged');

export class ReadThrough {
  readonly #cache: ValueCache;
  readonly #active = new Map<string, Activity>();
  /** The newest write; when it has settled, so have all before it. */
  #lastWrite: Promise<unknown> = Promise.resolve();
  readonly #reads = new Set<Promise<unknown>>();

  constructor(cache = new ValueCache()) {
    this.#cache = cache;
  }

  /**
   * What is in memory, without a closure or a promise.
   *
   * @param id - of the key, unique in the store
   * @returns undefined = not known here: `fetch` it
   */
  cached(id: string): CachedValue | undefined {
    return this.#cache.get(id);
  }

  /** What is in memory may not be what the file holds: all is read again. */
  forget(): void {
    this.#cache.clear();
    for (const activity of this.#active.values()) activity.overlapped = true;
  }

  /**
   * @param read - asks the store
   * @returns the raw text; undefined = no such key
   */
  fetch(id: string, read: () => Promise<string | undefined>): Promise<string | undefined> {
    return this.#tracked(this.#readThrough(id, read));
  }

  /**
   * Follows a write and remembers the key's new value when it is committed. Answers of one store settle
   * in the order of its commits.
   */
  write<T>(id: string, answer: Promise<T>, newValue: (answer: T) => string | undefined | typeof UNCHANGED): Promise<T> {
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

  /** A read that bypasses the memory: its answer, once all that it may have seen is in the memory too. */
  read<T>(answer: Promise<T>): Promise<T> {
    return this.#tracked(this.#settled(answer));
  }

  /** Settles when what is under way has ended. */
  async idle(): Promise<void> {
    await Promise.allSettled([this.#lastWrite, ...this.#reads]);
  }

  async #readThrough(id: string, read: () => Promise<string | undefined>): Promise<string | undefined> {
    const activity = this.#activity(id);
    activity.reads++;
    if (activity.writes > 0) activity.overlapped = true;
    let text: string | undefined;
    try {
      text = await read();
      if (!activity.overlapped) this.#cache.put(id, text);
    } finally {
      activity.reads--;
      this.#leave(id, activity);
    }
    if (activity.writes > 0) await this.#writesUnderWay();
    return text;
  }

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
