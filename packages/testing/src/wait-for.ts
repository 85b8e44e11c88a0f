export interface WaitOptions {
  /** Give up after this many milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
  /** Look again after this many milliseconds. Default 10. */
  readonly everyMs?: number;
  /** What was waited for, for the error. */
  readonly what?: string;
}

/**
 * Waits until `check` returns something truthy and returns that. A check that throws counts as not
 * yet; its last error is told when time runs out.
 *
 * @example
 * await waitFor(() => seen.length === 3, { what: 'three deliveries' });
 */
export async function waitFor<T>(check: () => T | Promise<T>, options: WaitOptions = {}): Promise<NonNullable<T>> {
  const { timeoutMs = 10_000, everyMs = 10, what = 'a condition' } = options;
  const deadline = performance.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await check();
      if (value) return value;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`waited ${timeoutMs} ms for ${what}`, lastError === undefined ? undefined : { cause: lastError });
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
