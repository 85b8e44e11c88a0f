/** Waiting for a worker to be ready, with an end. */
import type { Clock } from '../core/clock.js';
import { WorkerOpsError } from './errors.js';
import { CRASH_LOOP_EXITS, describeExit, type LocalWorker, type LocalWorkerStatus } from './local-worker.js';

/** How long `wait: true` waits for a worker, in milliseconds. */
export const READY_TIMEOUT_MS = 120_000;

/**
 * Resolves when the worker runs.
 *
 * @throws WorkerOpsError `W160` when it cannot be installed or keeps ending, `W161` when time is up
 */
export async function waitReady(worker: LocalWorker, clock: Clock, timeoutMs = READY_TIMEOUT_MS): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: WorkerOpsError): void => {
      registration.remove();
      timer.cancel();
      if (error === undefined) resolve();
      else reject(error);
    };
    const look = (status: LocalWorkerStatus): void => {
      if (status.state === 'running') settle();
      else if (status.state === 'failed')
        settle(new WorkerOpsError('W160', `${worker.name}: ${status.failure ?? 'failed'}`, { state: status.state }));
      else if (status.state === 'stopping')
        settle(new WorkerOpsError('W160', `${worker.name} was stopped before it was ready`, { state: status.state }));
      else if (status.state === 'backing-off' && status.exitsInRow >= CRASH_LOOP_EXITS)
        settle(new WorkerOpsError('W160', crashLoop(worker.name, status), { state: status.state }));
    };
    const registration = worker.changed.on(look);
    const timer = clock.setTimer(() => {
      const text = `${worker.name} is not ready after ${timeoutMs / 1000} s (it is ${worker.status.state}); see: iii worker logs ${worker.name}`;
      settle(new WorkerOpsError('W161', text, { state: worker.status.state }));
    }, timeoutMs);
    look(worker.status);
  });
}

/** What status and errors say of a worker that does not stay up. */
export function crashLoop(name: string, status: LocalWorkerStatus): string {
  const exit = status.lastExit === undefined ? '' : `, the last time ${describeExit(status.lastExit)}`;
  return `${name} is in a crash loop: it ended ${status.exitsInRow} times in a row${exit}; see: iii worker logs ${name}`;
}
