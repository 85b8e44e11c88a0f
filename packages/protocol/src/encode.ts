/**
 * Frames to a worker, as text. Payloads are spliced in, never parsed. Absent optional fields are
 * left out; required ones (`data`, `config`, `trigger_type`) are always sent, since strict clients
 * drop a frame without them.
 */
import type { ErrorBody } from './errors.js';
import { scanObject } from './scan.js';

export function encodeWorkerRegistered(workerId: string, reattachToken: string): string {
  return JSON.stringify({ type: 'workerregistered', worker_id: workerId, reattach_token: reattachToken });
}

export function encodeInvoke(
  invocationId: string,
  functionId: string,
  dataJson: string,
  traceparent: string | undefined,
  baggage: string | undefined,
  metadataJson: string | undefined,
): string {
  let text = `{"type":"invokefunction","invocation_id":"${invocationId}","function_id":${quote(functionId)},"data":${dataJson}`;
  if (traceparent !== undefined) text += `,"traceparent":${quote(traceparent)}`;
  if (baggage !== undefined) text += `,"baggage":${quote(baggage)}`;
  if (metadataJson !== undefined) text += `,"metadata":${metadataJson}`;
  return text + '}';
}

/**
 * The answer to a call.
 *
 * @param invocationId - a UUID: it is spliced in as it is
 */
export function encodeResult(
  invocationId: string,
  functionId: string,
  resultJson: string | undefined,
  error: ErrorBody | undefined,
  traceparent: string | undefined,
  baggage: string | undefined,
): string {
  let text = `{"type":"invocationresult","invocation_id":"${invocationId}","function_id":${quote(functionId)}`;
  if (error !== undefined) text += `,"error":${JSON.stringify(error)}`;
  else if (resultJson !== undefined) text += `,"result":${resultJson}`;
  if (traceparent !== undefined) text += `,"traceparent":${quote(traceparent)}`;
  if (baggage !== undefined) text += `,"baggage":${quote(baggage)}`;
  return text + '}';
}

/** The answer to a frame that could not be read: nothing in it is trusted to be what it should be, its id neither. */
export function encodeRefusal(invocationId: string, functionId: string, error: ErrorBody): string {
  return JSON.stringify({ type: 'invocationresult', invocation_id: invocationId, function_id: functionId, error });
}

/** A short text as JSON. Ids hardly ever hold what must be escaped, and a look is cheaper than `JSON.stringify`. */
function quote(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    // Control characters, quote, backslash; halves of a pair may stand alone.
    if (c < 0x20 || c === 0x22 || c === 0x5c || c > 0x7e) return JSON.stringify(text);
  }
  return `"${text}"`;
}

export interface TriggerFields {
  readonly id: string;
  readonly triggerType: string;
  readonly functionId: string;
  readonly configJson: string;
  readonly metadataJson: string | undefined;
  readonly namespace: string;
  readonly triggerNamespace: string;
}

export function encodeRegisterTrigger(trigger: TriggerFields): string {
  let text =
    `{"type":"registertrigger","id":${JSON.stringify(trigger.id)},"trigger_type":${JSON.stringify(trigger.triggerType)}` +
    `,"function_id":${JSON.stringify(trigger.functionId)},"config":${trigger.configJson}`;
  if (trigger.metadataJson !== undefined) text += `,"metadata":${trigger.metadataJson}`;
  if (trigger.namespace !== 'default') text += `,"namespace":${JSON.stringify(trigger.namespace)}`;
  if (trigger.triggerNamespace !== 'default')
    text += `,"trigger_namespace":${JSON.stringify(trigger.triggerNamespace)}`;
  return text + '}';
}

export function encodeUnregisterTrigger(id: string, triggerType: string): string {
  return JSON.stringify({ type: 'unregistertrigger', id, trigger_type: triggerType });
}

export function encodeTriggerRegistrationResult(
  id: string,
  triggerType: string,
  functionId: string,
  error: ErrorBody,
): string {
  return JSON.stringify({
    type: 'triggerregistrationresult',
    id,
    trigger_type: triggerType,
    function_id: functionId,
    error,
  });
}

export const PONG_FRAME = '{"type":"pong"}';

export const CALLER_KEY = '_caller_worker_id';

/**
 * Adds `_caller_worker_id` to an object payload: a splice before its closing brace. Anything but an
 * object is returned as it is. A payload that already has the key (or may hide it behind an escape)
 * goes through the slow path, which replaces it: duplicate keys break typed clients.
 *
 * @param json - valid JSON text without surrounding white space
 * @param workerId - the caller's id, a UUID
 */
export function withCaller(json: string, workerId: string): string {
  if (json.charCodeAt(0) !== 0x7b) return json;
  if (json.includes(CALLER_KEY) || json.includes('\\u')) return replaceCaller(json, workerId);
  const end = json.length - 1;
  return isBlank(json, 1, end)
    ? `{"${CALLER_KEY}":"${workerId}"}`
    : `${json.slice(0, end)},"${CALLER_KEY}":"${workerId}"}`;
}

function isBlank(text: string, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (text.charCodeAt(i) > 0x20) return false;
  return true;
}

function replaceCaller(json: string, workerId: string): string {
  const spans = scanObject(json);
  if (spans === undefined) return json;
  const members: string[] = [];
  spans.keys.forEach((key, i) => {
    if (key !== CALLER_KEY) members.push(`${JSON.stringify(key)}:${json.slice(spans.starts[i], spans.ends[i])}`);
  });
  members.push(`"${CALLER_KEY}":"${workerId}"`);
  return `{${members.join(',')}}`;
}
