import { serve } from '../corked-socket.js';
import { kindOf, readFunctionId, readInvocationId, resultFrame } from '../wire.js';

const ANSWER = '{"ok":true}';

/** The least that a request to the engine itself costs: a frame in, a constant answer out. */
export function startAnswerer(): Promise<number> {
  return serve((frame, from) => {
    if (kindOf(frame) !== 'invokefunction') return;
    const id = readInvocationId(frame);
    if (id !== undefined) from.send(resultFrame(id, readFunctionId(frame) ?? '', ANSWER));
  });
}
