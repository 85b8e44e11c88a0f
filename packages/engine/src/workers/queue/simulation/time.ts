/** Time in a simulation: it stands still until the scheduler moves it, and is lost to those who crashed. */
import type { Clock, Timer } from '../../../core/clock.js';

interface Waiting {
  readonly at: number;
  readonly run: () => void;
}

/** The clock of one engine process. Its steady time starts anew with each. */
export class ProcessClock implements Clock {
  readonly #time: Time;
  readonly #bootedAt: number;
  /** In the order in which they were set: those that are due at one time run in that order. */
  readonly #timers = new Set<Waiting>();
  #isDead = false;

  constructor(time: Time) {
    this.#time = time;
    this.#bootedAt = time.elapsedMs;
  }

  now(): number {
    return this.#time.wallMs;
  }

  monotonic(): number {
    return this.#time.elapsedMs - this.#bootedAt;
  }

  setTimer(run: () => void, delayMs: number): Timer {
    if (this.#isDead) return { cancel: () => undefined };
    const timer = { at: this.#time.elapsedMs + Math.max(0, delayMs), run };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  get next(): Waiting | undefined {
    let next: Waiting | undefined;
    for (const timer of this.#timers) if (next === undefined || timer.at < next.at) next = timer;
    return next;
  }

  take(timer: Waiting): void {
    this.#timers.delete(timer);
  }

  die(): void {
    this.#isDead = true;
    this.#timers.clear();
  }
}

export class Time {
  /** What really passed, in milliseconds. */
  elapsedMs = 0;
  /** What the system's clock is ahead of what passed. */
  #wallOffsetMs = Date.UTC(2026, 0, 1);
  /** How often the system's clock was set. */
  jumps = 0;

  get wallMs(): number {
    return this.#wallOffsetMs + this.elapsedMs;
  }

  /** Someone sets the system's clock. */
  jump(ms: number): void {
    this.jumps++;
    this.#wallOffsetMs += ms;
  }

  /** Lets time pass; what becomes due runs in order, with `settle` after each. */
  async pass(ms: number, clock: ProcessClock, settle: () => Promise<void>): Promise<void> {
    const end = this.elapsedMs + ms;
    for (;;) {
      const next = clock.next;
      if (next === undefined || next.at > end) break;
      clock.take(next);
      this.elapsedMs = Math.max(this.elapsedMs, next.at);
      next.run();
      await settle();
    }
    this.elapsedMs = end;
  }
}

/** Lets everything run that waits for nothing but its turn. */
export function settle(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}
