/** Dead letters that are moved back at a rate, so that what failed together does not come back together. */
import { toErrorBody } from '@trine/protocol';
import type { Timer } from '../../core/clock.js';
import type { WorkerHost } from '../../core/worker-host.js';
import type { DeadLetters } from './dead-letters.js';

/** How often some are moved, in milliseconds. */
const STEP_MS = 100;

interface Redrive {
  readonly perSecond: number;
  readonly today: boolean;
  left: number;
  /** Fractions of a job that earlier steps left over. */
  credit: number;
  timer: Timer | undefined;
}

export class Redrives {
  readonly #host: WorkerHost;
  readonly #deadLetters: DeadLetters;
  readonly #running = new Map<string, Redrive>();

  constructor(host: WorkerHost, deadLetters: DeadLetters) {
    this.#host = host;
    this.#deadLetters = deadLetters;
  }

  /**
   * Moves the dead letters of a queue or topic back, `perSecond` at a time; a new rate replaces the
   * old one. Answers how many there are. What is not moved when the engine stops stays dead-lettered.
   */
  async start(name: string, perSecond: number, today: boolean, limit = Infinity): Promise<number> {
    this.#running.get(name)?.timer?.cancel();
    const left = Math.min(limit, await this.#deadLetters.count(name));
    const redrive: Redrive = { perSecond, today, left, credit: 1, timer: undefined };
    this.#running.set(name, redrive);
    void this.#step(name, redrive);
    return left;
  }

  stop(): void {
    for (const { timer } of this.#running.values()) timer?.cancel();
    this.#running.clear();
  }

  async #step(name: string, redrive: Redrive): Promise<void> {
    const count = Math.min(Math.floor(redrive.credit), redrive.left);
    redrive.credit -= count;
    try {
      const moved = count === 0 ? 0 : await this.#deadLetters.redrive(name, redrive.today, count);
      redrive.left = moved < count ? 0 : redrive.left - moved;
    } catch (error) {
      this.#host.log.error('dead letters could not be moved back: trying again', {
        queue: name,
        error: toErrorBody(error).message,
      });
      redrive.credit += count;
    }
    if (this.#running.get(name) !== redrive) return;
    if (redrive.left <= 0) {
      this.#running.delete(name);
      return;
    }
    redrive.timer = this.#host.clock.setTimer(() => {
      redrive.credit += (redrive.perSecond * STEP_MS) / 1_000;
      void this.#step(name, redrive);
    }, STEP_MS);
  }
}
