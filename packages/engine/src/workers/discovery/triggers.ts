import { DEFAULT_NAMESPACE, ErrorCode, Payload, TrineError } from '@trine/protocol';
import { z } from 'zod';
import type { TriggerAsked } from '../../core/session-access.js';
import type { Trigger, TriggerTypeProvider } from '../../core/bindings.js';
import type { HandlerContext, JsonValue, WorkerHost } from '../../core/worker-host.js';
import { functionDetail } from './functions.js';
import type { PersistentTriggers } from './persistent-triggers.js';
import { oneNamespace } from './one-namespace.js';
import type { DiscoverySource } from './source.js';
import {
  byText,
  contains,
  isGiven,
  isLegacy,
  triggerSummary,
  triggerTypeSummary,
  typeWorkerName,
  type Row,
} from './summaries.js';

const listRequest = z.object({
  search: z.string().nullish(),
  prefix: z.string().nullish(),
  worker: z.string().nullish(),
  include_internal: z.boolean().nullish(),
});
const rowsRequest = z.object({
  search: z.string().nullish(),
  trigger_type: z.string().nullish(),
  function_id: z.string().nullish(),
  worker: z.string().nullish(),
  include_internal: z.boolean().nullish(),
});
const registerRequest = z.object({
  trigger_type: z.string().min(1),
  function_id: z.string().min(1),
  config: z.unknown().optional(),
  metadata: z.unknown().optional(),
  namespace: z.string().nullish(),
  trigger_namespace: z.string().nullish(),
});

export function registerTriggerQueries(host: WorkerHost, source: DiscoverySource, kept: PersistentTriggers): void {
  const { bindings } = source.core;
  host.registerFunction({
    id: 'engine::triggers::list',
    description: 'List trigger types (trigger instances for clients before 0.13)',
    request: listRequest,
    handler(input, context) {
      if (isLegacy(context.caller.sdkVersion))
        return { triggers: legacyRows(source, context, input.include_internal === true) };
      const rows = [...bindings.types()]
        .filter((type) => input.include_internal === true || !type.id.startsWith('engine::'))
        .filter((type) => !isGiven(input.prefix) || type.id.startsWith(input.prefix))
        .filter((type) => !isGiven(input.worker) || typeWorkerName(type) === input.worker)
        .filter((type) => contains(input.search ?? undefined, type.id, type.description))
        .map(triggerTypeSummary);
      return { triggers: rows.sort(byText('id')) };
    },
  });
  host.registerFunction({
    id: 'engine::trigger-types::list',
    description: 'List trigger types (for clients before 0.13)',
    request: listRequest,
    handler: (input) => ({
      trigger_types: [...bindings.types()]
        .filter((type) => input.include_internal === true || !type.id.startsWith('engine::'))
        .map((type): Row => ({
          id: type.id,
          description: type.description,
          trigger_request_format: type.configSchema() as JsonValue | undefined,
          call_request_format: type.requestSchema() as JsonValue | undefined,
        }))
        .sort(byText('id')),
    }),
  });
  host.registerFunction({
    id: 'engine::triggers::info',
    description: 'Describe one trigger type with its schemas',
    request: z.object({ id: z.string(), namespace: z.string().nullish() }),
    handler(input) {
      const offered = [...bindings.types()].filter((type) => type.id === input.id);
      const namespaces = offered.map((type) => type.namespace);
      const namespace = oneNamespace(`Trigger type '${input.id}'`, 'registered', input.namespace, namespaces);
      return typeDetail(source, bindings.type(namespace, input.id) as TriggerTypeProvider);
    },
  });
  host.registerFunction({
    id: 'engine::registered-triggers::list',
    description: 'List registered triggers, active and pending',
    request: rowsRequest,
    handler(input, context) {
      const rows: Row[] = [];
      for (const trigger of bindings.triggers()) {
        if (input.include_internal !== true && trigger.functionId.startsWith('engine::')) continue;
        if (isGiven(input.trigger_type) && trigger.type !== input.trigger_type) continue;
        if (isGiven(input.function_id) && trigger.functionId !== input.function_id) continue;
        if (!contains(input.search ?? undefined, trigger.id, trigger.type, trigger.functionId)) continue;
        if (!context.mayCall(trigger.functionId, trigger.namespace)) continue;
        const row = triggerSummary(trigger);
        if (isGiven(input.worker) && row['worker_name'] !== input.worker) continue;
        rows.push(row);
      }
      return { registered_triggers: rows.sort(byText('id')) };
    },
  });
  host.registerFunction({
    id: 'engine::registered-triggers::info',
    description: 'Describe one registered trigger with its type and function',
    request: z.object({ id: z.string() }),
    handler(input, context) {
      const trigger = bindings.get(input.id);
      if (trigger === undefined || !context.mayCall(trigger.functionId, trigger.namespace)) {
        throw new TrineError(ErrorCode.notFound, `Registered trigger '${input.id}' was not found.`);
      }
      return triggerDetail(source, trigger);
    },
  });
  host.registerFunction({
    id: 'engine::register_trigger',
    description:
      'Register a trigger that belongs to no worker and is kept over restarts; the same one again answers the existing id',
    request: registerRequest,
    async handler(input, context) {
      const namespace = input.namespace ?? DEFAULT_NAMESPACE;
      const metadata = isGiven(input.metadata) ? Payload.fromForeign(input.metadata) : undefined;
      const { triggerType, functionId, config } = await admitted(source, context, {
        id: host.random.uuid(),
        triggerType: input.trigger_type,
        functionId: input.function_id,
        namespace,
        config: Payload.fromForeign(input.config ?? null),
        metadata,
      });
      const id = await kept.register({
        type: triggerType,
        functionId,
        namespace,
        triggerNamespace: input.trigger_namespace ?? undefined,
        config,
        metadata,
      });
      return { id };
    },
  });
  host.registerFunction({
    id: 'engine::unregister_trigger',
    description: 'Remove a trigger that belongs to no worker, or one of the calling worker',
    request: z.object({ id: z.string(), trigger_type: z.string().nullish() }),
    async handler(input, context) {
      const trigger = bindings.get(input.id);
      if (trigger === undefined || (trigger.owner !== undefined && trigger.owner.id !== context.caller.workerId))
        return { removed: false };
      if (!context.mayCall(trigger.functionId, trigger.namespace)) return { removed: false };
      const removed = trigger.owner === undefined ? kept.remove(input.id) : bindings.unregister(input.id);
      return { removed: await removed };
    },
  });
}

/**
 * A trigger as the caller's access rules let it be: under the function id that is meant, with its target allowed.
 *
 * @throws TrineError `FORBIDDEN`
 */
async function admitted(source: DiscoverySource, context: HandlerContext, asked: TriggerAsked): Promise<TriggerAsked> {
  const session = source.core.session(context.caller.workerId);
  const answer = await session?.access?.admitTrigger(session, asked, { keepId: true });
  if (answer === undefined) return asked;
  if (!answer.ok) throw new TrineError(answer.error.code, answer.error.message);
  return answer.admitted;
}

function legacyRows(source: DiscoverySource, context: HandlerContext, includeInternal: boolean): Row[] {
  const rows: Row[] = [];
  for (const trigger of source.core.bindings.triggers()) {
    if (!includeInternal && trigger.functionId.startsWith('engine::')) continue;
    if (!context.mayCall(trigger.functionId, trigger.namespace)) continue;
    rows.push({
      id: trigger.id,
      trigger_type: trigger.type,
      function_id: trigger.functionId,
      config: trigger.config.value as JsonValue,
      metadata: trigger.metadata?.value as JsonValue | undefined,
    });
  }
  return rows.sort(byText('id'));
}

export function typeDetail(source: DiscoverySource, type: TriggerTypeProvider): Row {
  let instances = 0;
  for (const trigger of source.core.bindings.triggers())
    if (trigger.type === type.id && trigger.provider !== undefined) instances++;
  return {
    ...triggerTypeSummary(type),
    configuration_schema: type.configSchema() as JsonValue | undefined,
    request_schema: type.requestSchema() as JsonValue | undefined,
    response_schema: type.responseSchema() as JsonValue | undefined,
    instance_count: instances,
  };
}

function triggerDetail(source: DiscoverySource, trigger: Trigger): Row {
  const owner = source.core.registry.resolve(trigger.namespace, trigger.functionId);
  const summary = triggerSummary(trigger);
  delete summary['config_summary'];
  return {
    ...summary,
    metadata: trigger.metadata?.value as JsonValue | undefined,
    trigger: trigger.provider === undefined ? null : typeDetail(source, trigger.provider),
    function: owner === undefined ? null : functionDetail(source, owner),
  };
}
