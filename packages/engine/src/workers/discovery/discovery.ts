/**
 * Discovery: the `engine::*` functions that show who offers what, and the two trigger types that
 * tell of changes.
 */
import { startAvailability } from './availability.js';
import { registerFunctionQueries } from './functions.js';
import { registerTriggerQueries } from './triggers.js';
import { registerWorkerQueries } from './workers.js';
import type { DiscoverySource } from './source.js';
import type { RunningWorker, WorkerHost } from '../../core/worker-host.js';

export function startDiscovery(host: WorkerHost, source: DiscoverySource): RunningWorker {
  registerFunctionQueries(host, source);
  registerTriggerQueries(host, source);
  registerWorkerQueries(host, source);
  const availability = startAvailability(host, source);
  return { stop: () => availability.stop() };
}
