import { z } from 'zod';
import type { LogLevel } from '../../core/log-writer.js';
import { DEFAULT_CALL_RECORDS, MAX_CALL_RECORDS } from '../../core/span-ring.js';
import { DEFAULT_LOG_RECORDS } from './log-store.js';

/** The most spans of workers that a configuration may ask to keep. */
const MAX_SPAN_RECORDS = 1_000_000;
/** The most log records that a configuration may ask to keep. */
const MAX_LOG_RECORDS = 1_000_000;

/** Names of levels that people write, and ours. */
const LEVELS: ReadonlyMap<string, LogLevel> = new Map([
  ['trace', 'trace'],
  ['debug', 'debug'],
  ['info', 'info'],
  ['warn', 'warn'],
  ['warning', 'warn'],
  ['error', 'error'],
  ['off', 'silent'],
]);

const level = z
  .string()
  .refine((name) => LEVELS.has(name.trim().toLowerCase()), { error: `must be one of ${[...LEVELS.keys()].join(', ')}` })
  .describe('Entries below this level are not logged');

/** Keys that act in this version. */
const acting = {
  enabled: z
    .boolean()
    .optional()
    .describe('false: no telemetry of workers is read and no call is recorded. Default true'),
  service_name: z.string().min(1).optional().describe('The name of the engine on its own spans. Default iii'),
  sampling_ratio: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe(
      'Share of the traces of which the engine records its calls, 0 to 1. Spans of workers are all kept. Default 1',
    ),
  memory_max_spans: z
    .number()
    .int()
    .min(1)
    .max(MAX_SPAN_RECORDS)
    .optional()
    .describe(
      `Spans of workers that are kept in memory, and calls of the engine beside them (of those ${MAX_CALL_RECORDS} at most). Default ${DEFAULT_CALL_RECORDS}`,
    ),
  live_spans: z.boolean().optional().describe('false: spans that still run are not shown. Default true'),
  logs_max_count: z
    .number()
    .int()
    .min(1)
    .max(MAX_LOG_RECORDS)
    .optional()
    .describe(
      `Log records that are kept in memory: those of workers and the lines of the engine. Default ${DEFAULT_LOG_RECORDS}`,
    ),
  collapse_spans: z
    .array(z.strictObject({ name: z.string(), service: z.string().optional() }))
    .optional()
    .describe('Spans that trees leave out, by name and service with * and ?; their children move up'),
  logs_enabled: z
    .boolean()
    .optional()
    .describe('false: log records of workers are not read, and lines of the engine are not kept. Default true'),
  logs_console_output: z.boolean().optional().describe('false: log records of workers are not printed. Default true'),
  level: level.optional(),
  log_level: level.optional().describe('Older name of level'),
  format: z.enum(['default', 'json']).optional().describe('default: lines for people; json: one object per line'),
};

/** Keys of the reference that are accepted, so that its projects start, and do nothing yet. */
const notActedOn = {
  service_version: z.string().optional(),
  service_namespace: z.string().optional(),
  exporter: z.enum(['otlp', 'memory', 'both']).optional(),
  endpoint: z.string().optional(),
  sampling: z.record(z.string(), z.unknown()).optional(),
  trace_storage: z.record(z.string(), z.unknown()).optional(),
  metrics_enabled: z.boolean().optional(),
  metrics_exporter: z.enum(['memory', 'otlp']).optional(),
  metrics_retention_seconds: z.number().optional(),
  metrics_max_count: z.number().optional(),
  logs_exporter: z.enum(['memory', 'otlp', 'both']).optional(),
  logs_retention_seconds: z.number().optional(),
  logs_batch_size: z.number().optional(),
  logs_flush_interval_ms: z.number().optional(),
  logs_sampling_ratio: z.number().optional(),
  alerts: z.array(z.unknown()).optional(),
};

/** The configuration of `iii-observability`; a missing block is an empty one. */
export const observabilityConfig = z
  .strictObject({ ...acting, ...notActedOn })
  .nullish()
  .transform((config) => config ?? {});

export type ObservabilityConfig = z.output<typeof observabilityConfig>;

/** Values of the other keys that ask for what happens anyway. */
const ALREADY_SO: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['exporter', 'memory'],
  ['logs_exporter', 'memory'],
  ['metrics_exporter', 'memory'],
]);

/** The configured keys that do nothing in this version, sorted. */
export function idleKeys(config: ObservabilityConfig): string[] {
  return Object.entries(config)
    .filter(([key, value]) => Object.hasOwn(notActedOn, key) && value !== undefined && value !== ALREADY_SO.get(key))
    .map(([key]) => key)
    .sort();
}

/** The level a configuration asks for, or undefined where it says nothing. */
export function configuredLevel(config: ObservabilityConfig): LogLevel | undefined {
  const name = config.level ?? config.log_level;
  return name === undefined ? undefined : LEVELS.get(name.trim().toLowerCase());
}
