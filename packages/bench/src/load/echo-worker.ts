import { connect, type CorkedSocket } from '../corked-socket.js';
import { kindOf, readFunctionId, readInvocationId, registerFunctionFrame, resultFrame } from '../wire.js';

/**
 * A worker that answers each call with a constant.
 *
 * @param result - JSON text of the answer
 * @param onCall - told of each call, with or without an id
 */
export async function connectEchoWorker(
  url: string,
  functionIds: readonly string[],
  result: string,
  onCall?: () => void,
): Promise<CorkedSocket> {
  const socket = await connect(url, (frame, from) => {
    if (kindOf(frame) !== 'invokefunction') return;
    const id = readInvocationId(frame);
    if (id !== undefined) from.send(resultFrame(id, readFunctionId(frame) ?? '', result));
    onCall?.();
  });
  for (const id of functionIds) socket.send(registerFunctionFrame(id));
  return socket;
}
