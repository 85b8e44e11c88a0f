import type { LogOutput } from '../../core/log-writer.js';
import type { TelemetryFrame, TelemetrySink } from '../../core/telemetry.js';
import type { ObservabilityConfig } from './config.js';
import { entryOf } from './record-entry.js';

const printers = new WeakMap<LogOutput, LogPrinter>();

/**
 * Where the listener of an engine hands its telemetry frames: the one sink over that engine's log.
 * Works by its defaults before and after the observability worker runs.
 */
export function telemetrySink(log: LogOutput): LogPrinter {
  let printer = printers.get(log);
  if (printer === undefined) printers.set(log, (printer = new LogPrinter(log)));
  return printer;
}

/** What has arrived since the engine was made. */
export interface TelemetryCounts {
  readonly logs: number;
  readonly spans: number;
  readonly metrics: number;
  readonly bad: number;
}

/** Prints the log records of workers; counts spans and metrics, which nothing keeps yet. */
export class LogPrinter implements TelemetrySink {
  readonly #log: LogOutput;
  readonly #counts = { logs: 0, spans: 0, metrics: 0, bad: 0 };
  #config: ObservabilityConfig = {};

  constructor(log: LogOutput) {
    this.#log = log;
  }

  get counts(): TelemetryCounts {
    return { ...this.#counts };
  }

  configure(config: ObservabilityConfig): void {
    this.#config = config;
  }

  accept(frame: TelemetryFrame, source: { readonly workerName?: string }): void {
    const { enabled, logs_enabled: logsEnabled, logs_console_output: print } = this.#config;
    if (enabled === false) return;
    if (frame.kind === 'bad') return this.#bad(frame.reason, source.workerName);
    if (frame.kind !== 'logs') {
      this.#counts[frame.kind] += frame.count;
      return;
    }
    if (logsEnabled === false) return;
    this.#counts.logs += frame.records.length;
    if (print === false) return;
    for (const record of frame.records) this.#log.record(entryOf(record, source.workerName));
  }

  /** Warns of the 1st, 10th, 100th, ... unreadable frame: a broken exporter must not fill the log. */
  #bad(reason: string, workerName: string | undefined): void {
    this.#counts.bad++;
    if (!/^10*$/.test(String(this.#counts.bad))) return;
    this.#log.for('iii::telemetry').warn('A telemetry frame could not be read and was dropped', {
      reason,
      ...(workerName === undefined ? {} : { worker: workerName }),
      dropped_so_far: this.#counts.bad,
    });
  }
}
