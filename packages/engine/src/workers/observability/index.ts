/**
 * `iii-observability`: the engine's log, and what the engine and its workers tell of themselves.
 * Always on; a configuration only changes it.
 */
import type { LogOutput } from '../../core/log-writer.js';
import { defineWorker, type HealthReport, type WorkerDefinition } from '../../core/worker-host.js';
import { baggageFunctions } from './baggage-functions.js';
import { configuredLevel, idleKeys, observabilityConfig, type ObservabilityConfig } from './config.js';
import { logFunctions } from './functions.js';
import { healthFunction } from './health-function.js';
import { logListFunctions } from './log-functions.js';
import type { Telemetry } from './telemetry.js';
import { traceFunctions } from './trace-functions.js';

export { keptLog } from './kept-log.js';
export { Telemetry, type TelemetryCounts } from './telemetry.js';
export type { WorkerMetrics } from './worker-gauges.js';

/** What the worker needs of its engine; asked for at the start, so that a catalog can be built without one. */
export interface ObservabilityParts {
  readonly log: LogOutput;
  readonly telemetry: Telemetry;
  /** What the other built-in workers say of themselves, by name. */
  readonly health: ReadonlyMap<string, () => HealthReport>;
  readonly version: string;
}

/** The observability worker of one engine. */
export function observabilityWorker(parts: () => ObservabilityParts): WorkerDefinition {
  return defineWorker<ObservabilityConfig>({
    name: 'observability',
    aliases: ['iii-observability'],
    description: 'The log of the engine and of its workers, traces of calls, and the values that workers measure.',
    config: observabilityConfig,
    defaultBlock: { enabled: true, level: 'info', format: 'default', logs_enabled: true, logs_console_output: true },
    start(host, config) {
      const { log: output, telemetry, health, version } = parts();
      const initial = { level: output.level, format: output.format };
      let warnedOf = '';
      const apply = (next: ObservabilityConfig): void => {
        output.setLevel(configuredLevel(next) ?? initial.level);
        output.setFormat(next.format ?? initial.format);
        telemetry.configure(next);
        const idle = idleKeys(next).join(', ');
        if (idle !== '' && idle !== warnedOf) {
          host.log.warn('Some keys of this configuration are known but not acted on in this version', { keys: idle });
        }
        warnedOf = idle;
      };
      apply(config);
      const registrations = [
        ...logFunctions(host, { output, telemetry, version }),
        ...logListFunctions(host, telemetry.logs),
        ...traceFunctions(host, telemetry),
        ...baggageFunctions(host),
        healthFunction(host, { telemetry, health, version }),
      ];
      return {
        reconfigure: (next) => apply(next as ObservabilityConfig),
        stop: () => {
          for (const registration of registrations) registration.remove();
          host.log.debug('Telemetry received', { ...telemetry.counts });
          apply({});
        },
      };
    },
  });
}
