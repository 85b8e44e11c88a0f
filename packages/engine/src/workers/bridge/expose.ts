/** A function of this engine that the other one may call: its answer goes back as it is. */
import { Payload } from '@trine/protocol';
import type { Outcome, WorkerHost } from '../../core/worker-host.js';
import { crossBridge, MAX_HOPS, tooManyHops, type RemoteEngine } from '../../remote/index.js';
import type { BridgeSettings } from './config.js';

export function exposeFunction(
  host: WorkerHost,
  remote: RemoteEngine,
  { local_function, remote_function }: BridgeSettings['expose'][number],
): void {
  const description = `Function ${local_function} of another engine`;
  remote.registerFunction(remote_function ?? local_function, description, async (call): Promise<Outcome> => {
    const baggage = crossBridge(call.baggage);
    if (baggage === undefined) return { ok: false, error: tooManyHops(local_function, MAX_HOPS), cause: 'refused' };
    const { payload, metadata, traceparent } = call;
    const outcome = await host.invoke({ functionId: local_function, payload, metadata, traceparent, baggage });
    return outcome.ok ? { ok: true, result: outcome.result ?? Payload.null } : outcome;
  });
}
