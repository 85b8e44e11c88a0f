/**
 * Binary telemetry frames: 4 ASCII letters, then OTLP as JSON. What a frame holds is foreign text,
 * so decoding is tolerant and never throws. Log records come out whole; spans and metrics are counted.
 *
 * Format: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */

export interface LogRecord {
  /** Nanoseconds since the epoch; 0 when the record has no time. */
  readonly timeUnixNano: bigint;
  /** OpenTelemetry's number, 1 to 24; 0 when unknown. */
  readonly severity: number;
  readonly level: RecordLevel;
  readonly body: string;
  /** JSON types are kept: `log.data` of an SDK's Logger is an object here. No prototype. */
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly traceId?: string;
  readonly spanId?: string;
  /** Resource attribute `service.name`, `unknown` when absent. */
  readonly serviceName: string;
  /** Resource attribute `service.instance.id`. */
  readonly instanceId?: string;
}

export type RecordLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

export type TelemetryFrame =
  | { readonly kind: 'logs'; readonly records: readonly LogRecord[] }
  | { readonly kind: 'spans'; readonly count: number }
  | { readonly kind: 'metrics'; readonly count: number }
  | { readonly kind: 'bad'; readonly reason: string };

/** Takes what arrived. Must not throw and must not wait. */
export interface TelemetrySink {
  accept(frame: TelemetryFrame, source: { readonly workerName?: string }): void;
}

const PREFIX_BYTES = 4;
/** Records read from one frame; SDKs send one, batching exporters some hundreds. */
const MAX_RECORDS_PER_FRAME = 10_000;
/** Nesting of attribute values that is read; deeper ones become null. */
const MAX_VALUE_DEPTH = 16;

/** Does a binary message carry telemetry (rather than a protocol message)? */
export function isTelemetry(frame: Buffer): boolean {
  const prefix = frame.toString('latin1', 0, PREFIX_BYTES);
  return prefix === 'LOGS' || prefix === 'OTLP' || prefix === 'MTRC';
}

/**
 * Decodes one binary frame. Never throws.
 *
 * @example
 * decodeTelemetry(Buffer.from('OTLP{"resourceSpans":[]}')); // { kind: 'spans', count: 0 }
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
  if (prefix === 'OTLP') return { kind: 'spans', count: countSpans(body) };
  return { kind: 'metrics', count: countMetrics(body) };
}

/** OpenTelemetry's severity numbers as levels: 1-4 trace, 5-8 debug, 9-12 info, 13-16 warn, 17-24 error, others info. */
export function levelOf(severity: number): RecordLevel {
  if (severity >= 17 && severity <= 24) return 'error';
  if (severity >= 13 && severity < 17) return 'warn';
  if (severity >= 5 && severity < 9) return 'debug';
  if (severity >= 1 && severity < 5) return 'trace';
  return 'info';
}

function logRecords(body: JsonObject): LogRecord[] {
  const records: LogRecord[] = [];
  for (const group of objects(body['resourceLogs'])) {
    const resource = attributesOf(isObject(group['resource']) ? group['resource']['attributes'] : undefined);
    for (const scope of objects(group['scopeLogs'])) {
      for (const record of objects(scope['logRecords'])) {
        if (records.length >= MAX_RECORDS_PER_FRAME) return records;
        records.push(logRecord(record, resource));
      }
    }
  }
  return records;
}

function logRecord(record: JsonObject, resource: Readonly<Record<string, unknown>>): LogRecord {
  const severity = typeof record['severityNumber'] === 'number' ? record['severityNumber'] : 0;
  const traceId = hexId(record['traceId']);
  const spanId = hexId(record['spanId']);
  const instanceId = resource['service.instance.id'];
  return {
    timeUnixNano: nanoseconds(record['timeUnixNano']) || nanoseconds(record['observedTimeUnixNano']),
    severity,
    level: levelOf(severity),
    body: asText(anyValue(record['body'], 0)),
    attributes: attributesOf(record['attributes']),
    ...(traceId === undefined ? {} : { traceId }),
    ...(spanId === undefined ? {} : { spanId }),
    serviceName: asText(resource['service.name']) || 'unknown',
    ...(typeof instanceId === 'string' && instanceId !== '' ? { instanceId } : {}),
  };
}

function countSpans(body: JsonObject): number {
  let count = 0;
  for (const group of objects(body['resourceSpans'])) {
    for (const scope of objects(group['scopeSpans'])) count += objects(scope['spans']).length;
  }
  return count;
}

/** Gauges, sums and histograms; the other kinds are not read. */
function countMetrics(body: JsonObject): number {
  let count = 0;
  for (const group of objects(body['resourceMetrics'])) {
    for (const scope of objects(group['scopeMetrics'])) {
      for (const metric of objects(scope['metrics'])) {
        if (isObject(metric['gauge']) || isObject(metric['sum']) || isObject(metric['histogram'])) count++;
      }
    }
  }
  return count;
}

type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The objects of what should be an array of objects; every array of the format may be absent. */
function objects(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function attributesOf(list: unknown, depth = 0): Record<string, unknown> {
  const attributes = Object.create(null) as Record<string, unknown>;
  for (const { key, value } of objects(list)) {
    if (typeof key === 'string') attributes[key] = anyValue(value, depth);
  }
  return attributes;
}

/** An OTLP AnyValue as the JSON value it stands for. An empty one (JavaScript's null) and bytes read as null. */
function anyValue(value: unknown, depth: number): unknown {
  if (!isObject(value) || depth > MAX_VALUE_DEPTH) return null;
  if (typeof value['stringValue'] === 'string') return value['stringValue'];
  if (typeof value['boolValue'] === 'boolean') return value['boolValue'];
  if (typeof value['doubleValue'] === 'number') return value['doubleValue'];
  if ('intValue' in value) return integer(value['intValue']);
  if (isObject(value['arrayValue']))
    return objects(value['arrayValue']['values']).map((item) => anyValue(item, depth + 1));
  if (isObject(value['kvlistValue'])) return attributesOf(value['kvlistValue']['values'], depth + 1);
  return null;
}

/** 64-bit integers travel as strings; those that a number holds exactly become one. */
function integer(value: unknown): unknown {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || !/^-?\d{1,20}$/.test(value)) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function nanoseconds(value: unknown): bigint {
  if (typeof value === 'string' && /^\d{1,20}$/.test(value)) return BigInt(value);
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return BigInt(Math.trunc(value));
  return 0n;
}

/** A trace or span id; empty ones and those of zeros only mean that there is none. */
function hexId(value: unknown): string | undefined {
  return typeof value === 'string' && /^[0-9a-f]+$/i.test(value) && !/^0+$/.test(value)
    ? value.toLowerCase()
    : undefined;
}

function asText(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === null || value === undefined ? '' : (JSON.stringify(value) ?? '');
}
