/**
 * The storage of a simulated engine. Nothing happens by itself: the scheduler says when the next writes
 * are committed, when answers arrive, and when all of it is lost.
 *
 *   write -> waiting -> committed (by `commit`) -> answered (by `answer`)
 *   read  -> asked   -> read (by `look`)        -> answered (by `tell`)
 *
 * A crash forgets what waits and what was not answered; what was committed stays. Writes are committed
 * and answered in the order of the calls; reads see what was committed by then, in an order of their own.
 */
import { TrineError } from '@trine/protocol';
import type { Durability, Storage, Store, StoreValue } from '../../../core/store.js';
import type { Answer, SimDatabase } from './database.js';

interface Waiting {
  readonly name: string;
  readonly args: readonly StoreValue[];
  readonly durability: Durability;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** How a commit can go wrong. `unknown` = the disk failed after the writes: they may be kept or not. */
export type CommitFault = 'refused' | 'unknown-kept' | 'unknown-lost';

export class Disk implements Storage {
  readonly #database: SimDatabase;
  readonly #volatile: SimDatabase;
  readonly #wrap: (store: Store) => Store;
  #writes: Waiting[] = [];
  #reads: Waiting[] = [];
  #answers: (() => void)[] = [];
  #tellings: (() => void)[] = [];
  #reopened = new Set<() => void>();
  #isClosed = false;
  isDegraded = false;
  lastAsked = '';

  /** @param wrap - a planted bug may stand between the engine and its store */
  constructor(database: SimDatabase, volatile: SimDatabase, wrap: (store: Store) => Store = (store) => store) {
    this.#wrap = wrap;
    this.#database = database;
    this.#volatile = volatile;
    volatile.clear();
  }

  open(): Promise<Store> {
    return Promise.resolve(this.#wrap(this.#store('full')));
  }

  health(): ReturnType<Storage['health']> {
    return { status: 'ok', files: [], quarantined: [], waitingBytes: 0 };
  }

  get waiting(): number {
    return this.#writes.length;
  }

  get unanswered(): number {
    return this.#answers.length;
  }

  get asked(): number {
    return this.#reads.length;
  }

  get untold(): number {
    return this.#tellings.length;
  }

  get isQuiet(): boolean {
    return this.waiting + this.unanswered + this.asked + this.untold === 0;
  }

  /** Commits the next writes as one transaction. */
  commit(count: number, fault?: CommitFault): void {
    const group = this.#writes.splice(0, count);
    let answers: readonly Answer[] = [];
    if (fault === undefined || fault === 'unknown-kept') answers = this.#run(group);
    if (fault !== undefined) {
      const error = fault === 'refused' ? refused() : degraded();
      answers = group.map(() => ({ ok: false, error }));
    }
    this.#answers.push(() => {
      group.forEach(({ resolve, reject }, i) => {
        const answer = answers[i] as Answer;
        if (answer.ok) resolve(answer.value);
        else reject(answer.error);
      });
    });
    if (fault === 'unknown-kept' || fault === 'unknown-lost') this.#degrade();
  }

  /** The engine hears of the oldest commit that it has not heard of. */
  answer(): void {
    this.#answers.shift()?.();
  }

  /** Carries out the next read. */
  look(): void {
    const read = this.#reads.shift();
    if (read === undefined) return;
    const { name, args } = read;
    const database = read.durability === 'memory' ? this.#volatile : this.#database;
    try {
      const value = database.read({ name, args });
      this.#tellings.push(() => read.resolve(value));
    } catch (error) {
      this.#tellings.push(() => read.reject(error));
    }
  }

  /** The engine hears of the oldest read. */
  tell(): void {
    this.#tellings.shift()?.();
  }

  /** The file is open again: whoever remembers things must look what is there. */
  reopen(): void {
    this.isDegraded = false;
    for (const listener of this.#reopened) listener();
  }

  /** What a process leaves when it ends at this moment. */
  crash(powerCut: boolean): void {
    this.#isClosed = true;
    this.#writes = [];
    this.#reads = [];
    this.#answers = [];
    this.#tellings = [];
    if (powerCut) this.#database.cutPower();
  }

  #run(group: readonly Waiting[]): readonly Answer[] {
    const answers = new Map<Waiting, Answer>();
    for (const [database, own] of [
      [this.#database, group.filter(({ durability }) => durability !== 'memory')],
      [this.#volatile, group.filter(({ durability }) => durability === 'memory')],
    ] as const) {
      if (own.length === 0) continue;
      const synced = own.some(({ durability }) => durability !== 'normal');
      database.commit(own, synced).forEach((answer, i) => answers.set(own[i] as Waiting, answer));
    }
    return group.map((each) => answers.get(each) as Answer);
  }

  #degrade(): void {
    this.isDegraded = true;
    const refusedNow = [...this.#writes.splice(0), ...this.#reads.splice(0)];
    this.#answers.push(() => {
      for (const { reject } of refusedNow) reject(degraded());
    });
  }

  #store(durability: Durability): Store {
    const queue = <T>(into: 'writes' | 'reads', name: string, args: readonly StoreValue[]): Promise<T> => {
      if (this.#isClosed) return Promise.reject(closed());
      if (this.isDegraded) return Promise.reject(degraded());
      this.lastAsked = `${name} ${JSON.stringify(args).slice(0, 200)}`;
      return new Promise((resolve, reject) => {
        const waiting = { name, args, durability, resolve: resolve as (value: unknown) => void, reject };
        (into === 'writes' ? this.#writes : this.#reads).push(waiting);
      });
    };
    return {
      write: (name, ...args) => queue('writes', name, args),
      read: (name, ...args) => queue('reads', name, args),
      as: (other) => this.#store(other),
      onReopened: (listener) => {
        this.#reopened.add(listener);
        return { remove: () => void this.#reopened.delete(listener) };
      },
      // As the real one: what waits is committed and answered first.
      close: async () => {
        if (this.#writes.length > 0) this.commit(this.#writes.length);
        while (this.#reads.length > 0) this.look();
        while (this.#answers.length > 0) this.answer();
        while (this.#tellings.length > 0) this.tell();
        this.#isClosed = true;
      },
    };
  }
}

function refused(): TrineError {
  return new TrineError('storage_failed', 'simulated: the commit failed, nothing of it is kept');
}

function degraded(): TrineError {
  return new TrineError('storage_degraded', 'simulated: the disk failed', { retryable: true });
}

function closed(): TrineError {
  return new TrineError('storage_closed', 'simulated: the store is closed');
}
