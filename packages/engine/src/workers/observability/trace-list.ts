/** `engine::traces::list`: which spans, in which order. */
import { z } from 'zod';
import type { SpanRecord } from '../../core/telemetry.js';
import { isInternalSpan } from './call-span.js';
import { keyOf } from './span-store.js';

/** Spans of one answer unless `limit` says otherwise. */
const DEFAULT_LIMIT = 100;
const NANOS_PER_MS = 1e6;

const pairs = z.array(z.tuple([z.string(), z.string()]));

export const traceListRequest = z.object({
  trace_id: z.string().nullish().describe('Spans of this trace'),
  trace_ids: z.array(z.string()).nullish().describe('Spans of these traces'),
  search_all_spans: z.boolean().nullish().describe('true: all spans; default: those without a parent that is stored'),
  include_internal: z.boolean().nullish().describe('true: the calls that the engine recorded for itself too'),
  service_name: z.string().nullish().describe('Part of the name of the service, case ignored'),
  name: z.string().nullish().describe('Part of the name of the span, case ignored'),
  status: z.string().nullish().describe('`ok`, `error` or `unset`, or a part of it'),
  min_duration_ms: z.number().nullish(),
  max_duration_ms: z.number().nullish(),
  start_time: z.number().nullish().describe('Spans that ended then or later, in milliseconds since the epoch'),
  end_time: z.number().nullish().describe('Spans that began then or earlier, in milliseconds since the epoch'),
  attributes: pairs.nullish().describe('Names and values that a span must all have'),
  exclude_attributes: pairs.nullish().describe('Names and values of which a span may have none'),
  sort_by: z.string().nullish().describe('`start_time` (default), `duration`, `service_name` or `name`'),
  sort_order: z.string().nullish().describe('`asc` (default, oldest first) or `desc`'),
  offset: z.number().int().nonnegative().nullish(),
  limit: z.number().int().nonnegative().nullish().describe(`Default ${DEFAULT_LIMIT}`),
});
export type TraceListRequest = z.output<typeof traceListRequest>;

export interface TracePage {
  readonly spans: readonly SpanRecord[];
  /** Before paging. */
  readonly total: number;
  readonly offset: number;
  readonly limit: number;
}

/**
 * @param all - every span that is stored
 * @param nowNano - for the duration of those that still run
 */
export function listSpans(all: readonly SpanRecord[], input: TraceListRequest, nowNano: bigint): TracePage {
  const everySpan = input.search_all_spans === true;
  const traceIds = input.trace_id ? [input.trace_id] : (input.trace_ids ?? undefined);
  const wanted = traceIds === undefined ? undefined : new Set(traceIds.map((id) => id.toLowerCase()));
  const matching = everySpan ? matchingTraces(all, input) : undefined;
  const stored = everySpan ? undefined : new Set(all.map((span) => keyOf(span.traceId, span.spanId)));
  const found = all.filter(
    (span) =>
      (wanted === undefined || wanted.has(span.traceId)) &&
      (stored === undefined || isRoot(span, stored)) &&
      (input.include_internal === true || !isInternalSpan(span)) &&
      !(input.exclude_attributes ?? []).some((pair) => hasPair(span, pair)) &&
      (matching === undefined || matching.has(span.traceId)) &&
      (everySpan || (includes(span.name, input.name) && hasAll(span, input.attributes))) &&
      includes(span.serviceName, input.service_name) &&
      includes(span.status, input.status) &&
      isWithin(span, input, nowNano),
  );
  found.sort(order(input, nowNano));
  const offset = input.offset ?? 0;
  const limit = input.limit ?? DEFAULT_LIMIT;
  return { spans: found.slice(offset, offset + limit), total: found.length, offset, limit };
}

/** With all spans, name and attributes select traces: one matching span brings in its whole trace. */
function matchingTraces(all: readonly SpanRecord[], input: TraceListRequest): ReadonlySet<string> | undefined {
  if (!input.name && !input.attributes?.length) return undefined;
  const byName = new Set<string>();
  const byAttributes = new Set<string>();
  for (const span of all) {
    if (includes(span.name, input.name)) byName.add(span.traceId);
    if (hasAll(span, input.attributes)) byAttributes.add(span.traceId);
  }
  return new Set([...byName].filter((id) => byAttributes.has(id)));
}

export function isRoot(span: SpanRecord, stored: { has(key: string): boolean }): boolean {
  return span.parentSpanId === undefined || !stored.has(keyOf(span.traceId, span.parentSpanId));
}

function isWithin(span: SpanRecord, input: TraceListRequest, nowNano: bigint): boolean {
  const ms = durationMs(span, nowNano);
  const startMs = Number(span.startUnixNano) / NANOS_PER_MS;
  return (
    ms >= (input.min_duration_ms ?? -Infinity) &&
    ms <= (input.max_duration_ms ?? Infinity) &&
    startMs + ms >= (input.start_time ?? -Infinity) &&
    startMs <= (input.end_time ?? Infinity)
  );
}

function durationMs(span: SpanRecord, nowNano: bigint): number {
  return Number((span.endUnixNano === 0n ? nowNano : span.endUnixNano) - span.startUnixNano) / NANOS_PER_MS;
}

function includes(text: string, part: string | null | undefined): boolean {
  return !part || text.toLowerCase().includes(part.toLowerCase());
}

function hasPair(span: SpanRecord, [name, value]: readonly [string, string]): boolean {
  return span.attributes.some((pair) => pair[0] === name && pair[1] === value);
}

function hasAll(span: SpanRecord, wanted: readonly (readonly [string, string])[] | null | undefined): boolean {
  return (wanted ?? []).every((pair) => hasPair(span, pair));
}

/** By start and span id: the order of equals in lists, and of children in a tree. */
export function byStart(a: SpanRecord, b: SpanRecord): number {
  if (a.startUnixNano !== b.startUnixNano) return a.startUnixNano < b.startUnixNano ? -1 : 1;
  return compare(a.spanId, b.spanId);
}

function order(input: TraceListRequest, nowNano: bigint): (a: SpanRecord, b: SpanRecord) => number {
  const direction = (input.sort_order ?? 'asc').toLowerCase() === 'asc' ? 1 : -1;
  const first = (a: SpanRecord, b: SpanRecord): number => {
    switch (input.sort_by) {
      case 'duration':
      case 'duration_ms':
        return durationMs(a, nowNano) - durationMs(b, nowNano);
      case 'service_name':
        return compare(a.serviceName, b.serviceName);
      case 'name':
        return compare(a.name, b.name);
      default:
        return 0;
    }
  };
  return (a, b) => direction * (first(a, b) || byStart(a, b));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
