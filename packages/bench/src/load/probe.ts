import { connect } from '../corked-socket.js';
import { callFrame, invocationId, kindOf } from '../wire.js';

const PROBE_DEADLINE_MS = 10_000;
const PROBE_PAUSE_MS = 20;

/**
 * Calls a function until it answers without an error: a registration is not acknowledged, so this is
 * how a load knows that the worker before it is in place.
 */
export async function untilCallable(url: string, functionId: string, data: string): Promise<void> {
  const answers: string[] = [];
  const socket = await connect(url, (frame) => {
    if (kindOf(frame) === 'invocationresult') answers.push(frame);
  });
  const deadline = performance.now() + PROBE_DEADLINE_MS;
  try {
    for (let sequence = 0; ; sequence++) {
      socket.send(callFrame(invocationId(sequence), functionId, data));
      while (answers.length <= sequence && performance.now() < deadline) await pause();
      const answer = answers[sequence];
      if (answer !== undefined && !answer.includes('"error":{')) return;
      if (performance.now() > deadline) throw new Error(`${functionId} does not answer: ${answer ?? 'silence'}`);
      await pause();
    }
  } finally {
    await socket.close();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PROBE_PAUSE_MS));
}
