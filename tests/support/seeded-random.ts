/** Chance that can be repeated: the same seed makes the same choices in the same order. */
export class SeededRandom {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed | 0;
  }

  /** From 0, below 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.between(0, from.length - 1)] as T;
  }

  /** The same things in another order. */
  shuffled<T>(from: readonly T[]): T[] {
    const rest = [...from];
    return Array.from(from, () => rest.splice(this.between(0, rest.length - 1), 1)[0] as T);
  }
}

/**
 * The seed of a test that leaves things to chance: `TRINE_SEED`, else the time. Printed, so that a
 * failure can be repeated.
 */
export function testSeed(what: string): number {
  const seed = Number(process.env['TRINE_SEED'] ?? Date.now() % 2 ** 31);
  console.log(`${what}: seed ${seed} (repeat with TRINE_SEED=${seed})`);
  return seed;
}
