import { TrineError } from '@trine/protocol';

export const ObservabilityErrorCode = {
  /** Traces are asked for while `enabled: false` keeps the engine from recording any. */
  memoryExporterNotEnabled: 'memory_exporter_not_enabled',
} as const;

export function notRecording(): TrineError {
  return new TrineError(
    ObservabilityErrorCode.memoryExporterNotEnabled,
    'In-memory span storage is not available: telemetry is off. Set `enabled: true` in the configuration of iii-observability.',
  );
}
