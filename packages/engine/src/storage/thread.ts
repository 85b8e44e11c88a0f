/**
 * A storage thread: the writer, which runs all operations that wait as one transaction per file and
 * answers after the commit (one sync serves hundreds of callers under load, and one caller pays one
 * sync); or the reader, which runs scans.
 *
 * Messages are handled in the order in which they came, also those that wait for a module to load.
 */
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import type Database from 'better-sqlite3';
import { IN_MEMORY } from './connection.js';
import { probeFolder } from './disk-fault.js';
import { openError, StorageCode, toFailure } from './errors.js';
import { lockFolder } from './folder-lock.js';
import {
  ANSWER_WIDTH,
  READ,
  operationBytes,
  type Failure,
  type FileMessage,
  type FromThread,
  type OpenMessage,
  type QuarantineMessage,
  type ThreadEvent,
  type ToThread,
} from './messages.js';
import { ReaderFile } from './reader-file.js';
import { appendSteps, type Step } from './step.js';
import type { StoreModule } from './store-module.js';
import { Taken } from './taken.js';
import { WriterFile } from './writer-file.js';

/** Most operations in one transaction. */
const MAX_GROUP_OPERATIONS = 1_000;
/** Most bytes of operations in one transaction; a larger operation is one by itself. */
const MAX_GROUP_BYTES = 8 * 1024 * 1024;

export interface ThreadData {
  readonly readOnly: boolean;
  readonly taken: SharedArrayBuffer;
}

type StorageFile = WriterFile | ReaderFile;

const port = parentPort as MessagePort;
const { readOnly, taken: buffer } = workerData as ThreadData;
const taken = new Taken(buffer);
const files = new Map<string, StorageFile>();
const stores = new Map<number, StorageFile>();
let lock: Database.Database | undefined;
let events: ThreadEvent[] = [];

port.on('message', (first: ToThread) => void take(first));

let tail: Promise<void> = Promise.resolve();
let loading = 0;

function take(message: ToThread): void {
  if (message.kind === 'run' && loading === 0) {
    runWaiting(message.operations);
    return;
  }
  loading++;
  tail = tail.then(() => handle(message)).finally(() => loading--);
}

async function handle(message: ToThread): Promise<void> {
  switch (message.kind) {
    case 'run':
      return runWaiting(message.operations);
    case 'open':
      return answerOne(message.id, () => open(message));
    case 'close':
      return answerOne(message.id, () => close(message.store));
    case 'quarantine':
      return answerOne(message.id, () => quarantine(message));
    case 'stop':
      for (const file of files.values()) shut(file);
      lock?.close();
      port.close();
      return;
    default:
      return answerOne(message.id, () => onFile(message));
  }
}

async function answerOne(id: number, run: () => unknown): Promise<void> {
  try {
    post([id, true, await run()], 0);
  } catch (error) {
    post([id, false, toFailure(error)], 0);
  }
}

function tell(event: ThreadEvent): void {
  // Told with the answers of the group; outside of one, in a message of its own.
  if (events.push(event) === 1) queueMicrotask(() => events.length > 0 && post([], 0));
}

async function open(message: OpenMessage): Promise<unknown> {
  const { default: module } = (await import(message.module)) as { default: StoreModule };
  if (message.lockDir !== undefined) lock ??= lockFolder(message.lockDir);
  // An in-memory file belongs to one store; real files are shared by the stores that name them.
  const key = message.file === IN_MEMORY ? `${IN_MEMORY}${message.store}` : message.file;
  let file = files.get(key);
  const isNew = file === undefined;
  if (file === undefined) files.set(key, (file = connect(message.file)));
  try {
    file.open(message.store, module);
    stores.set(message.store, file);
    return isNew && file instanceof WriterFile ? file.quarantined() : [];
  } catch (error) {
    releaseUnused();
    throw openError(message.file, error);
  }
}

function connect(path: string): StorageFile {
  return readOnly ? new ReaderFile(path, tell) : new WriterFile(path, tell);
}

function close(store: number): void {
  stores.get(store)?.close(store);
  stores.delete(store);
  releaseUnused();
}

function releaseUnused(): void {
  for (const [key, file] of files) {
    if (!file.isUnused) continue;
    files.delete(key);
    shut(file);
  }
}

function shut(file: StorageFile): void {
  if (file instanceof WriterFile) file.shut();
  else file.release();
}

function onFile({ kind, file: path }: FileMessage): unknown {
  const file = files.get(path);
  if (file === undefined) return undefined;
  if (kind === 'probe') return probeFolder(path);
  if (kind === 'reopen') return file.reopen();
  if (file instanceof ReaderFile) return file.release();
  return file.fail(new Error('a checkpoint failed'));
}

function quarantine({ rows }: QuarantineMessage): void {
  const now = Date.now();
  for (const file of files.values()) {
    const own = rows.filter(({ store }) => stores.get(store) === file);
    if (own.length > 0 && file instanceof WriterFile) file.quarantine(own, now);
  }
}

/** Operations that wait, how many of them are taken (not to be refused any more), and where each message ends. */
let backlog: Step[] = [];
let takenSteps = 0;
let messageEnds: number[] = [];

/** Runs these operations and all others that wait, in groups, in order. */
function runWaiting(first: readonly unknown[]): void {
  receive(first);
  while (backlog.length > 0) {
    while (backlog.length < MAX_GROUP_OPERATIONS && loading === 0) {
      const next = receiveMessageOnPort(port) as { message: ToThread } | undefined;
      if (next === undefined) break;
      if (next.message.kind === 'run') receive(next.message.operations);
      else take(next.message);
    }
    const size = groupSize();
    const isAll = size === backlog.length;
    const group = isAll ? backlog : backlog.slice(0, size);
    const answers: unknown[] = [];
    const left = runGroup(takeGroup(group), answers);
    takenSteps = left.length;
    backlog = isAll ? [...left] : [...left, ...backlog.slice(size)];
    post(answers, endMessages(size - left.length));
  }
}

/** Those of a group that were not refused while they waited. */
function takeGroup(group: readonly Step[]): readonly Step[] {
  if (takenSteps >= group.length) return group;
  const mayRun = taken.take((group[group.length - 1] as Step).id);
  const [first] = group.slice(takenSteps) as [Step];
  // Refused are the oldest: if the first may run, all may.
  return mayRun(first.id) ? group : group.filter(({ id }, i) => i < takenSteps || mayRun(id));
}

function receive(operations: readonly unknown[]): void {
  appendSteps(operations, backlog);
  messageEnds.push(backlog.length);
}

/** Returns how many messages end with these operations. */
function endMessages(operations: number): number {
  const before = messageEnds.length;
  messageEnds = messageEnds.map((end) => end - operations).filter((end) => end > 0);
  return before - messageEnds.length;
}

function groupSize(): number {
  const most = Math.min(backlog.length, MAX_GROUP_OPERATIONS);
  let bytes = 0;
  for (let i = 0; i < most; i++) {
    bytes += operationBytes((backlog[i] as Step).args);
    if (bytes > MAX_GROUP_BYTES && i > 0) return i;
  }
  return most;
}

/** Runs a group, a transaction per file; returns what did not fit into them. */
function runGroup(group: readonly Step[], answers: unknown[]): readonly Step[] {
  const writes = new Map<WriterFile, Step[]>();
  const reads: Step[] = [];
  for (const step of group) {
    const file = stores.get(step.store);
    if (file === undefined) {
      const message = 'the store is closed';
      answers.push(step.id, false, { code: StorageCode.closed, message } satisfies Failure);
    } else if (step.kind === READ || file instanceof ReaderFile) {
      reads.push(step);
    } else {
      const steps = writes.get(file);
      if (steps === undefined) writes.set(file, [step]);
      else steps.push(step);
    }
  }
  let left: readonly Step[] = [];
  for (const [file, steps] of writes) {
    const own = file.run(steps, answers);
    if (own.length > 0) left = [...left, ...own];
  }
  for (const step of reads) {
    try {
      answers.push(step.id, true, (stores.get(step.store) as StorageFile).read(step));
    } catch (error) {
      answers.push(step.id, false, toFailure(error));
    }
  }
  return left;
}

function post(answers: unknown[], batches: number): void {
  if (answers.length % ANSWER_WIDTH !== 0) throw new Error('answers are out of step');
  const message: FromThread = events.length === 0 ? { answers, batches } : { answers, batches, events };
  events = [];
  port.postMessage(message);
}
