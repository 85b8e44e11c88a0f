/** Exit status of a process that a signal ended: 128 + its number. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/**
 * A second signal within this time is the first one again, in milliseconds: Ctrl-C reaches the
 * whole foreground group, and package managers pass it on to their child once more.
 */
const SAME_SIGNAL_MS = 500;

/** Resolves with the first signal that asks the process to end. A second one ends it at once. */
export function untilSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let firstAt: number | undefined;
    for (const [signal, exitCode] of Object.entries(SIGNALS)) {
      process.on(signal, () => {
        if (firstAt === undefined) {
          firstAt = performance.now();
          resolve(signal as NodeJS.Signals);
        } else if (performance.now() - firstAt > SAME_SIGNAL_MS) {
          process.exit(exitCode);
        }
      });
    }
  });
}
