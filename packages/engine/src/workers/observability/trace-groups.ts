/** `engine::traces::group_by`: spans by the value of one of their attributes. */
import { z } from 'zod';
import type { SpanRecord } from '../../core/telemetry.js';
import { attributeOf, isInternalSpan } from './call-span.js';
import { byStart } from './trace-list.js';

/** Groups of one answer unless `limit` says otherwise. */
const DEFAULT_LIMIT = 100;
const NANOS_PER_MS = 1_000_000n;

export const groupByRequest = z.object({
  attribute: z.string().describe('The attribute whose values make the groups'),
  since_ms: z.number().nullish().describe('Spans that ended then or later, in milliseconds since the epoch'),
  limit: z.number().int().nonnegative().nullish().describe(`Default ${DEFAULT_LIMIT}`),
  include_internal: z.boolean().nullish(),
  label_attribute: z.string().nullish().describe('The attribute of the newest span that names a group'),
});

/** The groups as JSON text, the one that began last first. */
export function groupsText(
  all: readonly SpanRecord[],
  input: z.output<typeof groupByRequest>,
  nowNano: bigint,
): string {
  const groups = new Map<string, SpanRecord[]>();
  for (const span of all) {
    const value = attributeOf(span, input.attribute);
    if (value === undefined || (input.include_internal !== true && isInternalSpan(span))) continue;
    if (toMs(endOf(span, nowNano)) < (input.since_ms ?? -Infinity)) continue;
    const group = groups.get(value);
    if (group === undefined) groups.set(value, [span]);
    else group.push(span);
  }
  const rows = [...groups].map(([value, spans]) => {
    spans.sort(byStart);
    const firstMs = toMs((spans[0] as SpanRecord).startUnixNano);
    const lastMs = Math.max(...spans.map((span) => toMs(endOf(span, nowNano))));
    return {
      value,
      label: labelOf(spans, input.label_attribute),
      trace_ids: [...new Set(spans.map(({ traceId }) => traceId))].sort(),
      span_count: spans.length,
      first_seen_ms: firstMs,
      last_seen_ms: lastMs,
      duration_ms: lastMs - firstMs,
      error_count: spans.filter(({ status }) => status === 'error').length,
    };
  });
  rows.sort((a, b) => b.first_seen_ms - a.first_seen_ms);
  return JSON.stringify(rows.slice(0, input.limit ?? DEFAULT_LIMIT));
}

function labelOf(spans: readonly SpanRecord[], attribute: string | null | undefined): string | null {
  if (!attribute) return null;
  for (const span of [...spans].reverse()) {
    const label = attributeOf(span, attribute);
    if (label !== undefined) return label;
  }
  return null;
}

function endOf(span: SpanRecord, nowNano: bigint): bigint {
  return span.endUnixNano === 0n ? nowNano : span.endUnixNano;
}

function toMs(nanos: bigint): number {
  return Number(nanos / NANOS_PER_MS);
}
