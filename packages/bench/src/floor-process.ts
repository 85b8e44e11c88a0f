/** Entry of a floor's own process: `node floor-process.js KIND [PORT] [plain]`. Prints its ports as one JSON line. */
import { sendPlainly } from './corked-socket.js';
import { startAnswerer } from './floors/answerer.js';
import { startBroadcaster } from './floors/broadcaster.js';
import { startCommitter } from './floors/committer.js';
import { startForwarder } from './floors/forwarder.js';
import { startHttpForwarder } from './floors/http-forwarder.js';
import { startJobForwarder } from './floors/job-forwarder.js';
import { startParsingForwarder } from './floors/parsing-forwarder.js';
import type { ReadyLine } from './target.js';

export type FloorKind =
  | 'forwarder'
  | 'parsing-forwarder'
  | 'answerer'
  | 'committer'
  | 'job-forwarder'
  | 'broadcaster'
  | 'acknowledged-broadcaster'
  | 'http-forwarder';

async function start(kind: FloorKind, port: number): Promise<ReadyLine> {
  switch (kind) {
    case 'forwarder':
      return { port: await startForwarder(port) };
    case 'parsing-forwarder':
      return { port: await startParsingForwarder() };
    case 'answerer':
      return { port: await startAnswerer() };
    case 'committer':
      return { port: await startCommitter() };
    case 'job-forwarder':
      return { port: await startJobForwarder() };
    case 'broadcaster':
      return { port: await startBroadcaster(false) };
    case 'acknowledged-broadcaster':
      return { port: await startBroadcaster(true) };
    case 'http-forwarder':
      return startHttpForwarder();
  }
}

if (process.argv[4] === 'plain') sendPlainly();
const ready = await start(process.argv[2] as FloorKind, Number(process.argv[3] ?? 0));
process.stdout.write(`${JSON.stringify(ready)}\n`);
process.on('SIGTERM', () => process.exit(0));
