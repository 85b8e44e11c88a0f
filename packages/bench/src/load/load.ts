import type { Target } from '../target.js';

/** Operations in flight unless a row says otherwise. */
export const IN_FLIGHT = 256;

/** Subscribers of the publish rows. */
export const SUBSCRIBERS = 10;

/** Sockets of the fan-out row, one subscriber on each. */
export const FAN_OUT_SOCKETS = 1_000;

/** Publishes in flight in the fan-out row: each is a thousand deliveries. */
export const FAN_OUT_IN_FLIGHT = 4;

/**
 * A load program: caller and worker at once, in this process, against one target.
 * `idle -> start() -> running -> stop() -> idle -> ... -> close()`.
 */
export interface Load {
  /** Operations finished so far; what is counted is the row's unit (answers, deliveries). */
  readonly finished: number;
  /** Answers that were errors, or that came twice or for nothing. Anything but 0 fails the row. */
  readonly faults: Faults;
  /** Time of each finished operation in microseconds, where the load keeps one in flight. */
  readonly latenciesMicros?: number[];
  /** Puts operations in flight and keeps them there. */
  start(): void;
  /** Sends no more; resolves when everything in flight has ended. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

export interface LoadContext {
  readonly target: Target;
  readonly random: () => number;
}

export type StartLoad = (context: LoadContext) => Promise<Load>;

/** Counts faults and keeps the first one's text. */
export class Faults {
  count = 0;
  first: string | undefined;

  add(text: string): void {
    this.count++;
    this.first ??= text.slice(0, 300);
  }
}

const SETTLE_DEADLINE_MS = 20_000;
const SETTLE_POLL_MS = 5;

/** Waits for a condition of the load; a load that never settles has lost something. */
export async function settle(what: string, condition: () => boolean, deadlineMs = SETTLE_DEADLINE_MS): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what} did not end within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, SETTLE_POLL_MS));
  }
}
