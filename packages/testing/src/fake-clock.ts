import type { Clock, Timer } from '@trine/engine';

interface FakeTimer extends Timer {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #wall: number;
  #steady = 0;
  #order = 0;
  readonly #timers = new Set<FakeTimer>();

  constructor(startAt: number = Date.UTC(2026, 0, 1)) {
    this.#wall = startAt;
  }

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#steady;
  }

  setTimer(run: () => void, delayMs: number): Timer {
    const timer: FakeTimer = {
      at: this.#steady + Math.max(0, delayMs),
      order: this.#order++,
      run,
      cancel: () => void this.#timers.delete(timer),
    };
    this.#timers.add(timer);
    return timer;
  }

  /** Number of timers that wait. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Milliseconds until the next timer, or undefined when none waits. */
  get nextInMs(): number | undefined {
    const next = this.#next();
    return next === undefined ? undefined : next.at - this.#steady;
  }

  /**
   * Moves time forward and runs the timers that become due, in order, letting pending promises and
   * I/O callbacks run between them.
   */
  async advance(ms: number): Promise<void> {
    const end = this.#steady + ms;
    for (;;) {
      const next = this.#next();
      if (next === undefined || next.at > end) break;
      this.#timers.delete(next);
      this.#move(next.at);
      next.run();
      await settle();
    }
    this.#move(end);
    await settle();
  }

  /** Moves the wall clock alone, as an operator or NTP would. */
  jump(ms: number): void {
    this.#wall += ms;
  }

  #move(steady: number): void {
    this.#wall += steady - this.#steady;
    this.#steady = steady;
  }

  #next(): FakeTimer | undefined {
    let next: FakeTimer | undefined;
    for (const timer of this.#timers) {
      if (next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order)) next = timer;
    }
    return next;
  }
}

/** Lets what is ready run: a few turns of the event loop. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}
