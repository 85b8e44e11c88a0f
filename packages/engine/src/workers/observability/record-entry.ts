import type { ForeignEntry } from '../../core/log-writer.js';
import type { LogRecord } from '../../core/telemetry.js';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const NANOS_PER_MS = 1_000_000n;
/** The SDKs repeat these inside the attributes of a record that has them at its top. */
const REPEATED: ReadonlySet<string> = new Set(['trace_id', 'span_id', 'service.name', 'log.data']);

/** A worker's log record as an entry of the log: who, level, message, and the Logger's data as fields. */
export function entryOf(record: LogRecord, connectedAs: string | undefined): ForeignEntry {
  const name = workerName(record, connectedAs);
  const logger = record.attributes['service.name'];
  const target =
    typeof logger === 'string' && logger !== '' && logger !== name && logger !== record.serviceName
      ? `${name} [${logger}]`
      : name;
  return {
    ...(record.timeUnixNano > 0n ? { timeMs: Number(record.timeUnixNano / NANOS_PER_MS) } : {}),
    level: record.level,
    target,
    message: record.body,
    fields: fieldsOf(record),
  };
}

/**
 * The name that people know the worker by. The supervisor sets `SERVICE_INSTANCE_ID` to the name of
 * the entry in config.yaml; workers started elsewhere have a random id there and are shown by their
 * service name.
 */
export function workerName(record: LogRecord, connectedAs: string | undefined): string {
  if (record.instanceId !== undefined && !UUID.test(record.instanceId)) return record.instanceId;
  if (record.serviceName !== 'unknown') return record.serviceName;
  return connectedAs ?? record.serviceName;
}

/** The members of the Logger's data (or `data`, when it is no object), then the other attributes, then the trace. */
function fieldsOf(record: LogRecord): Record<string, unknown> {
  const fields = Object.create(null) as Record<string, unknown>;
  const data = record.attributes['log.data'];
  if (typeof data === 'object' && data !== null && !Array.isArray(data)) Object.assign(fields, data);
  else if (data !== undefined && data !== null) fields['data'] = data;
  for (const [name, value] of Object.entries(record.attributes)) {
    if (!REPEATED.has(name) && !(name in fields)) fields[name] = value;
  }
  if (record.traceId !== undefined && !('trace_id' in fields)) fields['trace_id'] = record.traceId;
  return fields;
}
