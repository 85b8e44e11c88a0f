/**
 * `iii-observability`: the engine's log and what its workers tell of themselves. Always on; a
 * configuration only changes it.
 */
import type { LogOutput } from '../../core/log-writer.js';
import type { TelemetrySink } from '../../core/telemetry.js';
import { defineWorker, type WorkerDefinition } from '../../core/worker-host.js';
import { configuredLevel, idleKeys, observabilityConfig, type ObservabilityConfig } from './config.js';
import { logFunctions } from './functions.js';
import { LogPrinter, type TelemetryCounts } from './telemetry-sink.js';

export type { TelemetryCounts } from './telemetry-sink.js';

export interface ObservabilityWorker extends WorkerDefinition {
  /** Where the listener hands its telemetry frames; works before and after the worker runs. */
  readonly telemetry: TelemetrySink & { readonly counts: TelemetryCounts };
}

/**
 * The observability worker of one engine.
 *
 * @param log - that engine's log; asked for when first needed, so that a catalog can be built without one
 */
export function observabilityWorker(log: () => LogOutput): ObservabilityWorker {
  const printer = new LogPrinter(log);
  let warnedOf = '';

  const definition = defineWorker<ObservabilityConfig>({
    name: 'observability',
    aliases: ['iii-observability'],
    description: 'The log of the engine and of its workers.',
    config: observabilityConfig,
    defaultBlock: { enabled: true, level: 'info', format: 'default', logs_enabled: true, logs_console_output: true },
    start(host, config) {
      const output = log();
      const initial = { level: output.level, format: output.format };
      const apply = (next: ObservabilityConfig): void => {
        output.setLevel(configuredLevel(next) ?? initial.level);
        output.setFormat(next.format ?? initial.format);
        printer.configure(next);
      };
      const take = (next: ObservabilityConfig): void => {
        apply(next);
        const idle = idleKeys(next).join(', ');
        if (idle !== '' && idle !== warnedOf) {
          host.log.warn('Some keys of the configuration are known but not acted on in this version', { worker: host.entryName, keys: idle });
        }
        warnedOf = idle;
      };
      take(config);
      const registrations = logFunctions(output).map((definition) => host.registerFunction(definition));
      return {
        reconfigure: (next) => take(next as ObservabilityConfig),
        stop: () => {
          for (const registration of registrations) registration.remove();
          host.log.debug('Telemetry received', { ...printer.counts });
          apply({});
        },
      };
    },
  });
  return { ...definition, telemetry: printer };
}
