/**
 * What an engine and its workers tell of themselves, in memory: the sink of the worker port's
 * telemetry frames, and the recorder of the router. Works by its defaults before and after the
 * observability worker runs, which only configures it and answers questions about it.
 */
import type { Clock } from '../../core/clock.js';
import { cleanFields, cleanText } from '../../core/log-text.js';
import type { LogOutput } from '../../core/log-writer.js';
import type { CallRecorder } from '../../core/pending-call.js';
import type { Random } from '../../core/random.js';
import { DEFAULT_CALL_RECORDS, SpanRing } from '../../core/span-ring.js';
import type { LogRecord, TelemetryFrame, TelemetrySink } from '../../core/telemetry.js';
import type { ObservabilityConfig } from './config.js';
import type { OwnLine } from './kept-log.js';
import { DEFAULT_LOG_RECORDS, LogStore } from './log-store.js';
import { entryOf } from './record-entry.js';
import { SpanStore } from './span-store.js';
import type { CollapseRule } from './trace-tree.js';
import { WorkerGauges } from './worker-gauges.js';

/** What has arrived since the engine was made. */
export interface TelemetryCounts {
  readonly logs: number;
  readonly spans: number;
  readonly metrics: number;
  readonly bad: number;
}

export interface TelemetryParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: LogOutput;
  /** Tells the router who records its calls; undefined = nobody. */
  readonly record: (recorder: CallRecorder | undefined) => void;
}

/** OpenTelemetry's severity numbers. */
const SEVERITY = { info: 9, warn: 13, error: 17 } as const;
/** Marks the records of the engine's own lines; readers of the reference's records know it. */
const OWN_SCOPE = 'tracing';
const NANOS_PER_MS = 1_000_000n;

/** The engine's name on its own spans and records unless `service_name` says otherwise. */
const DEFAULT_SERVICE_NAME = 'iii';

export class Telemetry implements TelemetrySink {
  readonly spans: SpanStore;
  readonly logs = new LogStore();
  readonly gauges: WorkerGauges;
  readonly #parts: TelemetryParts;
  readonly #calls: SpanRing;
  readonly #counts = { logs: 0, spans: 0, metrics: 0, bad: 0 };
  #config: ObservabilityConfig = {};

  constructor(parts: TelemetryParts) {
    this.#parts = parts;
    this.#calls = new SpanRing(parts);
    this.spans = new SpanStore(this.#calls);
    this.gauges = new WorkerGauges(parts.clock);
    this.configure({});
  }

  get counts(): TelemetryCounts {
    return { ...this.#counts };
  }

  /** False while `enabled: false` keeps everything out. */
  get isRecording(): boolean {
    return this.#config.enabled !== false;
  }

  get isKeepingLogs(): boolean {
    return this.isRecording && this.#config.logs_enabled !== false;
  }

  get serviceName(): string {
    return this.#config.service_name ?? DEFAULT_SERVICE_NAME;
  }

  get collapseRules(): readonly CollapseRule[] {
    return this.#config.collapse_spans ?? [];
  }

  /** Applies at once; what is stored stays, as far as smaller limits allow. */
  configure(config: ObservabilityConfig): void {
    this.#config = config;
    const ratio = config.sampling_ratio ?? 1;
    this.#calls.ratio = ratio;
    this.spans.serviceName = this.serviceName;
    this.spans.resize(config.memory_max_spans ?? DEFAULT_CALL_RECORDS);
    this.logs.resize(config.logs_max_count ?? DEFAULT_LOG_RECORDS);
    this.#parts.record(this.isRecording && ratio > 0 ? this.#calls : undefined);
  }

  accept(frame: TelemetryFrame, source: { readonly workerName?: string }): void {
    if (!this.isRecording) return;
    switch (frame.kind) {
      case 'bad':
        return this.#bad(frame.reason, source.workerName);
      case 'spans':
        this.#counts.spans += frame.spans.length;
        for (const span of frame.spans) {
          if (span.endUnixNano !== 0n || this.#config.live_spans !== false) this.spans.add(span);
        }
        return;
      case 'metrics':
        this.#counts.metrics += frame.metrics.length;
        for (const metric of frame.metrics) this.gauges.add(metric);
        return;
      case 'logs':
        return this.#logs(frame.records, source.workerName);
    }
  }

  /** Keeps a line of the engine's own log as a record, cleaned as it was written. */
  keepOwn({ level, target, message, fields }: OwnLine): void {
    if (!this.isKeepingLogs) return;
    const timeUnixNano = BigInt(Math.trunc(this.#parts.clock.now())) * NANOS_PER_MS;
    this.logs.add({
      timeUnixNano,
      observedUnixNano: timeUnixNano,
      severity: SEVERITY[level],
      severityText: level.toUpperCase(),
      level,
      body: cleanText(message),
      attributes: { ...cleanFields(fields ?? {}), target },
      resource: { 'service.name': this.serviceName },
      serviceName: this.serviceName,
      scopeName: OWN_SCOPE,
      scopeVersion: '',
    });
  }

  #logs(records: readonly LogRecord[], workerName: string | undefined): void {
    if (!this.isKeepingLogs) return;
    this.#counts.logs += records.length;
    for (const record of records) {
      this.logs.add(record);
      if (this.#config.logs_console_output !== false) this.#parts.log.record(entryOf(record, workerName));
    }
  }

  /** Warns of the 1st, 10th, 100th, ... unreadable frame: a broken exporter must not fill the log. */
  #bad(reason: string, workerName: string | undefined): void {
    this.#counts.bad++;
    if (!/^10*$/.test(String(this.#counts.bad))) return;
    this.#parts.log.for('iii::telemetry').warn('A telemetry frame could not be read and was dropped', {
      reason,
      ...(workerName === undefined ? {} : { worker: workerName }),
      dropped_so_far: this.#counts.bad,
    });
  }
}
