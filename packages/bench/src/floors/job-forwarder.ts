import { serve, type CorkedSocket } from '../corked-socket.js';
import { callFrame, kindOf, readFunctionId, readInvocationId, resultFrame } from '../wire.js';

const ANSWER = '{"ok":true}';

/** The frames of a job's life and nothing else: an answer to the enqueue, a call of the handler, its answer. */
export function startJobForwarder(): Promise<number> {
  const owners = new Map<string, CorkedSocket>();
  return serve((frame, from) => {
    switch (kindOf(frame)) {
      case 'invokefunction': {
        const id = readInvocationId(frame) ?? '';
        const functionId = readFunctionId(frame) ?? '';
        from.send(resultFrame(id, functionId, ANSWER));
        owners.get(functionId)?.send(callFrame(id, functionId, '{}'));
        return;
      }
      case 'registerfunction':
        owners.set((JSON.parse(frame) as { id: string }).id, from);
        return;
      default:
    }
  });
}
