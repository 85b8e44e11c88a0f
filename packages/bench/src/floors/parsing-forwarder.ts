import { serve, type CorkedSocket } from '../corked-socket.js';

interface Frame {
  readonly type: string;
  readonly id?: string;
  readonly function_id?: string;
  readonly invocation_id?: string;
}

/** What an engine costs that reads each frame into a value and prints it again on its way. */
export function startParsingForwarder(): Promise<number> {
  const owners = new Map<string, CorkedSocket>();
  const callers = new Map<string, CorkedSocket>();
  return serve((text, from) => {
    const frame = JSON.parse(text) as Frame;
    switch (frame.type) {
      case 'invokefunction':
        if (frame.invocation_id !== undefined) callers.set(frame.invocation_id, from);
        owners.get(frame.function_id ?? '')?.send(JSON.stringify(frame));
        return;
      case 'invocationresult':
        callers.get(frame.invocation_id ?? '')?.send(JSON.stringify(frame));
        callers.delete(frame.invocation_id ?? '');
        return;
      case 'registerfunction':
        owners.set(frame.id ?? '', from);
        return;
      default:
    }
  });
}
