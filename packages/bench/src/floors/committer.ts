import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serve, type CorkedSocket } from '../corked-socket.js';
import { kindOf, readDataTail, readFunctionId, readInvocationId, resultFrame } from '../wire.js';

const ANSWER = '{"ok":true}';

interface Database {
  pragma(text: string): unknown;
  exec(sql: string): void;
  prepare(sql: string): { run(...values: unknown[]): unknown };
  transaction<T extends readonly unknown[]>(work: (...values: T) => void): (...values: T) => void;
}
/** The driver of the engine, whose version both sides share. */
const Database = createRequire(fileURLToPath(import.meta.resolve('@trine/engine')))('better-sqlite3') as new (
  path: string,
) => Database;

/**
 * A bare group-commit loop: what came in one turn is one transaction, synced, and then answered. One
 * table without an index beside its key; no checks, no order, nothing is ever read.
 */
export function startCommitter(): Promise<number> {
  const database = new Database(join(process.cwd(), 'floor.db'));
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec('CREATE TABLE jobs (id INTEGER PRIMARY KEY, data TEXT NOT NULL)');
  const insert = database.prepare('INSERT INTO jobs (data) VALUES (?)');
  let waiting: { readonly frame: string; readonly from: CorkedSocket }[] = [];
  const commit = database.transaction((frames: typeof waiting) => {
    for (const { frame } of frames) insert.run(readDataTail(frame));
  });
  const flush = (): void => {
    const frames = waiting;
    waiting = [];
    commit(frames);
    for (const { frame, from } of frames) {
      from.send(resultFrame(readInvocationId(frame) ?? '', readFunctionId(frame) ?? '', ANSWER));
    }
  };
  return serve((frame, from) => {
    if (kindOf(frame) !== 'invokefunction') return;
    if (waiting.push({ frame, from }) === 1) setImmediate(flush);
  });
}
