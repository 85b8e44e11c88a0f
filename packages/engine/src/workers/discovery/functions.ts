import { DEFAULT_NAMESPACE, ErrorCode, TrineError } from '@trine/protocol';
import { z } from 'zod';
import type { FunctionOwner } from '../../core/registry.js';
import type { HandlerContext, JsonValue, WorkerHost } from '../../core/worker-host.js';
import type { DiscoverySource } from './source.js';
import { oneNamespace } from './one-namespace.js';
import {
  compareText,
  contains,
  functionSummary,
  functionWorkerName,
  isGiven,
  isInternalFunction,
  isLegacy,
  textOf,
  type Row,
} from './summaries.js';

/** Functions that one `engine::functions::info` call may ask for. */
const MAX_INFO_IDS = 32;

const listRequest = z.object({
  search: z.string().nullish(),
  prefix: z.string().nullish(),
  worker: z.string().nullish(),
  workers: z.array(z.string()).nullish(),
  include_internal: z.boolean().nullish(),
});

const infoRequest = z.object({
  function_id: z.string().nullish(),
  function_ids: z.array(z.string()).nullish(),
  namespace: z.string().nullish(),
});

export function registerFunctionQueries(host: WorkerHost, source: DiscoverySource): void {
  host.registerFunction({
    id: 'engine::functions::list',
    description: 'List functions that can be called',
    request: listRequest,
    handler: (input, context) => ({ functions: listFunctions(source, input, context) }),
  });
  host.registerFunction({
    id: 'engine::functions::info',
    description: 'Describe one function, or up to 32, with schemas and triggers',
    request: infoRequest,
    handler(input, context) {
      const { function_id: id, function_ids: ids } = input;
      const namespace = input.namespace ?? DEFAULT_NAMESPACE;
      if (isGiven(id) && isGiven(ids)) throw invalid('pass either `function_id` or `function_ids`, not both');
      if (isGiven(id)) return describe(source, context, input.namespace, id);
      if (!isGiven(ids)) throw invalid('missing field `function_id` (or `function_ids` for a batch)');
      if (ids.length === 0) throw invalid('`function_ids` must be a non-empty array of function ids');
      const unique = [...new Set(ids)];
      if (unique.length > MAX_INFO_IDS) throw invalid(`too many function_ids (max ${MAX_INFO_IDS})`);
      return {
        functions: unique.map((each): Row => {
          if (!context.mayCall(each, namespace)) return { function_id: each, error: 'forbidden' };
          const owner = source.core.registry.resolve(namespace, each);
          return owner === undefined ? { function_id: each, error: 'not_found' } : functionDetail(source, owner);
        }),
      };
    },
  });
}

function listFunctions(source: DiscoverySource, input: z.output<typeof listRequest>, context: HandlerContext): Row[] {
  const search = input.search ?? '';
  const found: { row: Row; rank: number }[] = [];
  for (const owner of source.core.registry.serving()) {
    if (input.include_internal !== true && isInternalFunction(owner)) continue;
    if (isGiven(input.prefix) && !owner.id.startsWith(input.prefix)) continue;
    const worker = functionWorkerName(owner);
    if (isGiven(input.worker) && worker !== input.worker) continue;
    if (isGiven(input.workers) && !input.workers.includes(worker)) continue;
    if (!contains(search, owner.id, owner.description)) continue;
    if (!context.mayCall(owner.id, owner.namespace)) continue;
    const row = functionSummary(owner);
    found.push({
      row: isLegacy(context.caller.sdkVersion) ? { ...row, ...legacyFields(owner) } : row,
      rank: rank(owner, search),
    });
  }
  found.sort((a, b) => a.rank - b.rank || compareText(textOf(a.row, 'function_id'), textOf(b.row, 'function_id')));
  return found.map(({ row }) => row);
}

/** Exact and segment matches first, then matches in the id, then in the description. */
function rank(owner: FunctionOwner, search: string): number {
  if (search === '') return 0;
  const id = owner.id.toLowerCase();
  const needle = search.toLowerCase();
  if (id.startsWith(needle) || id.split('::').includes(needle)) return 0;
  return id.includes(needle) ? 1 : 2;
}

function legacyFields(owner: FunctionOwner): Row {
  return {
    description: owner.description ?? null,
    request_format: (owner.requestFormat() as JsonValue | undefined) ?? null,
    response_format: (owner.responseFormat() as JsonValue | undefined) ?? null,
    metadata: (owner.metadata as JsonValue | undefined) ?? null,
  };
}

function describe(source: DiscoverySource, context: HandlerContext, named: string | null | undefined, id: string): Row {
  const { registry } = source.core;
  const serving = registry.namespacesOf(id);
  // A namespace that lacks the id falls back to a built-in, as calls do.
  if (isGiven(named) && registry.resolve(named, id) !== undefined) serving.push(named);
  const namespace = oneNamespace(`Function '${id}'`, 'registered', named, serving);
  if (!context.mayCall(id, namespace))
    throw new TrineError(ErrorCode.forbidden, `Function '${id}' is not visible to this session.`);
  return functionDetail(source, registry.resolve(namespace, id) as FunctionOwner);
}

export function functionDetail(source: DiscoverySource, owner: FunctionOwner): Row {
  const triggers: Row[] = [];
  for (const trigger of source.core.bindings.triggers()) {
    if (trigger.functionId !== owner.id || trigger.namespace !== owner.namespace) continue;
    triggers.push({ id: trigger.id, trigger_type: trigger.type, config: trigger.config.value as JsonValue });
  }
  return {
    ...functionSummary(owner),
    request_schema: owner.requestFormat() as JsonValue | undefined,
    response_schema: owner.responseFormat() as JsonValue | undefined,
    registered_triggers: triggers,
  };
}

function invalid(message: string): TrineError {
  return new TrineError(ErrorCode.invalidArguments, message);
}
