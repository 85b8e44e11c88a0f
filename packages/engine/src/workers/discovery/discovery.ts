/**
 * Discovery: the `engine::*` functions that show who offers what, and the two trigger types that
 * tell of changes.
 */
import { startAvailability } from './availability.js';
import { registerFunctionQueries } from './functions.js';
import { PersistentTriggers } from './persistent-triggers.js';
import { registerTriggerQueries } from './triggers.js';
import { registerWorkerQueries } from './workers.js';
import type { DiscoverySource } from './source.js';
import type { RunningWorker, WorkerHost } from '../../core/worker-host.js';

export interface Discovery extends RunningWorker {
  /** Puts the triggers in place that were kept; to be called before the other built-ins start. */
  restore(): Promise<void>;
}

export function startDiscovery(host: WorkerHost, source: DiscoverySource): Discovery {
  const kept = new PersistentTriggers(host, source.core.bindings);
  registerFunctionQueries(host, source);
  registerTriggerQueries(host, source, kept);
  registerWorkerQueries(host, source);
  const availability = startAvailability(host, source);
  return {
    restore: () => kept.restore(),
    async stop() {
      await availability.stop();
      await kept.stop();
    },
  };
}
