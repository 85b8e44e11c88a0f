/**
 * `iii-observability`: the engine's log and what its workers tell of themselves. Always on; a
 * configuration only changes it.
 */
import type { LogOutput } from '../../core/log-writer.js';
import { defineWorker, type WorkerDefinition } from '../../core/worker-host.js';
import { configuredLevel, idleKeys, observabilityConfig, type ObservabilityConfig } from './config.js';
import { logFunctions } from './functions.js';
import { telemetrySink } from './telemetry-sink.js';

export { telemetrySink, type LogPrinter, type TelemetryCounts } from './telemetry-sink.js';

/**
 * The observability worker of one engine.
 *
 * @param log - that engine's log; asked for at the start, so that a catalog can be built without one
 */
export function observabilityWorker(log: () => LogOutput): WorkerDefinition {
  return defineWorker<ObservabilityConfig>({
    name: 'observability',
    aliases: ['iii-observability'],
    description: 'The log of the engine and of its workers.',
    config: observabilityConfig,
    defaultBlock: { enabled: true, level: 'info', format: 'default', logs_enabled: true, logs_console_output: true },
    start(host, config) {
      const output = log();
      const printer = telemetrySink(output);
      const initial = { level: output.level, format: output.format };
      let warnedOf = '';
      const apply = (next: ObservabilityConfig): void => {
        output.setLevel(configuredLevel(next) ?? initial.level);
        output.setFormat(next.format ?? initial.format);
        printer.configure(next);
        const idle = idleKeys(next).join(', ');
        if (idle !== '' && idle !== warnedOf) {
          host.log.warn('Some keys of this configuration are known but not acted on in this version', { keys: idle });
        }
        warnedOf = idle;
      };
      apply(config);
      const registrations = logFunctions(output).map((definition) => host.registerFunction(definition));
      return {
        reconfigure: (next) => apply(next as ObservabilityConfig),
        stop: () => {
          for (const registration of registrations) registration.remove();
          host.log.debug('Telemetry received', { ...printer.counts });
          apply({});
        },
      };
    },
  });
}
