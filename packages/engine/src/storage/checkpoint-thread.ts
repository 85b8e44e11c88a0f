/**
 * The checkpointer: moves the write-ahead log into the database on a third connection, so that neither
 * a write nor a scan waits for it. Passive: it takes what it can and holds nobody up.
 */
import { parentPort, type MessagePort } from 'node:worker_threads';
import type Database from 'better-sqlite3';
import { connectCheckpointer } from './connection.js';
import { diskFault } from './disk-fault.js';
import { toFailure } from './errors.js';
import type { FileMessage, FromThread, StopMessage } from './messages.js';

const port = parentPort as MessagePort;
const connections = new Map<string, Database.Database>();

port.on('message', (message: FileMessage | StopMessage) => {
  if (message.kind === 'stop') {
    for (const file of connections.keys()) release(file);
    port.close();
    return;
  }
  const { id, file, kind } = message;
  try {
    if (kind === 'release') release(file);
    else checkpoint(file);
    answer([id, true, undefined]);
  } catch (error) {
    // A full disk is the writer's to notice; another one is busy: again when the log has grown.
    if (diskFault(error) === 'broken') answer([id, false, toFailure(error)]);
    else answer([id, true, undefined]);
  }
});

function checkpoint(file: string): void {
  let db = connections.get(file);
  if (db === undefined) connections.set(file, (db = connectCheckpointer(file)));
  db.pragma('wal_checkpoint(PASSIVE)');
}

function release(file: string): void {
  connections.get(file)?.close();
  connections.delete(file);
}

function answer(answers: unknown[]): void {
  port.postMessage({ answers, batches: 0 } satisfies FromThread);
}
