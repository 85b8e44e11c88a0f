import type { Clock, Timer } from '@trine/engine';

interface Waiting extends Timer {
  due: number;
  readonly run: () => void;
  handle: NodeJS.Timeout | undefined;
}

/**
 * A clock for brokers behind a network: what it says stands still until a test moves it, while timers
 * that wait for the network (retries, polls) still run in real time. Moving it makes what is due by
 * then due now.
 */
export class StandingClock implements Clock {
  #wall: number;
  #steady = 0;
  readonly #timers = new Set<Waiting>();

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
    const timer: Waiting = {
      due: this.#steady + delayMs,
      run,
      handle: undefined,
      cancel: () => {
        clearTimeout(timer.handle);
        this.#timers.delete(timer);
      },
    };
    timer.handle = setTimeout(() => this.#fire(timer), Math.max(0, delayMs));
    this.#timers.add(timer);
    return timer;
  }

  move(ms: number): void {
    this.#wall += ms;
    this.#steady += ms;
    for (const timer of [...this.#timers].sort((a, b) => a.due - b.due)) {
      if (timer.due <= this.#steady) this.#fire(timer);
    }
  }

  #fire(timer: Waiting): void {
    timer.cancel();
    timer.run();
  }
}
