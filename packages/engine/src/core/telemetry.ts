/**
 * Binary telemetry frames: 4 ASCII letters, then OTLP as JSON. What a frame holds is foreign text,
 * so decoding is tolerant and never throws; what comes out is one shape whoever sent it.
 *
 * Format: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */
import { logRecords, type LogRecord } from './telemetry-logs.js';
import { metricRecords, type MetricRecord } from './telemetry-metrics.js';
import { spanRecords, type SpanRecord } from './telemetry-spans.js';
import { isObject } from './telemetry-values.js';

export { levelOf, type LogRecord, type RecordLevel } from './telemetry-logs.js';
export type { GaugePoint, HistogramPoint, MetricRecord } from './telemetry-metrics.js';
export type { SpanEvent, SpanLink, SpanRecord, SpanStatus } from './telemetry-spans.js';

export type TelemetryFrame =
  | { readonly kind: 'logs'; readonly records: readonly LogRecord[] }
  | { readonly kind: 'spans'; readonly spans: readonly SpanRecord[] }
  | { readonly kind: 'metrics'; readonly metrics: readonly MetricRecord[] }
  | { readonly kind: 'bad'; readonly reason: string };

/** Takes what arrived. Must not throw and must not wait. */
export interface TelemetrySink {
  accept(frame: TelemetryFrame, source: { readonly workerName?: string }): void;
}

const PREFIX_BYTES = 4;

/** Does a binary message carry telemetry (rather than a protocol message)? */
export function isTelemetry(frame: Buffer): boolean {
  const prefix = frame.toString('latin1', 0, PREFIX_BYTES);
  return prefix === 'LOGS' || prefix === 'OTLP' || prefix === 'MTRC';
}

/**
 * Decodes one binary frame. Never throws.
 *
 * @example
 * decodeTelemetry(Buffer.from('OTLP{"resourceSpans":[]}')); // { kind: 'spans', spans: [] }
 */
export function decodeTelemetry(frame: Buffer): TelemetryFrame {
  if (!isTelemetry(frame)) return { kind: 'bad', reason: 'unknown prefix (known: OTLP, MTRC, LOGS)' };
  const prefix = frame.toString('latin1', 0, PREFIX_BYTES);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(frame.subarray(PREFIX_BYTES));
  } catch {
    return { kind: 'bad', reason: `${prefix}: the body is not UTF-8` };
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return { kind: 'bad', reason: `${prefix}: the body is not JSON` };
  }
  if (!isObject(body)) return { kind: 'bad', reason: `${prefix}: the body is not an object` };
  if (prefix === 'LOGS') return { kind: 'logs', records: logRecords(body) };
  if (prefix === 'OTLP') return { kind: 'spans', spans: spanRecords(body) };
  return { kind: 'metrics', metrics: metricRecords(body) };
}
