/** Log records of workers, out of OTLP's ExportLogsServiceRequest. */
import {
  asText,
  attributesOf,
  hexId,
  isObject,
  nameOf,
  nanoseconds,
  objects,
  textOf,
  type JsonObject,
} from './telemetry-values.js';

export interface LogRecord {
  /** Nanoseconds since the epoch; 0 when the record has no time. */
  readonly timeUnixNano: bigint;
  readonly observedUnixNano: bigint;
  /** OpenTelemetry's number, 1 to 24; 0 when unknown. */
  readonly severity: number;
  /** As the worker wrote it; made from the number where it wrote none (`INFO`), '' where there is neither. */
  readonly severityText: string;
  readonly level: RecordLevel;
  readonly body: string;
  /** JSON types are kept: `log.data` of an SDK's Logger is an object here. No prototype. */
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly traceId?: string;
  readonly spanId?: string;
  readonly resource: Readonly<Record<string, unknown>>;
  /** Resource attribute `service.name`, `unknown` when absent. */
  readonly serviceName: string;
  /** Resource attribute `service.instance.id`. */
  readonly instanceId?: string;
  /** '' when absent, as the version. */
  readonly scopeName: string;
  readonly scopeVersion: string;
}

export type RecordLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** Records read from one frame; SDKs send one, batching exporters some hundreds. */
const MAX_RECORDS_PER_FRAME = 10_000;

/** OpenTelemetry's severity numbers as levels: 1-4 trace, 5-8 debug, 9-12 info, 13-16 warn, 17-24 error, others info. */
export function levelOf(severity: number): RecordLevel {
  if (severity >= 17 && severity <= 24) return 'error';
  if (severity >= 13 && severity < 17) return 'warn';
  if (severity >= 5 && severity < 9) return 'debug';
  if (severity >= 1 && severity < 5) return 'trace';
  return 'info';
}

export function logRecords(body: JsonObject): LogRecord[] {
  const records: LogRecord[] = [];
  for (const group of objects(body['resourceLogs'])) {
    const resource = attributesOf(isObject(group['resource']) ? group['resource']['attributes'] : undefined);
    for (const scoped of objects(group['scopeLogs'])) {
      const scope = isObject(scoped['scope']) ? scoped['scope'] : {};
      for (const record of objects(scoped['logRecords'])) {
        if (records.length >= MAX_RECORDS_PER_FRAME) return records;
        records.push(logRecord(record, resource, scope));
      }
    }
  }
  return records;
}

function logRecord(record: JsonObject, resource: Readonly<Record<string, unknown>>, scope: JsonObject): LogRecord {
  const severity = typeof record['severityNumber'] === 'number' ? record['severityNumber'] : 0;
  const traceId = hexId(record['traceId']);
  const spanId = hexId(record['spanId']);
  const instanceId = resource['service.instance.id'];
  const observed = nanoseconds(record['observedTimeUnixNano']);
  const time = nanoseconds(record['timeUnixNano']) || observed;
  return {
    timeUnixNano: time,
    observedUnixNano: observed || time,
    severity,
    severityText: nameOf(record['severityText']) || (severity === 0 ? '' : levelOf(severity).toUpperCase()),
    level: levelOf(severity),
    body: textOf(record['body']),
    attributes: attributesOf(record['attributes']),
    ...(traceId === undefined ? {} : { traceId }),
    ...(spanId === undefined ? {} : { spanId }),
    resource,
    serviceName: nameOf(asText(resource['service.name'])) || 'unknown',
    ...(typeof instanceId === 'string' && instanceId !== '' ? { instanceId } : {}),
    scopeName: nameOf(scope['name']),
    scopeVersion: nameOf(scope['version']),
  };
}
