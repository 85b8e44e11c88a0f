/**
 * The few frames the load programs and floors speak, built and read as text: JSON work in the load
 * program would hide what the engine costs.
 */

/** 64 bytes of JSON, the payload of every operation unless its function needs another shape. */
export const PAYLOAD_BYTES = 64;

const ID_PREFIX = '00000000-0000-4000-8000-';
const ID_LENGTH = 36;
const INVOCATION_ID = '"invocation_id":"';
const FUNCTION_ID = '"function_id":"';
const TYPE_OFFSET = '{"type":"'.length;

export type FrameKind = 'invokefunction' | 'invocationresult' | 'registerfunction' | 'registertrigger' | 'other';

const KINDS: readonly Exclude<FrameKind, 'other'>[] = [
  'invokefunction',
  'invocationresult',
  'registerfunction',
  'registertrigger',
];

/** The kind of a frame whose first member is `type` (all frames of engine, floors and load are). */
export function kindOf(frame: string): FrameKind {
  for (const kind of KINDS) {
    if (frame.startsWith(kind, TYPE_OFFSET) && frame.charCodeAt(TYPE_OFFSET + kind.length) === 0x22) return kind;
  }
  return 'other';
}

/** A UUID that carries a sequence number, so that an answer is matched without a table of strings. */
export function invocationId(sequence: number): string {
  return ID_PREFIX + sequence.toString(16).padStart(12, '0');
}

export function sequenceOf(id: string): number {
  return Number.parseInt(id.slice(ID_PREFIX.length), 16);
}

export function readInvocationId(frame: string): string | undefined {
  const at = frame.indexOf(INVOCATION_ID);
  if (at < 0) return undefined;
  const start = at + INVOCATION_ID.length;
  return frame.slice(start, start + ID_LENGTH);
}

export function readFunctionId(frame: string): string | undefined {
  const at = frame.indexOf(FUNCTION_ID);
  if (at < 0) return undefined;
  const start = at + FUNCTION_ID.length;
  return frame.slice(start, frame.indexOf('"', start));
}

/** Everything after `"data":` up to the end of the frame: floors that only pass it on. */
export function readDataTail(frame: string): string {
  return frame.slice(frame.indexOf('"data":') + '"data":'.length);
}

/**
 * A call with an answer.
 * @param data - JSON text
 * @param action - JSON text of the `action` member
 */
export function callFrame(id: string, functionId: string, data: string, action?: string): string {
  const tail = action === undefined ? '}' : `,"action":${action}}`;
  return `{"type":"invokefunction","invocation_id":"${id}","function_id":"${functionId}","data":${data}${tail}`;
}

/** A call nobody waits for. */
export function voidFrame(functionId: string, data: string): string {
  return `{"type":"invokefunction","function_id":"${functionId}","data":${data},"action":{"type":"void"}}`;
}

export function resultFrame(id: string, functionId: string, result: string): string {
  return `{"type":"invocationresult","invocation_id":"${id}","function_id":"${functionId}","result":${result}}`;
}

export function registerFunctionFrame(id: string): string {
  return JSON.stringify({ type: 'registerfunction', id });
}

export function registerTriggerFrame(id: string, triggerType: string, functionId: string, config: unknown): string {
  return JSON.stringify({ type: 'registertrigger', id, trigger_type: triggerType, function_id: functionId, config });
}
