import type { CallRecord } from '../../core/span-ring.js';
import type { SpanRecord } from '../../core/telemetry.js';
import type { AttributePair } from '../../core/telemetry-values.js';

const NANOS_PER_MS = 1_000_000n;
const MICROS_PER_MS = 1_000;

/** The attribute that keeps a span out of lists and trees unless they are asked for everything. */
export const KIND_ATTRIBUTE = 'iii.function.kind';
/** Attribute by which a span names the function it is about. */
export const FUNCTION_ATTRIBUTE = 'function_id';

/** On calls that went to a worker: it may tell of them itself. */
export const ROUTED_ATTRIBUTE = 'iii.call.routed';

/**
 * A call that the router saw as a span of the engine.
 *
 * Only calls of built-ins from inside a trace are for everybody: a worker's function records a span of
 * its own (`execute ...`), and the engine's one beside it would show every call twice. The others are
 * marked as internal.
 */
export function callSpan(call: CallRecord, serviceName: string): SpanRecord {
  const { functionId, error } = call;
  const internal = !call.builtIn || call.parentSpanId === undefined || functionId.startsWith('engine::');
  const attributes: AttributePair[] = [
    ['faas.invoked_name', functionId],
    ['faas.trigger', 'other'],
    [FUNCTION_ATTRIBUTE, functionId],
    [KIND_ATTRIBUTE, internal ? 'internal' : 'user'],
    ['iii.caller', call.caller],
    ['iii.executor', call.executor],
  ];
  if (!call.builtIn) attributes.push([ROUTED_ATTRIBUTE, 'true']);
  if (error !== undefined) attributes.push(['error.type', error.code], ['error.message', error.message]);
  return {
    traceId: call.traceId,
    spanId: call.spanId,
    parentSpanId: call.parentSpanId,
    name: `call ${functionId}`,
    startUnixNano: toNanos(call.startedAtMs),
    endUnixNano: toNanos(call.endedAtMs),
    status: error === undefined ? 'ok' : 'error',
    statusDescription: error?.message ?? '',
    attributes,
    serviceName,
    events: [],
    links: [],
    scopeName: '',
    scopeVersion: '',
    flags: 1,
    traceState: '',
  };
}

/** A double holds today's milliseconds to about a quarter of a microsecond. */
function toNanos(ms: number): bigint {
  const whole = Math.trunc(ms);
  const micros = Math.round((ms - whole) * MICROS_PER_MS);
  return BigInt(whole) * NANOS_PER_MS + BigInt(micros) * 1_000n;
}

export function attributeOf(span: SpanRecord, name: string): string | undefined {
  return span.attributes.find(([key]) => key === name)?.[1];
}

/** Kept out of lists unless asked for. */
export function isInternalSpan(span: SpanRecord): boolean {
  return (
    attributeOf(span, KIND_ATTRIBUTE) === 'internal' ||
    attributeOf(span, FUNCTION_ATTRIBUTE)?.startsWith('engine::') === true
  );
}
