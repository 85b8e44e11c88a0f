/**
 * What a client has certainly received. Every invocation and result written to its socket takes a
 * number; while some are unconfirmed the engine pings at most once a second, and a pong confirms all
 * that was written before its ping. Results are kept until they are confirmed, so that they can be
 * sent again on the connection that reattaches; clients ignore doubles.
 *
 * Hot path (`wrote`, `keep`): one number, one array slot.
 */
import type { Clock, Timer } from './clock.js';

/** Shortest time between two pings that ask for a confirmation, in milliseconds. */
const PING_EVERY_MS = 1_000;
/** Unconfirmed results kept for a client; above it the oldest are dropped. */
export const MAX_KEPT_RESULTS = 1_000;
/** Bytes (as UTF-16 units) of unconfirmed results kept for a client. */
export const MAX_KEPT_RESULT_BYTES = 4 * 1024 * 1024;

interface Kept {
  readonly number: number;
  readonly text: string;
}

export class Confirmations {
  readonly #clock: Clock;
  readonly #ping: (payload: string) => void;
  /** Is anything unconfirmed worth a ping? */
  readonly #isWaiting: () => boolean;
  #written = 0;
  #confirmed = 0;
  #pinged = 0;
  #pingedAt = -Infinity;
  #timer: Timer | undefined;
  #kept: Kept[] = [];
  #first = 0;
  #keptBytes = 0;

  constructor(clock: Clock, ping: (payload: string) => void, isWaiting: () => boolean) {
    this.#clock = clock;
    this.#ping = ping;
    this.#isWaiting = isWaiting;
  }

  /** An invocation is written: its number. */
  wrote(): number {
    this.#plan();
    return ++this.#written;
  }

  /** A result is written, or would be if there were a socket. */
  keep(text: string): void {
    this.#kept.push({ number: this.wrote(), text });
    this.#keptBytes += text.length;
    while (this.#kept.length - this.#first > MAX_KEPT_RESULTS || this.#keptBytes > MAX_KEPT_RESULT_BYTES) this.#shift();
  }

  has(number: number): boolean {
    return number <= this.#confirmed;
  }

  get isKeeping(): boolean {
    return this.#kept.length > this.#first;
  }

  /** A pong with the payload of one of our pings. */
  pong(payload: string): void {
    const number = Number(payload);
    if (!Number.isInteger(number) || number <= this.#confirmed || number > this.#pinged) return;
    this.#confirmed = number;
    while (this.isKeeping && (this.#kept[this.#first] as Kept).number <= number) this.#shift();
    if (this.#confirmed < this.#written) this.#plan();
  }

  /** The results that nobody has confirmed, for the connection that takes over. */
  takeKept(): string[] {
    const texts = this.#kept.slice(this.#first).map(({ text }) => text);
    this.#kept = [];
    this.#first = this.#keptBytes = 0;
    return texts;
  }

  /** The socket is gone: no more pings. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#pingedAt = Infinity;
  }

  #plan(): void {
    if (this.#timer !== undefined || this.#pinged > this.#confirmed || this.#pingedAt === Infinity) return;
    const waitMs = Math.max(0, this.#pingedAt + PING_EVERY_MS - this.#clock.monotonic());
    this.#timer = this.#clock.setTimer(() => {
      this.#timer = undefined;
      if (this.#confirmed === this.#written || !this.#isWaiting()) return;
      this.#pinged = this.#written;
      this.#pingedAt = this.#clock.monotonic();
      this.#ping(String(this.#pinged));
    }, waitMs);
  }

  #shift(): void {
    this.#keptBytes -= (this.#kept[this.#first++] as Kept).text.length;
    if (this.#first > MAX_KEPT_RESULTS) {
      this.#kept = this.#kept.slice(this.#first);
      this.#first = 0;
    }
  }
}
