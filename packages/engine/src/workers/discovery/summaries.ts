/** The rows that discovery answers with, in the shapes that clients of all eras know. */
import type { JsonValue } from '../../core/worker-host.js';
import type { FunctionOwner } from '../../core/registry.js';
import type { Trigger, TriggerTypeProvider } from '../../core/bindings.js';
import { workerForTriggerType } from '../../core/trigger-type-names.js';

export type Row = Record<string, JsonValue | undefined>;

/** Longest `config_summary`, in characters. */
const SUMMARY_LENGTH = 80;

export function functionWorkerName(owner: FunctionOwner): string {
  return owner.session.info.name ?? firstSegment(owner.id);
}

export function functionSummary(owner: FunctionOwner): Row {
  return {
    function_id: owner.id,
    namespace: owner.namespace,
    worker_name: functionWorkerName(owner),
    description: owner.description,
    metadata: owner.metadata as JsonValue | undefined,
  };
}

export function typeWorkerName(type: TriggerTypeProvider): string {
  return type.session.info.name ?? workerForTriggerType(type.id) ?? firstSegment(type.id);
}

export function triggerTypeSummary(type: TriggerTypeProvider): Row {
  return { id: type.id, namespace: type.namespace, worker_name: typeWorkerName(type), description: type.description };
}

export function triggerSummary(trigger: Trigger): Row {
  const config = trigger.config.json;
  return {
    id: trigger.id,
    trigger_type: trigger.type,
    function_id: trigger.functionId,
    worker_name: trigger.owner?.info.name ?? firstSegment(trigger.functionId),
    config: trigger.config.value as JsonValue,
    config_summary: config.length > SUMMARY_LENGTH ? `${config.slice(0, SUMMARY_LENGTH)}…` : config,
    status: trigger.provider === undefined ? 'pending' : 'active',
    ...(trigger.owner === undefined ? { persistent: true } : {}),
  };
}

/** Hidden from lists unless asked for. */
export function isInternalFunction(owner: FunctionOwner): boolean {
  if (owner.id.startsWith('engine::') && !owner.id.startsWith('engine::queue::')) return true;
  const { metadata } = owner;
  return (
    typeof metadata === 'object' && metadata !== null && (metadata as Record<string, unknown>)['internal'] === true
  );
}

export function contains(needle: string | undefined, ...texts: (string | undefined)[]): boolean {
  if (needle === undefined || needle === '') return true;
  const wanted = needle.toLowerCase();
  return texts.some((text) => text?.toLowerCase().includes(wanted) === true);
}

/** Optional members of an input may be absent or null: both mean "not given". */
export function isGiven<T>(value: T | null | undefined): value is T {
  return value !== undefined && value !== null;
}

export function textOf(row: Row, key: string): string {
  const value = row[key];
  return typeof value === 'string' ? value : '';
}

export function byText(key: string): (a: Row, b: Row) => number {
  return (a, b) => compareText(textOf(a, key), textOf(b, key));
}

/** By code units: the order that every client sorts in too. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function firstSegment(id: string): string {
  return id.split('::')[0] ?? id;
}

/** SDKs before 0.13 know an older set of shapes. */
export function isLegacy(sdkVersion: string | undefined): boolean {
  const match = /^0\.(\d+)\./.exec(sdkVersion ?? '');
  return match !== null && Number(match[1]) < 13;
}
