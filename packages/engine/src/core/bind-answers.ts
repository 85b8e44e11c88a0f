/**
 * Answers of a provider on a socket about triggers that belong to no worker: whoever registers one
 * waits for the provider's word. Some providers stay silent, which counts as consent.
 */
import { TrineError, type ErrorBody } from '@trine/protocol';
import type { Clock, Timer } from './clock.js';

/** How long a provider may take to refuse, in milliseconds (the reference's wait). */
export const ANSWER_WAIT_MS = 10_000;

interface Waiting {
  readonly timer: Timer;
  settle(error: ErrorBody | undefined): void;
}

export class BindAnswers {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Waiting>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws TrineError with the provider's code and message, when it refuses in time */
  wait(triggerId: string): Promise<void> {
    this.answered(triggerId, undefined);
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(() => this.answered(triggerId, undefined), ANSWER_WAIT_MS);
      this.#waiting.set(triggerId, {
        timer,
        settle: (error) =>
          error === undefined ? resolve() : reject(new TrineError(error.code, `${error.code}: ${error.message}`)),
      });
    });
  }

  /** @returns whether somebody waited for it */
  answered(triggerId: string, error: ErrorBody | undefined): boolean {
    const waiting = this.#waiting.get(triggerId);
    if (waiting === undefined) return false;
    this.#waiting.delete(triggerId);
    waiting.timer.cancel();
    waiting.settle(error);
    return true;
  }

  /** The provider is gone: nobody waits any longer, its triggers wait for the next provider. */
  stop(): void {
    for (const id of [...this.#waiting.keys()]) this.answered(id, undefined);
  }
}
