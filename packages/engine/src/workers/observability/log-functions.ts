/** `engine::logs::*`: the log records of workers, and the lines of the engine. */
import { Payload } from '@trine/protocol';
import { z } from 'zod';
import type { LogRecord } from '../../core/telemetry.js';
import type { Registration, WorkerHost } from '../../core/worker-host.js';
import { logText } from './json-text.js';
import type { LogStore } from './log-store.js';

const NANOS_PER_MS = 1e6;

const listRequest = z.object({
  start_time: z.number().nullish().describe('Records of then or later, in milliseconds since the epoch'),
  end_time: z.number().nullish().describe('Records of then or earlier, in milliseconds since the epoch'),
  trace_id: z.string().nullish(),
  span_id: z.string().nullish(),
  severity_min: z.number().nullish().describe('Lowest severity number: 5 debug, 9 info, 13 warn, 17 error'),
  severity_text: z.string().nullish().describe('`INFO`, `WARN`, ...; case ignored'),
  offset: z.number().int().nonnegative().nullish(),
  limit: z.number().int().nonnegative().nullish().describe('Default: all'),
});
type LogListRequest = z.output<typeof listRequest>;

export function logListFunctions(host: WorkerHost, logs: LogStore): Registration[] {
  return [
    host.registerFunction({
      id: 'engine::logs::list',
      description: 'List log records, newest first',
      request: listRequest,
      handler(input) {
        const found = logs.newestFirst().filter((record) => isWanted(record, input));
        const offset = input.offset ?? 0;
        const page = found.slice(offset, offset + (input.limit ?? found.length));
        return Payload.fromJson(
          `{"logs":[${page.map(logText).join(',')}],"total":${found.length},"query":${JSON.stringify(query(input))},"timestamp":${Math.trunc(host.clock.now())}}`,
        );
      },
    }),
    host.registerFunction({
      id: 'engine::logs::clear',
      description: 'Forget all log records',
      request: z.object({}),
      handler() {
        logs.clear();
        return { success: true };
      },
    }),
  ];
}

function isWanted(record: LogRecord, input: LogListRequest): boolean {
  const atMs = Number(record.timeUnixNano) / NANOS_PER_MS;
  return (
    atMs >= (input.start_time ?? -Infinity) &&
    atMs <= (input.end_time ?? Infinity) &&
    (!input.trace_id || record.traceId === input.trace_id) &&
    (!input.span_id || record.spanId === input.span_id) &&
    record.severity >= (input.severity_min ?? -Infinity) &&
    (!input.severity_text || record.severityText.toLowerCase() === input.severity_text.toLowerCase())
  );
}

/** What was asked, with null for what was not. */
function query(input: LogListRequest): Record<string, unknown> {
  return {
    start_time: input.start_time ?? null,
    end_time: input.end_time ?? null,
    trace_id: input.trace_id ?? null,
    span_id: input.span_id ?? null,
    severity_min: input.severity_min ?? null,
    severity_text: input.severity_text ?? null,
    offset: input.offset ?? null,
    limit: input.limit ?? null,
  };
}
