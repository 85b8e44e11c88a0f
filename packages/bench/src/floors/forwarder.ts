import { serve, type CorkedSocket } from '../corked-socket.js';
import { kindOf, readFunctionId, readInvocationId } from '../wire.js';

/**
 * The least that any engine on Node must do for a call: look up the owner of a function id, pass the
 * frame on as it is, and pass the answer back. No parse, no checks, no registry beyond two maps.
 */
export function startForwarder(port: number): Promise<number> {
  const owners = new Map<string, CorkedSocket>();
  const callers = new Map<string, CorkedSocket>();
  return serve((frame, from) => {
    switch (kindOf(frame)) {
      case 'invokefunction': {
        const id = readInvocationId(frame);
        if (id !== undefined) callers.set(id, from);
        owners.get(readFunctionId(frame) ?? '')?.send(frame);
        return;
      }
      case 'invocationresult': {
        const id = readInvocationId(frame) ?? '';
        callers.get(id)?.send(frame);
        callers.delete(id);
        return;
      }
      case 'registerfunction':
        owners.set((JSON.parse(frame) as { id: string }).id, from);
        return;
      default:
    }
  }, port);
}
