import { ErrorCode, TrineError } from '@trine/protocol';
import { z } from 'zod';
import type { FunctionOwner } from '../../core/registry.js';
import type { Session } from '../../core/session.js';
import type { HandlerContext, WorkerHost } from '../../core/worker-host.js';
import type { BuiltInInfo, DiscoverySource } from './source.js';
import { oneNamespace } from './one-namespace.js';
import {
  byText,
  contains,
  functionSummary,
  isGiven,
  isLegacy,
  triggerSummary,
  triggerTypeSummary,
  type Row,
} from './summaries.js';

const listRequest = z.object({
  search: z.string().nullish(),
  runtime: z.string().nullish(),
  status: z.string().nullish(),
  /** Clients before 0.13 ask for one worker by its id. */
  worker_id: z.string().nullish(),
});

export function registerWorkerQueries(host: WorkerHost, source: DiscoverySource): void {
  host.registerFunction({
    id: 'engine::workers::list',
    description: 'List connected workers and the built-in ones',
    request: listRequest,
    handler: (input, context) => ({
      workers: rows(source, context)
        // Clients before 0.13 know the key as always there.
        .map(({ row }) => (isLegacy(context.caller.sdkVersion) ? { latest_metrics: null, ...row } : row))
        .filter((row) => contains(input.search ?? undefined, row['name'] as string | undefined))
        .filter((row) => !isGiven(input.runtime) || row['runtime'] === input.runtime)
        .filter((row) => !isGiven(input.status) || row['status'] === input.status)
        .filter((row) => !isGiven(input.worker_id) || row['id'] === input.worker_id)
        .sort(
          (a, b) =>
            byText('sort')({ sort: a['name'] ?? a['id'] }, { sort: b['name'] ?? b['id'] }) || byText('id')(a, b),
        ),
      timestamp: host.clock.now(),
    }),
  });
  host.registerFunction({
    id: 'engine::workers::info',
    description: 'Describe one worker with its functions, trigger types and triggers',
    request: z.object({ name: z.string(), namespace: z.string().nullish() }),
    handler(input, context) {
      const found = rows(source, context).filter(({ row }) => row['name'] === input.name || row['id'] === input.name);
      const namespace = oneNamespace(`Worker '${input.name}'`, 'connected', input.namespace, found.map(namespaceOf));
      const there = found.filter((each) => namespaceOf(each) === namespace);
      const first = there[0];
      if (first === undefined) throw new TrineError(ErrorCode.notFound, `Worker '${input.name}' is not connected.`);
      const sessionIds = there.map(({ sessionId }) => sessionId);
      return { worker: first.row, ...offers(source, context, sessionIds) };
    },
  });
}

/** Everything that the sessions of one worker name offer. */
function offers(source: DiscoverySource, context: HandlerContext, sessionIds: readonly string[]): Row {
  const { core } = source;
  const functions: Row[] = [];
  for (const owner of core.registry.serving()) {
    if (sessionIds.includes(owner.session.id) && context.mayCall(owner.id, owner.namespace))
      functions.push(functionSummary(owner));
  }
  const types = [...core.bindings.types()]
    .filter((type) => sessionIds.includes(type.session.id))
    .map(triggerTypeSummary);
  const triggers = [...core.bindings.triggers()]
    .filter((trigger) => trigger.owner !== undefined && sessionIds.includes(trigger.owner.id))
    .filter((trigger) => context.mayCall(trigger.functionId, trigger.namespace))
    .map(triggerSummary);
  return {
    functions: functions.sort(byText('function_id')),
    trigger_types: types.sort(byText('id')),
    registered_triggers: triggers.sort(byText('id')),
  };
}

interface WorkerRow {
  readonly row: Row;
  readonly sessionId: string;
}

function namespaceOf({ row }: WorkerRow): string {
  return row['namespace'] as string;
}

/** Workers that have not said their process id (browsers, or not described yet) are left out. */
function rows(source: DiscoverySource, context: HandlerContext): WorkerRow[] {
  const found: WorkerRow[] = [];
  for (const session of source.core.sessions()) {
    if (session.kind !== 'engine' && session.info.pid !== undefined)
      found.push({ row: sessionRow(source, session, context), sessionId: session.id });
  }
  for (const info of source.builtIns())
    found.push({ row: builtInRow(source, info, context), sessionId: info.sessionId });
  return found;
}

function visibleIds(functions: Iterable<FunctionOwner>, context: HandlerContext): string[] {
  return [...functions]
    .filter(({ id, namespace }) => context.mayCall(id, namespace))
    .map(({ id }) => id)
    .sort();
}

function sessionRow(source: DiscoverySource, session: Session, context: HandlerContext): Row {
  const { info } = session;
  const functions = visibleIds(session.functions, context);
  return {
    id: session.id,
    name: info.name ?? null,
    description: info.description ?? null,
    version: info.version ?? null,
    namespace: session.namespace,
    runtime: info.runtime ?? null,
    os: info.os ?? null,
    status: 'connected',
    function_count: functions.length,
    functions,
    connected_at_ms: session.connectedAtMs,
    active_invocations: session.executing.size + session.waiting.size,
    isolation: info.isolation ?? null,
    ip_address: session.address ?? null,
    pid: info.pid,
    internal: false,
    ...latestMetrics(source, session),
  };
}

function latestMetrics(source: DiscoverySource, session: Session): Row {
  const metrics = source.latestMetrics(session.id);
  return metrics === undefined ? {} : { latest_metrics: { ...metrics, runtime: session.info.runtime ?? 'unknown' } };
}

function builtInRow(source: DiscoverySource, info: BuiltInInfo, context: HandlerContext): Row {
  const functions = visibleIds(source.core.session(info.sessionId)?.functions ?? [], context);
  return {
    id: info.id,
    name: info.name,
    description: info.description,
    version: source.version,
    namespace: 'default',
    runtime: 'engine',
    os: null,
    status: 'available',
    function_count: functions.length,
    functions,
    connected_at_ms: info.connectedAtMs,
    active_invocations: 0,
    isolation: 'in-process',
    ip_address: null,
    internal: info.internal,
  };
}
