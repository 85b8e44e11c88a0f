/**
 * `engine::functions-available` and `engine::workers-available`: who listens is told of changes, at
 * once for workers, gathered for a moment for functions. Fire and forget.
 */
import { Payload } from '@trine/protocol';
import { z } from 'zod';
import type { Timer } from '../../core/clock.js';
import type { RunningWorker, TriggerBinding, WorkerHost } from '../../core/worker-host.js';
import { FunctionChanges } from './function-changes.js';
import type { DiscoverySource } from './source.js';
import { compareText, functionSummary } from './summaries.js';

/** Changes of functions within this time are told as one, in milliseconds. */
const GATHER_MS = 100;

export function startAvailability(host: WorkerHost, source: DiscoverySource): RunningWorker {
  const functionListeners = new Map<string, TriggerBinding>();
  const workerListeners = new Map<string, TriggerBinding>();
  const changes = new FunctionChanges(source.core.registry);
  let timer: Timer | undefined;

  const fire = (listeners: ReadonlyMap<string, TriggerBinding>, payload: unknown): void => {
    const document = Payload.fromForeign(payload);
    for (const { functionId, namespace, metadata } of listeners.values()) {
      void host.invoke({ functionId, namespace, metadata, payload: document.fork() });
    }
  };
  host.registerTriggerType({
    id: 'engine::functions-available',
    description: 'Fires when functions come or go, or are described differently',
    requestSchema: z.object({
      event: z.literal('functions_changed'),
      functions: z.array(z.object({ function_id: z.string(), namespace: z.string(), worker_name: z.string() })),
    }),
    bind(trigger) {
      // The first one is told of what changes from here on.
      if (functionListeners.size === 0) changes.reset();
      functionListeners.set(trigger.id, trigger);
    },
    unbind(trigger) {
      functionListeners.delete(trigger.id);
      if (functionListeners.size === 0) changes.forget();
    },
  });
  host.registerTriggerType({
    id: 'engine::workers-available',
    description: 'Fires when a worker connects, describes itself or disconnects',
    requestSchema: z.object({
      event: z.enum(['worker_connected', 'worker_metadata_updated', 'worker_disconnected']),
      worker_id: z.string(),
    }),
    bind: (trigger) => void workerListeners.set(trigger.id, trigger),
    unbind: (trigger) => void workerListeners.delete(trigger.id),
  });

  const onFunctions = source.core.registry.changed.on(() => {
    if (functionListeners.size === 0) return;
    timer ??= host.clock.setTimer(() => {
      timer = undefined;
      if (functionListeners.size === 0 || !changes.look()) return;
      const { registry, router } = source.core;
      const serving = [...registry.serving()].sort((a, b) => compareText(a.id, b.id));
      const everybody = new Map<string, TriggerBinding>();
      for (const [id, binding] of functionListeners) {
        const owner = binding.workerId === undefined ? undefined : source.core.session(binding.workerId);
        if (owner?.access === undefined) {
          everybody.set(id, binding);
          continue;
        }
        const visible = serving.filter((each) => router.mayCall(owner, each.id, each.namespace));
        fire(new Map([[id, binding]]), { event: 'functions_changed', functions: visible.map(functionSummary) });
      }
      if (everybody.size > 0) fire(everybody, { event: 'functions_changed', functions: serving.map(functionSummary) });
    }, GATHER_MS);
  });
  const onWorkers = source.core.workers.on(({ kind, session }) => {
    if (workerListeners.size === 0 || session.kind === 'engine') return;
    const event = kind === 'updated' ? 'worker_metadata_updated' : `worker_${kind}`;
    fire(workerListeners, { event, worker_id: session.id });
  });
  return {
    stop() {
      timer?.cancel();
      onFunctions.remove();
      onWorkers.remove();
    },
  };
}
