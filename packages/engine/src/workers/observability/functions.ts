import { z } from 'zod';
import type { EntryLevel } from '../../core/log-format.js';
import type { LogOutput } from '../../core/log-writer.js';
import type { FunctionDefinition } from '../../core/worker-host.js';

const request = z.object({
  message: z.string().describe('The text of the entry'),
  data: z.unknown().optional().describe('Anything that belongs to it, shown as fields'),
  trace_id: z.string().nullish(),
  span_id: z.string().nullish(),
  service_name: z.string().nullish().describe('Who speaks; default the name of the calling worker'),
});
type LogRequest = z.output<typeof request>;

const LEVELS: readonly EntryLevel[] = ['info', 'warn', 'error', 'debug', 'trace'];

/** `engine::log::info` and its siblings: for workers that have no OpenTelemetry. */
export function logFunctions(output: LogOutput): FunctionDefinition<LogRequest>[] {
  return LEVELS.map((level) => ({
    id: `engine::log::${level}`,
    description: `Writes an entry of level ${level} to the engine's log`,
    request,
    handler: (input, { caller }) => {
      output.record({
        level,
        target: input.service_name ?? caller.workerName ?? caller.workerId,
        message: input.message,
        fields: {
          ...fieldsOf(input.data),
          ...(input.trace_id ? { trace_id: input.trace_id } : {}),
          ...(input.span_id ? { span_id: input.span_id } : {}),
        },
      });
      return undefined;
    },
  }));
}

function fieldsOf(data: unknown): Readonly<Record<string, unknown>> {
  if (data === undefined || data === null) return {};
  return typeof data === 'object' && !Array.isArray(data) ? (data as Record<string, unknown>) : { data };
}
