/** Time, passed in so that tests own it. */
export interface Clock {
  /** Wall time in milliseconds since the epoch: for `run_at`, expiry, cron and what users read. */
  now(): number;
  /** Steady time in milliseconds from an arbitrary start: for delays, backoff, windows and rates. */
  monotonic(): number;
  /** Calls `run` once after `delayMs`. Does not keep the process alive by itself. */
  setTimer(run: () => void, delayMs: number): Timer;
}

export interface Timer {
  cancel(): void;
}

/** Longest delay that the platform's timers keep; above it they fire at once. In milliseconds. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(run, delayMs) {
    const handle = setTimeout(run, Math.min(Math.max(0, delayMs), MAX_TIMER_MS));
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};
