/**
 * Which operations are decided: taken into a transaction by the storage thread, or refused by the main
 * thread because a sync takes too long. One shared word, moved by compare and exchange, so that an
 * operation is either run or refused, never both.
 *
 * Operations are taken in the order of their numbers. Numbers wrap at 32 bits and are compared by
 * their difference.
 */
const DECIDED = 0;

export class Taken {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  /**
   * Storage thread: takes all operations up to a number; from here on they are not refused.
   *
   * @returns whether an operation may run: it was not refused before
   */
  take(upTo: number): (id: number) => boolean {
    const decided = this.#move(upTo);
    return decided === undefined ? () => false : (id) => isAfter(id, decided);
  }

  /**
   * Main thread: refuses all operations up to a number that were not taken.
   *
   * @returns whether an operation is one of them; undefined = none is
   */
  refuse(upTo: number): ((id: number) => boolean) | undefined {
    const decided = this.#move(upTo);
    return decided === undefined ? undefined : (id) => isAfter(id, decided) && !isAfter(id, upTo);
  }

  /** Returns where the mark was, or undefined when it was there already. */
  #move(id: number): number | undefined {
    for (;;) {
      const decided = Atomics.load(this.#words, DECIDED);
      if (!isAfter(id, decided)) return undefined;
      if (Atomics.compareExchange(this.#words, DECIDED, decided, id | 0) === decided) return decided;
    }
  }
}

function isAfter(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}
