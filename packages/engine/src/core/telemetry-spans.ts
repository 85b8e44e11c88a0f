/** Spans of workers, out of OTLP's ExportTraceServiceRequest. */
import {
  asText,
  attributePairs,
  attributesOf,
  clip,
  hexId,
  isObject,
  nameOf,
  nanoseconds,
  numberOf,
  objects,
  type AttributePair,
  type JsonObject,
} from './telemetry-values.js';

export type SpanStatus = 'unset' | 'ok' | 'error';

export interface SpanRecord {
  /** Lower-case hex. */
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  /** Nanoseconds since the epoch. */
  readonly startUnixNano: bigint;
  /** 0 while the span still runs (a live-start snapshot). */
  readonly endUnixNano: bigint;
  readonly status: SpanStatus;
  /** '' when absent. */
  readonly statusDescription: string;
  readonly attributes: readonly AttributePair[];
  readonly serviceName: string;
  readonly events: readonly SpanEvent[];
  readonly links: readonly SpanLink[];
  /** '' when absent, as the version. */
  readonly scopeName: string;
  readonly scopeVersion: string;
  readonly flags: number | undefined;
  /** '' when absent. */
  readonly traceState: string;
}

export interface SpanEvent {
  readonly name: string;
  readonly timeUnixNano: bigint;
  readonly attributes: readonly AttributePair[];
}

export interface SpanLink {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceState: string;
  readonly attributes: readonly AttributePair[];
}

/** Spans read from one frame; SDKs send up to 512. */
const MAX_SPANS_PER_FRAME = 10_000;
/** Events, and links, of one span that are kept (OpenTelemetry's default limit). */
const MAX_SPAN_EVENTS = 128;

const STATUSES: readonly SpanStatus[] = ['unset', 'ok', 'error'];

/** The spans that have a trace and an id of their own; one without belongs to no trace and is left out. */
export function spanRecords(body: JsonObject): SpanRecord[] {
  const spans: SpanRecord[] = [];
  for (const group of objects(body['resourceSpans'])) {
    const resource = attributesOf(isObject(group['resource']) ? group['resource']['attributes'] : undefined);
    const serviceName = nameOf(asText(resource['service.name'])) || 'unknown';
    for (const scoped of objects(group['scopeSpans'])) {
      const scope = isObject(scoped['scope']) ? scoped['scope'] : {};
      for (const span of objects(scoped['spans'])) {
        if (spans.length >= MAX_SPANS_PER_FRAME) return spans;
        const record = spanRecord(span, serviceName, scope);
        if (record !== undefined) spans.push(record);
      }
    }
  }
  return spans;
}

function spanRecord(span: JsonObject, serviceName: string, scope: JsonObject): SpanRecord | undefined {
  const traceId = hexId(span['traceId']);
  const spanId = hexId(span['spanId']);
  if (traceId === undefined || spanId === undefined) return undefined;
  const status = isObject(span['status']) ? span['status'] : {};
  return {
    traceId,
    spanId,
    parentSpanId: hexId(span['parentSpanId']),
    name: nameOf(span['name']),
    startUnixNano: nanoseconds(span['startTimeUnixNano']),
    endUnixNano: nanoseconds(span['endTimeUnixNano']),
    status: STATUSES[numberOf(status['code']) ?? 0] ?? 'unset',
    statusDescription: typeof status['message'] === 'string' ? clip(status['message']) : '',
    attributes: redacted(span['attributes']),
    serviceName,
    events: objects(span['events'])
      .slice(0, MAX_SPAN_EVENTS)
      .map((event) => ({
        name: nameOf(event['name']),
        timeUnixNano: nanoseconds(event['timeUnixNano']),
        attributes: redacted(event['attributes']),
      })),
    links: objects(span['links'])
      .slice(0, MAX_SPAN_EVENTS)
      .map((link) => ({
        traceId: hexId(link['traceId']) ?? '',
        spanId: hexId(link['spanId']) ?? '',
        traceState: nameOf(link['traceState']),
        attributes: redacted(link['attributes']),
      })),
    scopeName: nameOf(scope['name']),
    scopeVersion: nameOf(scope['version']),
    flags: numberOf(span['flags']),
    traceState: nameOf(span['traceState']),
  };
}

/** Attributes whose whole value is a credential. */
const SECRET_ATTRIBUTES: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'x-api-key',
  'api-key',
  'api_key',
  'access_token',
  'refresh_token',
  'password',
  'secret',
  'credential',
]);

function redacted(list: unknown): AttributePair[] {
  return attributePairs(list).map((pair) =>
    SECRET_ATTRIBUTES.has(pair[0].toLowerCase()) ? [pair[0], '[REDACTED]'] : pair,
  );
}
