/**
 * Starts per time, over a queue and per key: in any window of `perMs` at most `max` jobs start. The
 * times of the last starts are kept in memory; after a restart the window begins anew.
 */
import type { QueueRules, Rate } from '../index.js';

/** Keys whose starts are remembered; those that are idle are forgotten first. */
export const MAX_RATE_KEYS = 100_000;

class Window {
  readonly #rate: Rate;
  #starts: number[] = [];
  #head = 0;

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  /** Milliseconds until one more may start. */
  waitMs(now: number): number {
    this.#forget(now);
    if (this.#starts.length - this.#head < this.#rate.max) return 0;
    return (this.#starts[this.#head] as number) + this.#rate.perMs - now;
  }

  start(now: number): void {
    this.#starts.push(now);
  }

  idle(now: number): boolean {
    this.#forget(now);
    return this.#starts.length === this.#head;
  }

  #forget(now: number): void {
    while (this.#head < this.#starts.length && (this.#starts[this.#head] as number) + this.#rate.perMs <= now) {
      this.#head++;
    }
    if (this.#head > 0 && this.#head * 2 >= this.#starts.length) {
      this.#starts = this.#starts.slice(this.#head);
      this.#head = 0;
    }
  }
}

export class Limiter {
  readonly #rate: Rate | undefined;
  readonly #perKey: Rate | undefined;
  readonly #all: Window | undefined;
  readonly #keys = new Map<string, Window>();

  constructor({ rate, ratePerKey }: Pick<QueueRules, 'rate' | 'ratePerKey'>) {
    this.#rate = rate;
    this.#perKey = ratePerKey;
    this.#all = rate === undefined ? undefined : new Window(rate);
  }

  fits({ rate, ratePerKey }: Pick<QueueRules, 'rate' | 'ratePerKey'>): boolean {
    return same(rate, this.#rate) && same(ratePerKey, this.#perKey);
  }

  /** @param now - steady clock, milliseconds */
  waitMs(now: number): number {
    return this.#all?.waitMs(now) ?? 0;
  }

  waitOfKeyMs(key: string | undefined, now: number): number {
    return key === undefined ? 0 : (this.#keys.get(key)?.waitMs(now) ?? 0);
  }

  start(key: string | undefined, now: number): void {
    this.#all?.start(now);
    if (key === undefined || this.#perKey === undefined) return;
    let window = this.#keys.get(key);
    if (window === undefined) {
      if (this.#keys.size >= MAX_RATE_KEYS) this.#forgetIdle(now);
      this.#keys.set(key, (window = new Window(this.#perKey)));
    }
    window.start(now);
  }

  #forgetIdle(now: number): void {
    for (const [key, window] of this.#keys) if (window.idle(now)) this.#keys.delete(key);
    if (this.#keys.size < MAX_RATE_KEYS) return;
    const [oldest] = this.#keys.keys();
    this.#keys.delete(oldest as string);
  }
}

function same(a: Rate | undefined, b: Rate | undefined): boolean {
  return a?.max === b?.max && a?.perMs === b?.perMs;
}
