/** Spans and log records as JSON text: nanoseconds are whole integers beyond what a number holds. */
import type { LogRecord, SpanRecord } from '../../core/telemetry.js';

/** The members of a span, without braces. */
export function spanMembers(span: SpanRecord): string {
  const text = JSON.stringify;
  let members =
    `"trace_id":${text(span.traceId)},"span_id":${text(span.spanId)},"parent_span_id":${text(span.parentSpanId ?? null)}` +
    `,"name":${text(span.name)},"start_time_unix_nano":${span.startUnixNano},"end_time_unix_nano":${span.endUnixNano}` +
    `,"status":${text(span.status)}`;
  if (span.statusDescription !== '') members += `,"status_description":${text(span.statusDescription)}`;
  members += `,"attributes":${text(span.attributes)},"service_name":${text(span.serviceName)}`;
  members += `,"events":[${span.events.map(eventText).join(',')}],"links":[${span.links.map(linkText).join(',')}]`;
  if (span.scopeName !== '') members += `,"instrumentation_scope_name":${text(span.scopeName)}`;
  if (span.scopeVersion !== '') members += `,"instrumentation_scope_version":${text(span.scopeVersion)}`;
  if (span.flags !== undefined) members += `,"flags":${text(span.flags)}`;
  if (span.traceState !== '') members += `,"trace_state":${text(span.traceState)}`;
  if (span.endUnixNano === 0n) members += ',"pending":true';
  return members;
}

function eventText(event: SpanRecord['events'][number]): string {
  return `{"name":${JSON.stringify(event.name)},"timestamp_unix_nano":${event.timeUnixNano},"attributes":${JSON.stringify(event.attributes)}}`;
}

function linkText(link: SpanRecord['links'][number]): string {
  return JSON.stringify({
    trace_id: link.traceId,
    span_id: link.spanId,
    trace_state: link.traceState === '' ? null : link.traceState,
    attributes: link.attributes,
  });
}

export function logText(record: LogRecord): string {
  const text = JSON.stringify;
  let members =
    `"timestamp_unix_nano":${record.timeUnixNano},"observed_timestamp_unix_nano":${record.observedUnixNano}` +
    `,"severity_number":${text(record.severity)},"severity_text":${text(record.severityText)},"body":${text(record.body)}` +
    `,"attributes":${text(record.attributes)},"trace_id":${text(record.traceId ?? null)},"span_id":${text(record.spanId ?? null)}` +
    `,"resource":${text(record.resource)},"service_name":${text(record.serviceName)}`;
  if (record.scopeName !== '') members += `,"instrumentation_scope_name":${text(record.scopeName)}`;
  if (record.scopeVersion !== '') members += `,"instrumentation_scope_version":${text(record.scopeVersion)}`;
  return `{${members}}`;
}
