/** Chance that can be repeated: the same seed makes the same choices in the same order. */
import type { Random } from '../../../core/random.js';

export class Chance implements Random {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed | 0;
  }

  /** From 0, below 1 (mulberry32). */
  float(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  hex(bytes: number): string {
    let text = '';
    while (text.length < bytes * 2)
      text += Math.floor(this.float() * 2 ** 32)
        .toString(16)
        .padStart(8, '0');
    return text.slice(0, bytes * 2);
  }

  uuid(): string {
    const hex = this.hex(16);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.float() * (high - low + 1));
  }

  is(share: number): boolean {
    return this.float() < share;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.between(0, from.length - 1)] as T;
  }

  /** One of several, by weight; undefined when none has any. */
  weigh<T>(from: readonly (readonly [weight: number, choice: T])[]): T | undefined {
    let left = this.float() * from.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, choice] of from) if ((left -= weight) < 0) return choice;
    return undefined;
  }
}
