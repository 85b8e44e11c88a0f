import { serve, type CorkedSocket } from '../corked-socket.js';
import { callFrame, invocationId, kindOf, readDataTail, readInvocationId, resultFrame } from '../wire.js';

interface Subscriber {
  readonly functionId: string;
  readonly socket: CorkedSocket;
}

/**
 * The least that a publish costs: one frame to each subscriber, one answer to the publisher.
 *
 * @param acknowledged - false: deliveries carry no id and nobody answers them (pub/sub). true: each
 *   one is a call whose answer is awaited and dropped (durable topics, without their disk)
 */
export function startBroadcaster(acknowledged: boolean): Promise<number> {
  const subscribers: Subscriber[] = [];
  const running = new Set<string>();
  let sequence = 0;
  return serve((frame, from) => {
    switch (kindOf(frame)) {
      case 'invokefunction': {
        const id = readInvocationId(frame);
        const data = topicData(frame);
        for (const { functionId, socket } of subscribers) {
          if (acknowledged) {
            const delivery = invocationId(sequence++);
            running.add(delivery);
            socket.send(callFrame(delivery, functionId, data));
          } else {
            socket.send(`{"type":"invokefunction","function_id":"${functionId}","data":${data}}`);
          }
        }
        if (id !== undefined) from.send(resultFrame(id, 'publish', 'null'));
        return;
      }
      case 'invocationresult':
        running.delete(readInvocationId(frame) ?? '');
        return;
      case 'registertrigger':
        subscribers.push({ functionId: (JSON.parse(frame) as { function_id: string }).function_id, socket: from });
        return;
      default:
    }
  });
}

/** The inner `data` of `{"topic":"...","data":{...}}}`: the load program writes it last. */
function topicData(frame: string): string {
  const tail = readDataTail(readDataTail(frame));
  return tail.slice(0, -2);
}
