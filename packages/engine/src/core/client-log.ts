/**
 * Log lines that a client causes, by what it does wrong or by registering. Each is worth a line; a client
 * that does nothing else gets some per window, and then a count.
 */
import type { Clock } from './clock.js';
import type { Log, LogFields } from './log.js';

/** Lines that one client may cause per window. */
export const MAX_FAULT_LINES = 50;
/** Registrations of one client that are told of per window. */
export const MAX_NEWS_LINES = 2_000;
/** Length of a window, in milliseconds. */
export const FAULT_WINDOW_MS = 10_000;

export class ClientLog {
  readonly #clock: Clock;
  readonly #maxLines: number;
  #windowEnd = -Infinity;
  #lines = 0;
  #heldBack = 0;

  constructor(clock: Clock, maxLines: number) {
    this.#clock = clock;
    this.#maxLines = maxLines;
  }

  /** @param worker - the client's name for logs */
  write(level: 'info' | 'warn', log: Log, worker: string, message: string, fields: LogFields): void {
    const now = this.#clock.monotonic();
    if (now >= this.#windowEnd) {
      this.end(log, worker);
      this.#windowEnd = now + FAULT_WINDOW_MS;
      this.#lines = 0;
    }
    if (this.#lines < this.#maxLines) {
      this.#lines++;
      log[level](message, fields);
      if (this.#lines === this.#maxLines)
        log.warn('worker causes many lines: more are counted, not logged', { worker, window_ms: FAULT_WINDOW_MS });
    } else {
      this.#heldBack++;
    }
  }

  /** Tells what was held back. */
  end(log: Log, worker: string): void {
    if (this.#heldBack === 0) return;
    log.warn('lines about a worker were not logged', { worker, count: this.#heldBack });
    this.#heldBack = 0;
  }
}
