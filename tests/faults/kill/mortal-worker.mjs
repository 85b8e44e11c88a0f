// A worker to be killed: `node mortal-worker.mjs URL FUNCTION`. It runs the jobs it gets as their data
// says, and tells on standard output of each step before it takes it, in lines of JSON with the time
// that all processes of a machine share. What it has written outlives it. Plain JavaScript: it starts fast.
import { writeSync } from 'node:fs';
import { WebSocket } from 'ws';

const [url, functionId] = process.argv.slice(2);
const socket = new WebSocket(url, { perMessageDeflate: false });
const send = (frame) => socket.send(JSON.stringify(frame));
const tell = (step, id, queue) =>
  writeSync(1, `${JSON.stringify({ at: String(process.hrtime.bigint()), step, id, queue })}\n`);

socket.on('open', () => {
  send({ type: 'registerfunction', id: functionId });
  send({
    type: 'invokefunction',
    function_id: 'engine::workers::register',
    data: { name: 'mortal', runtime: 'node', pid: process.pid },
    action: { type: 'void' },
  });
});
socket.on('message', (data) => {
  const frame = JSON.parse(data.toString());
  if (frame.type !== 'invokefunction') return;
  const { id, workMs, failures } = frame.data;
  const { queue } = frame.metadata;
  const answer = { type: 'invocationresult', invocation_id: frame.invocation_id, function_id: functionId };
  tell('start', id, queue);
  setTimeout(() => {
    // As often as the queue counts: a failure that was not charged happens again.
    const fails = queue.attempt <= failures;
    tell(fails ? 'fail' : 'ok', id);
    send(fails ? { ...answer, error: { code: 'failed', message: 'on purpose' } } : { ...answer, result: null });
  }, workMs);
});
// The test that started it is gone, or the engine.
process.stdin.on('end', () => process.exit(0)).resume();
socket.on('close', () => process.exit(0));
socket.on('error', () => process.exit(1));
