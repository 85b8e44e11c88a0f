/** Frames from a worker to an engine, as text. Payloads are spliced in, never parsed. */
import type { RemoteCall } from './remote-engine.js';

/** @param invocationId - undefined = nobody waits for the answer */
export function encodeCall(invocationId: string | undefined, call: RemoteCall, baggage: string | undefined): string {
  let text = `{"type":"invokefunction","function_id":${JSON.stringify(call.functionId)}`;
  text += invocationId === undefined ? ',"action":{"type":"void"}' : `,"invocation_id":"${invocationId}"`;
  text += `,"data":${call.payload.json}`;
  if (call.context.traceparent !== undefined) text += `,"traceparent":${JSON.stringify(call.context.traceparent)}`;
  if (baggage !== undefined) text += `,"baggage":${JSON.stringify(baggage)}`;
  if (call.context.metadata !== undefined) text += `,"metadata":${call.context.metadata.json}`;
  return text + '}';
}

export function encodeRegisterFunction(id: string, description: string): string {
  return JSON.stringify({ type: 'registerfunction', id, description });
}

export function encodeUnregisterFunction(id: string): string {
  return JSON.stringify({ type: 'unregisterfunction', id });
}

export function encodeTrigger(id: string, type: string, functionId: string, config: unknown): string {
  return JSON.stringify({ type: 'registertrigger', id, trigger_type: type, function_id: functionId, config });
}

export function encodeUnregister(id: string, type: string): string {
  return JSON.stringify({ type: 'unregistertrigger', id, trigger_type: type });
}

/** Who this connection is, as SDKs tell after connecting. */
export function encodeIntroduction(name: string, version: string): string {
  return JSON.stringify({
    type: 'invokefunction',
    function_id: 'engine::workers::register',
    action: { type: 'void' },
    data: { runtime: 'node', version, name, os: process.platform, pid: process.pid },
  });
}
