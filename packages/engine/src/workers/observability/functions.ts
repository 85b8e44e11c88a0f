import { z } from 'zod';
import type { EntryLevel } from '../../core/log-format.js';
import { cleanFields } from '../../core/log-text.js';
import type { LogOutput } from '../../core/log-writer.js';
import { clip } from '../../core/telemetry-values.js';
import type { Registration, WorkerHost } from '../../core/worker-host.js';
import type { Telemetry } from './telemetry.js';

const request = z.object({
  message: z.string().describe('The text of the entry'),
  data: z.unknown().optional().describe('Anything that belongs to it, shown as fields'),
  trace_id: z.string().nullish(),
  span_id: z.string().nullish(),
  service_name: z.string().nullish().describe('Who speaks; default the name of the calling worker'),
});

/** OpenTelemetry's severity numbers. */
const LEVELS: readonly (readonly [EntryLevel, number])[] = [
  ['info', 9],
  ['warn', 13],
  ['error', 17],
  ['debug', 5],
  ['trace', 1],
];

export interface LogFunctionParts {
  readonly output: LogOutput;
  readonly telemetry: Telemetry;
  readonly version: string;
}

/** `engine::log::info` and its siblings: for workers that have no OpenTelemetry. Printed, and kept as a record. */
export function logFunctions(host: WorkerHost, { output, telemetry, version }: LogFunctionParts): Registration[] {
  return LEVELS.map(([level, severity]) =>
    host.registerFunction({
      id: `engine::log::${level}`,
      description: `Writes an entry of level ${level} to the engine's log, and keeps it as a record`,
      request,
      handler: (input, { caller }) => {
        const target = input.service_name ?? caller.workerName ?? caller.workerId;
        output.record({
          level,
          target,
          message: input.message,
          fields: {
            ...fieldsOf(input.data),
            ...(input.trace_id ? { trace_id: input.trace_id } : {}),
            ...(input.span_id ? { span_id: input.span_id } : {}),
          },
        });
        if (telemetry.isKeepingLogs) {
          const timeUnixNano = BigInt(Math.trunc(host.clock.now())) * 1_000_000n;
          telemetry.logs.add({
            timeUnixNano,
            observedUnixNano: timeUnixNano,
            severity,
            severityText: level.toUpperCase(),
            level,
            body: clip(input.message),
            attributes: cleanFields(objectOf(input.data)),
            ...(input.trace_id ? { traceId: input.trace_id } : {}),
            ...(input.span_id ? { spanId: input.span_id } : {}),
            resource: { 'service.name': telemetry.serviceName, 'service.version': version },
            serviceName: target,
            scopeName: 'iii',
            scopeVersion: version,
          });
        }
        return undefined;
      },
    }),
  );
}

/** Only an object has names for its values. */
function objectOf(data: unknown): Readonly<Record<string, unknown>> {
  return typeof data === 'object' && data !== null && !Array.isArray(data) ? (data as Record<string, unknown>) : {};
}

function fieldsOf(data: unknown): Readonly<Record<string, unknown>> {
  if (data === undefined || data === null) return {};
  return typeof data === 'object' && !Array.isArray(data) ? (data as Record<string, unknown>) : { data };
}
