/**
 * A storage thread. The writer runs all operations that wait as one transaction per file and answers
 * after the commit: one sync serves hundreds of callers under load, and one caller pays one sync.
 * The reader runs scans on read-only connections, so that no write waits for them.
 *
 * Group: operations are taken until none waits or a bound is met, run without savepoints, committed.
 * If one of them throws, the group is rolled back and run again with a savepoint each: the bad one
 * fails alone. (Savepoints always would cost every good group; measured at about 15 % of a group.)
 */
import { mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import Database from 'better-sqlite3';
import {
  ANSWER_WIDTH,
  OPERATION_WIDTH,
  WRITE,
  type Failure,
  type FromThread,
  type OpenMessage,
  type ToThread,
} from './messages.js';
import { foreignError, lockedError, openError, StorageCode, unwritableError } from './errors.js';
import { migrate } from './migrate.js';
import type { Operations, StoreModule } from './store-module.js';

/** Most operations in one transaction. */
const MAX_GROUP_OPERATIONS = 1_000;
/** Longest time that operations are added to an open transaction, in milliseconds. */
const MAX_GROUP_MS = 5;
/** A connection waits this long for another one's lock, in milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;
/** The write-ahead log is cut back to this size after a checkpoint, in bytes. */
const WAL_SIZE_LIMIT_BYTES = 64 * 1024 * 1024;

interface OpenFile {
  readonly path: string;
  readonly db: Database.Database;
  users: number;
}

interface OpenStore {
  readonly file: OpenFile;
  readonly writes: Operations;
  readonly reads: Operations;
}

interface Step {
  readonly id: number;
  readonly store: number;
  readonly kind: number;
  readonly name: string;
  readonly args: readonly unknown[];
}

const port = parentPort as MessagePort;
const { readOnly } = workerData as { readonly readOnly: boolean };
const files = new Map<string, OpenFile>();
const stores = new Map<number, OpenStore>();
let lock: Database.Database | undefined;

port.on('message', (first: ToThread) => void take(first));

/** Messages are handled one after the other, also those that wait for a module to load. */
let tail: Promise<void> = Promise.resolve();
let loading = 0;

function take(first: ToThread): void {
  if (first.kind === 'run' && loading === 0) {
    runWaiting(first.operations);
    return;
  }
  loading++;
  tail = tail.then(() => handle(first)).finally(() => loading--);
}

async function handle(message: ToThread): Promise<void> {
  switch (message.kind) {
    case 'run':
      return runWaiting(message.operations);
    case 'open':
      return answerOne(message.id, () => open(message));
    case 'close':
      return answerOne(message.id, () => close(message.store));
    case 'stop':
      for (const file of files.values()) shut(file);
      lock?.close();
      port.close();
  }
}

async function answerOne(id: number, run: () => unknown): Promise<void> {
  try {
    await run();
    post([id, true, undefined], 0);
  } catch (error) {
    post([id, false, failure(error)], 0);
  }
}

async function open(message: OpenMessage): Promise<void> {
  const { default: module } = (await import(message.module)) as { default: StoreModule };
  if (message.lockDir !== undefined) lockFolder(message.lockDir);
  // An in-memory file belongs to one store; real files are shared by the stores that name them.
  const key = message.file === ':memory:' ? `:memory:${message.store}` : message.file;
  let file = files.get(key);
  if (file === undefined) files.set(key, (file = { path: message.file, db: connect(message.file), users: 0 }));
  file.users++;
  try {
    if (!readOnly) migrate(file.db, module, message.file);
    stores.set(message.store, { file, writes: readOnly ? {} : module.writes(file.db), reads: module.reads(file.db) });
  } catch (error) {
    release(key, file);
    throw openError(message.file, error);
  }
}

function connect(path: string): Database.Database {
  if (path !== ':memory:' && !readOnly) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) throw foreignError(path);
    try {
      mkdirSync(dirname(path), { recursive: true });
    } catch (error) {
      throw unwritableError(dirname(path), (error as Error).message);
    }
  }
  try {
    const db = new Database(path, { readonly: readOnly, timeout: BUSY_TIMEOUT_MS });
    if (!readOnly) {
      db.pragma('journal_mode = WAL');
      db.pragma('synchronous = FULL');
      db.pragma(`journal_size_limit = ${WAL_SIZE_LIMIT_BYTES}`);
      db.pragma('foreign_keys = ON');
    }
    return db;
  } catch (error) {
    throw openError(path, error);
  }
}

/** The system lets go of the lock when the process dies, however it dies. */
function lockFolder(folder: string): void {
  if (lock !== undefined) return;
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw unwritableError(folder, (error as Error).message);
  }
  const path = join(folder, 'engine.lock');
  let db: Database.Database | undefined;
  try {
    db = new Database(path, { timeout: 0 });
    db.exec('BEGIN EXCLUSIVE');
    lock = db;
  } catch (error) {
    db?.close();
    const code = (error as { code?: string }).code ?? '';
    throw code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')
      ? lockedError(folder)
      : openError(path, error);
  }
}

function close(id: number): void {
  const store = stores.get(id);
  if (store === undefined) return;
  stores.delete(id);
  for (const [key, file] of files) if (file === store.file) release(key, file);
}

function release(key: string, file: OpenFile): void {
  if (--file.users > 0) return;
  files.delete(key);
  shut(file);
}

function shut(file: OpenFile): void {
  try {
    if (!readOnly) file.db.pragma('wal_checkpoint(TRUNCATE)');
  } finally {
    file.db.close();
  }
}

/** Runs these operations and all others that wait, in groups, in order. */
function runWaiting(first: readonly unknown[]): void {
  let steps = toSteps(first, []);
  let batches = 1;
  const started = performance.now();
  while (steps.length < MAX_GROUP_OPERATIONS && performance.now() - started < MAX_GROUP_MS) {
    const next = receiveMessageOnPort(port) as { message: ToThread } | undefined;
    if (next === undefined) break;
    if (next.message.kind !== 'run') {
      take(next.message);
      break;
    }
    steps = toSteps(next.message.operations, steps);
    batches++;
  }
  for (let from = 0; from < steps.length; from += MAX_GROUP_OPERATIONS) {
    const group = steps.slice(from, from + MAX_GROUP_OPERATIONS);
    const last = from + MAX_GROUP_OPERATIONS >= steps.length;
    post(runGroup(group), last ? batches : 0);
  }
}

function toSteps(operations: readonly unknown[], into: Step[]): Step[] {
  for (let i = 0; i < operations.length; i += OPERATION_WIDTH) {
    into.push({
      id: operations[i] as number,
      store: operations[i + 1] as number,
      kind: operations[i + 2] as number,
      name: operations[i + 3] as string,
      args: operations[i + 4] as readonly unknown[],
    });
  }
  return into;
}

function runGroup(group: readonly Step[]): unknown[] {
  const answers: unknown[] = [];
  const byFile = new Map<OpenFile, Step[]>();
  for (const step of group) {
    const store = stores.get(step.store);
    if (store === undefined) {
      answers.push(step.id, false, { code: StorageCode.closed, message: 'the store is closed' } satisfies Failure);
    } else if (step.kind === WRITE) {
      const steps = byFile.get(store.file);
      if (steps === undefined) byFile.set(store.file, [step]);
      else steps.push(step);
    } else {
      answer(answers, step, () => call(step));
    }
  }
  for (const [file, steps] of byFile) commit(file, steps, answers);
  return answers;
}

function commit(file: OpenFile, steps: readonly Step[], answers: unknown[]): void {
  const before = answers.length;
  try {
    inTransaction(file.db, () => {
      for (const step of steps) answers.push(step.id, true, call(step));
    });
    return;
  } catch {
    answers.length = before;
  }
  try {
    inTransaction(file.db, () => {
      for (const step of steps) {
        answer(answers, step, () => file.db.transaction(() => call(step))());
      }
    });
  } catch (error) {
    // The commit itself failed: nothing of the group is kept.
    answers.length = before;
    const failed = { code: StorageCode.failed, message: `${file.path}: ${(error as Error).message}` } satisfies Failure;
    for (const step of steps) answers.push(step.id, false, failed);
  }
}

function inTransaction(db: Database.Database, run: () => void): void {
  db.exec('BEGIN IMMEDIATE');
  try {
    run();
    db.exec('COMMIT');
  } catch (error) {
    if (db.inTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

function answer(answers: unknown[], step: Step, run: () => unknown): void {
  const before = answers.length;
  try {
    answers.push(step.id, true, run());
  } catch (error) {
    answers.length = before;
    answers.push(step.id, false, failure(error));
  }
}

function call(step: Step): unknown {
  const store = stores.get(step.store) as OpenStore;
  const operations = step.kind === WRITE ? store.writes : store.reads;
  const operation = operations[step.name] as ((...args: readonly unknown[]) => unknown) | undefined;
  if (operation === undefined) throw new Error(`the store has no operation ${step.name}`);
  return operation(...step.args);
}

function failure(error: unknown): Failure {
  const { code } = error as { code?: unknown };
  const known = typeof code === 'string' && !code.startsWith('SQLITE_') && !code.startsWith('ERR_');
  return { code: known ? code : StorageCode.failed, message: error instanceof Error ? error.message : String(error) };
}

function post(answers: unknown[], batches: number): void {
  if (answers.length % ANSWER_WIDTH !== 0) throw new Error('answers are out of step');
  port.postMessage({ answers, batches } satisfies FromThread);
}
