/**
 * `engine::functions-available` and `engine::workers-available`: who listens is told of changes, at
 * once for workers, gathered for a moment for functions. Fire and forget.
 */
import { Payload } from '@trine/protocol';
import type { Timer } from '../../core/clock.js';
import type { RunningWorker, TriggerBinding, WorkerHost } from '../../core/worker-host.js';
import type { DiscoverySource } from './source.js';
import { byText, functionSummary } from './summaries.js';

/** Changes of functions within this time are told as one, in milliseconds. */
const GATHER_MS = 100;

export function startAvailability(host: WorkerHost, source: DiscoverySource): RunningWorker {
  const functionListeners = new Map<string, TriggerBinding>();
  const workerListeners = new Map<string, TriggerBinding>();
  /** Functions whose presence differs from what was told last: what came and went meanwhile is no change. */
  const differing = new Set<string>();
  let timer: Timer | undefined;

  const fire = (listeners: ReadonlyMap<string, TriggerBinding>, payload: unknown): void => {
    const document = Payload.fromForeign(payload);
    for (const { functionId, namespace, metadata } of listeners.values()) {
      void host.invoke({ functionId, namespace, metadata, payload: document.fork() });
    }
  };
  const listen = (id: string, description: string, listeners: Map<string, TriggerBinding>): void => {
    host.registerTriggerType({
      id,
      description,
      bind: (trigger) => void listeners.set(trigger.id, trigger),
      unbind: (trigger) => void listeners.delete(trigger.id),
    });
  };
  listen('engine::functions-available', 'Fires when the set of functions changes', functionListeners);
  listen('engine::workers-available', 'Fires when a worker connects, describes itself or disconnects', workerListeners);

  const onFunctions = source.core.registry.availability.on(({ namespace, functionId }) => {
    if (functionListeners.size === 0) return differing.clear();
    const key = JSON.stringify([namespace, functionId]);
    if (!differing.delete(key)) differing.add(key);
    timer ??= host.clock.setTimer(() => {
      timer = undefined;
      if (differing.size === 0) return;
      differing.clear();
      const functions = [...source.core.registry.serving()].map(functionSummary).sort(byText('function_id'));
      fire(functionListeners, { event: 'functions_changed', functions });
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
