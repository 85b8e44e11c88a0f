import { z } from 'zod';
import type { LogLevel } from '../../core/log-writer.js';

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
  enabled: z.boolean().optional().describe('false: telemetry of workers is not read at all. Default true'),
  logs_enabled: z.boolean().optional().describe('false: log records of workers are not read. Default true'),
  logs_console_output: z.boolean().optional().describe('false: log records of workers are not printed. Default true'),
  level: level.optional(),
  log_level: level.optional().describe('Older name of level'),
  format: z.enum(['default', 'json']).optional().describe('default: lines for people; json: one object per line'),
};

/** Keys of the reference that are accepted, so that its projects start, and do nothing yet. */
const notActedOn = {
  service_name: z.string().optional(),
  service_version: z.string().optional(),
  service_namespace: z.string().optional(),
  exporter: z.enum(['otlp', 'memory', 'both']).optional(),
  endpoint: z.string().optional(),
  sampling_ratio: z.number().optional(),
  sampling: z.record(z.string(), z.unknown()).optional(),
  memory_max_spans: z.number().optional(),
  trace_storage: z.record(z.string(), z.unknown()).optional(),
  live_spans: z.boolean().optional(),
  metrics_enabled: z.boolean().optional(),
  metrics_exporter: z.enum(['memory', 'otlp']).optional(),
  metrics_retention_seconds: z.number().optional(),
  metrics_max_count: z.number().optional(),
  logs_exporter: z.enum(['memory', 'otlp', 'both']).optional(),
  logs_max_count: z.number().optional(),
  logs_retention_seconds: z.number().optional(),
  logs_batch_size: z.number().optional(),
  logs_flush_interval_ms: z.number().optional(),
  logs_sampling_ratio: z.number().optional(),
  alerts: z.array(z.unknown()).optional(),
  collapse_spans: z.array(z.unknown()).optional(),
};

/** The configuration of `iii-observability`; a missing block is an empty one. */
export const observabilityConfig = z
  .strictObject({ ...acting, ...notActedOn })
  .nullish()
  .transform((config) => config ?? {});

export type ObservabilityConfig = z.output<typeof observabilityConfig>;

/** The configured keys that do nothing in this version, sorted. */
export function idleKeys(config: ObservabilityConfig): string[] {
  return Object.keys(config)
    .filter((key) => Object.hasOwn(notActedOn, key) && config[key as keyof ObservabilityConfig] !== undefined)
    .sort();
}

/** The level a configuration asks for, or undefined where it says nothing. */
export function configuredLevel(config: ObservabilityConfig): LogLevel | undefined {
  const name = config.level ?? config.log_level;
  return name === undefined ? undefined : LEVELS.get(name.trim().toLowerCase());
}
