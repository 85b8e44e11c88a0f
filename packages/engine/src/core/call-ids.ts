import type { Random } from './random.js';

/** Characters of an id that are the same for all calls of a router, and its last digits, which are the call's number. */
const STEM_CHARS = 24;
const NUMBER_DIGITS = 12;
const ID_CHARS = STEM_CHARS + NUMBER_DIGITS;

/** Two hexadecimal digits by number, and the value of a digit by its ASCII code (16 = none). */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const VALUES = new Uint8Array(128).fill(16);
for (let value = 0; value < 16; value++) VALUES[value.toString(16).charCodeAt(0)] = value;

/**
 * Ids of calls as executors see them: UUID-shaped (clients parse them as UUIDs), a stem by chance and the
 * call's number, so that an answer is found by a number. An id says nothing of who may answer: that is
 * the executor's session.
 */
export class CallIds {
  readonly #stem: string;
  #last = 0;
  /** The stem with all but the last four digits, of the numbers that share them. */
  #prefix = '';
  #prefixOf = -1;

  constructor(random: Random) {
    this.#stem = random.uuid().slice(0, STEM_CHARS);
  }

  /** The next number, from 1. */
  next(): number {
    return ++this.#last;
  }

  idOf(number: number): string {
    const low = number % 0x1_0000;
    const high = (number - low) / 0x1_0000;
    if (high !== this.#prefixOf) {
      this.#prefix = this.#stem + high.toString(16).padStart(NUMBER_DIGITS - 4, '0');
      this.#prefixOf = high;
    }
    return this.#prefix + (HEX[low >> 8] as string) + (HEX[low & 0xff] as string);
  }

  /** The number in an id of this router's making; 0, which no call has, for any other text. */
  numberOf(id: string): number {
    if (id.length !== ID_CHARS || !id.startsWith(this.#stem)) return 0;
    let number = 0;
    for (let i = STEM_CHARS; i < ID_CHARS; i++) {
      const code = id.charCodeAt(i);
      const value = code < 128 ? (VALUES[code] as number) : 16;
      if (value === 16) return 0;
      number = number * 16 + value;
    }
    return number;
  }
}
