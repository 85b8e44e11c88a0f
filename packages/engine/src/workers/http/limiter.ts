/** At most so many at a time; more wait in line, up to a bound. */
import type { Clock } from '../../core/clock.js';

/** Requests in line before further ones are refused: each holds a connection and its headers, some kilobytes. */
export const MAX_WAITING = 10_000;

/**
 * `granted`: a place is taken, leave it again. `late`: the time is over. `refused`: the line is full.
 * `gone`: the one who waited has left.
 */
export type Grant = 'granted' | 'late' | 'refused' | 'gone';

export class Limiter {
  readonly #line = new Set<() => void>();
  readonly #maxWaiting: number;
  #limit: number;
  #running = 0;

  constructor(limit: number, maxWaiting: number = MAX_WAITING) {
    this.#limit = limit;
    this.#maxWaiting = maxWaiting;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#line.size;
  }

  /** Takes a place if one is free and nobody is in line. */
  tryEnter(): boolean {
    if (this.#running >= this.#limit || this.#line.size > 0) return false;
    this.#running++;
    return true;
  }

  /**
   * Takes a place as soon as it is this one's turn.
   *
   * @param gone - this one waits no more: others move up
   */
  enter(clock: Clock, timeoutMs: number, gone?: AbortSignal): Promise<Grant> {
    if (this.tryEnter()) return Promise.resolve('granted');
    if (this.#line.size >= this.#maxWaiting) return Promise.resolve('refused');
    return new Promise((resolve) => {
      const grant = (): void => {
        timer.cancel();
        resolve('granted');
      };
      const timer = clock.setTimer(() => {
        this.#line.delete(grant);
        resolve('late');
      }, timeoutMs);
      const leave = (): void => {
        // Aborted after its turn came: it has a place, and leaves that.
        if (!this.#line.delete(grant)) return;
        timer.cancel();
        resolve('gone');
      };
      gone?.addEventListener('abort', leave, { once: true });
      this.#line.add(grant);
    });
  }

  leave(): void {
    this.#running--;
    this.#admit();
  }

  setLimit(limit: number): void {
    this.#limit = limit;
    this.#admit();
  }

  #admit(): void {
    for (const grant of this.#line) {
      if (this.#running >= this.#limit) return;
      this.#line.delete(grant);
      this.#running++;
      grant();
    }
  }
}
