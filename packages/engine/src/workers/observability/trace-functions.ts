/** `engine::traces::*`: the spans of workers and the calls that the engine saw. */
import { Payload } from '@trine/protocol';
import { z } from 'zod';
import type { SpanRecord } from '../../core/telemetry.js';
import type { Registration, WorkerHost } from '../../core/worker-host.js';
import { notRecording } from './errors.js';
import { spanMembers } from './json-text.js';
import type { SpanStore } from './span-store.js';
import type { Telemetry } from './telemetry.js';
import { groupsText, groupByRequest } from './trace-groups.js';
import { listSpans, traceListRequest } from './trace-list.js';
import { treeText } from './trace-tree.js';

const NANOS_PER_MS = 1_000_000n;

const treeRequest = z.object({
  trace_id: z.string(),
  include_internal: z.boolean().nullish().describe('true: the engine’s own records of calls to workers too'),
});

export function traceFunctions(host: WorkerHost, telemetry: Telemetry): Registration[] {
  const { spans } = telemetry;
  const now = (): bigint => BigInt(Math.trunc(host.clock.now())) * NANOS_PER_MS;
  const all = (): SpanRecord[] => {
    if (!telemetry.isRecording) throw notRecording();
    return [...spans.all(now())];
  };
  return [
    host.registerFunction({
      id: 'engine::traces::list',
      description: 'List spans, oldest first unless asked otherwise',
      request: traceListRequest,
      handler(input) {
        const stored = all();
        const page = listSpans(stored, input, now());
        const tags = traceTags(stored, page.spans);
        const rows = page.spans.map((span) => {
          const own = tags.get(span.traceId);
          return `{${spanMembers(span)}${own === undefined ? '' : `,"trace_tags":${JSON.stringify(own)}`}}`;
        });
        return Payload.fromJson(
          `{"spans":[${rows.join(',')}],"total":${page.total},"offset":${page.offset},"limit":${page.limit},"storage":${storage(spans)}}`,
        );
      },
    }),
    host.registerFunction({
      id: 'engine::traces::tree',
      description: 'The spans of one trace as a tree',
      request: treeRequest,
      handler(input) {
        const traceId = input.trace_id.toLowerCase();
        const trace = all().filter((span) => span.traceId === traceId);
        const roots = treeText(trace, telemetry.collapseRules, input.include_internal === true);
        return Payload.fromJson(`{"roots":${roots},"storage":${storage(spans)}}`);
      },
    }),
    host.registerFunction({
      id: 'engine::traces::group_by',
      description: 'Spans grouped by the value of an attribute',
      request: groupByRequest,
      handler: (input) => Payload.fromJson(`{"groups":${groupsText(all(), input, now())},"storage":${storage(spans)}}`),
    }),
    host.registerFunction({
      id: 'engine::traces::clear',
      description: 'Forget all spans',
      request: z.object({}),
      handler() {
        spans.clear();
        return { success: true };
      },
    }),
  ];
}

/** Only memory: there is no archive that could be healthy or not. */
function storage(spans: SpanStore): string {
  return JSON.stringify({
    archive: 'disabled',
    completeness: spans.dropped > 0 ? 'partial' : 'complete',
    known_dropped_spans: spans.dropped,
    physical_bytes: 0,
    max_disk_bytes: 0,
    last_error: null,
  });
}

const TAG = /^iii\.(?:tag\..+|session\.(?:id|name)|message\.id)$/;

/** What the spans of a trace say of it as a whole; of two values the one of the later span. */
function traceTags(stored: readonly SpanRecord[], rows: readonly SpanRecord[]): Map<string, Record<string, string>> {
  const wanted = new Set(rows.map(({ traceId }) => traceId));
  const tagged = stored.filter((span) => wanted.has(span.traceId) && span.attributes.some(([name]) => TAG.test(name)));
  tagged.sort((a, b) => (a.startUnixNano < b.startUnixNano ? -1 : a.startUnixNano > b.startUnixNano ? 1 : 0));
  const tags = new Map<string, Record<string, string>>();
  for (const { traceId, attributes } of tagged) {
    const own = tags.get(traceId) ?? (Object.create(null) as Record<string, string>);
    tags.set(traceId, own);
    for (const [name, value] of attributes) if (TAG.test(name)) own[name] = value;
  }
  return tags;
}
