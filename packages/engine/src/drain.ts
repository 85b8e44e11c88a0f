/**
 * The wait of an engine that is told to stop, between `drain` and `stop` of its workers.
 *
 * What is waited for: every call that was on its way when the wait began, and what the built-ins had
 * begun (jobs, HTTP requests). A worker that goes on calling is served meanwhile and holds up nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from './core/log.js';
import type { PendingCall } from './core/pending-call.js';

/** How long a stopping engine waits for what runs, in milliseconds: below the 30 s that Kubernetes gives. */
export const DRAIN_MS = 25_000;
/** How often it is looked whether all is over, in milliseconds. */
const LOOK_EVERY_MS = 10;
/** Functions that the log names. */
const MAX_TOLD = 10;

export interface DrainParts {
  readonly router: { pendingCalls(): readonly PendingCall[] };
  readonly builtIns: { readonly isIdle: boolean };
  readonly log: Log;
}

export class Drain {
  readonly #parts: DrainParts;
  /** By the clock of the system, never an injected one: whoever stops an engine waits in real time. */
  #deadline = Infinity;

  constructor(parts: DrainParts) {
    this.#parts = parts;
  }

  /** Sets the deadline, or an earlier one. */
  endWithin(ms: number): void {
    this.#deadline = Math.min(this.#deadline, performance.now() + ms);
  }

  /** Resolves when nothing runs any more that is waited for, or at the deadline. */
  async wait(): Promise<void> {
    const { router, builtIns, log } = this.#parts;
    // A start that failed sets no deadline: there is nothing to wait for.
    if (this.#deadline === Infinity) return;
    let calls = router.pendingCalls();
    const isOver = (): boolean => {
      calls = calls.filter(({ done }) => !done);
      return calls.length === 0 && builtIns.isIdle;
    };
    if (isOver()) return;
    const leftMs = Math.max(0, Math.round(this.#deadline - performance.now()));
    log.info('waiting for what runs', { calls: calls.length, at_most_ms: leftMs });
    while (performance.now() < this.#deadline) {
      await sleep(LOOK_EVERY_MS);
      if (isOver()) return;
    }
    log.warn('what still runs is cut off: its jobs are delivered again by the next engine, without a charge', {
      calls: calls.length,
      functions: [...new Set(calls.map(({ functionId }) => functionId))].slice(0, MAX_TOLD).join(', '),
    });
  }
}
