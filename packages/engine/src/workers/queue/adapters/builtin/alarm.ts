/**
 * Things that become due, behind one timer. It never sleeps longer than a minute: the wall clock may
 * be set, and the platform's timers have an end.
 */
import type { Clock, Timer } from '../../../../core/clock.js';
import { DueHeap, type Due } from './due-heap.js';

/** Longest sleep, in milliseconds. */
export const MAX_SLEEP_MS = 60_000;
/** Entries that were given up before the heap is cleaned of them. */
const CLEAN_AT = 1_000;

export interface Entry extends Due {
  /** Given up: it passes without effect. */
  dropped: boolean;
}

export class Alarm<T extends Entry> {
  readonly #clock: Clock;
  readonly #now: () => number;
  readonly #run: (due: readonly T[]) => void;
  readonly #heap = new DueHeap<T>();
  #dropped = 0;
  #timer: Timer | undefined;
  #timerDue = Infinity;
  #stopped = false;

  /**
   * @param now - the clock that `due` is measured by, milliseconds
   * @param run - gets what became due, in order
   */
  constructor(clock: Clock, now: () => number, run: (due: readonly T[]) => void) {
    this.#clock = clock;
    this.#now = now;
    this.#run = run;
  }

  push(entry: T): void {
    this.#heap.push(entry);
    this.#arm();
  }

  drop(entry: T): void {
    if (entry.dropped) return;
    entry.dropped = true;
    this.#dropped++;
    if (this.#dropped < CLEAN_AT || this.#dropped * 2 < this.#heap.size) return;
    this.#heap.remove(({ dropped }) => dropped);
    this.#dropped = 0;
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #arm(): void {
    const next = this.#heap.peek();
    if (next === undefined || this.#stopped || next.due >= this.#timerDue) return;
    this.#timer?.cancel();
    const sleepMs = Math.min(Math.max(0, next.due - this.#now()), MAX_SLEEP_MS);
    this.#timerDue = next.due;
    this.#timer = this.#clock.setTimer(() => {
      this.#timerDue = Infinity;
      this.#take();
      this.#arm();
    }, sleepMs);
  }

  #take(): void {
    const now = this.#now();
    const due: T[] = [];
    for (;;) {
      const next = this.#heap.peek();
      if (next === undefined || next.due > now) break;
      this.#heap.pop();
      if (next.dropped) this.#dropped--;
      else due.push(next);
    }
    if (due.length > 0) this.#run(due);
  }
}
