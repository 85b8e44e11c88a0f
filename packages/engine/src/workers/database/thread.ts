/** The thread of one database: opens its file, then serves one call after the other. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import type { FromThread, ThreadOptions, ToThread } from './messages.js';
import { faultOf, Sqlite } from './sqlite.js';

const port = parentPort as MessagePort;
const { name, file } = workerData as ThreadOptions;

const sqlite = open();
if (sqlite !== undefined) {
  port.on('message', (message: ToThread) => {
    if (message.kind === 'close') {
      sqlite.close();
      port.close();
    } else {
      post(answer(sqlite, message));
    }
  });
  post({ kind: 'open' });
}

function open(): Sqlite | undefined {
  try {
    return new Sqlite(name, file);
  } catch (error) {
    post({ kind: 'unopened', message: error instanceof Error ? error.message : String(error) });
    return undefined;
  }
}

function answer(sqlite: Sqlite, call: Exclude<ToThread, { kind: 'close' }>): FromThread {
  try {
    switch (call.kind) {
      case 'query':
        return { kind: 'result', json: sqlite.query(call) };
      case 'execute':
        return { kind: 'result', json: sqlite.execute(call) };
      case 'transaction':
        return { kind: 'result', json: sqlite.transaction(call) };
    }
  } catch (error) {
    return { kind: 'fault', fault: faultOf(error) };
  }
}

function post(message: FromThread): void {
  port.postMessage(message);
}
