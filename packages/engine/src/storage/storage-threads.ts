/**
 * The main thread's side of storage: one writer thread for all durable writes, one reader thread for
 * scans, both started when the first store opens.
 *
 * At most `MAX_BATCHES` messages are under way to a thread; operations that come meanwhile travel
 * together in the next one, so groups grow with the load. A full message leaves at once, others at
 * the end of the turn.
 */
import { join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { TrineError } from '@trine/protocol';
import { builtUrl } from '../core/built-url.js';
import type { OpenStoreOptions, Storage, Store, StoreValue } from '../core/store.js';
import { StorageCode } from './errors.js';
import {
  ANSWER_WIDTH,
  OPERATION_WIDTH,
  READ,
  WRITE,
  type Failure,
  type FromThread,
  type ToThread,
} from './messages.js';

/**
 * Messages of operations under way to one thread: enough that it finds the next group when it comes
 * back from a sync, few enough that groups grow with the load. (Measured: 2 leave it waiting, more
 * than 4 only make groups smaller.)
 */
const MAX_BATCHES = 4;
/**
 * Operations gathered in one turn that leave before the turn ends, so that the thread works on the
 * first while the main thread still reads the rest. (Measured at 256 enqueues in flight: 40,000/s
 * when all leave at the end of the turn, 52,000/s with 32.)
 */
const EAGER_OPERATIONS = 32;
/** Bytes of operations that may wait for the disk; above it writes are refused. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** Rough bytes of an operation beside its strings, for the bound above. */
const OPERATION_BYTES = 128;

export interface StorageOptions {
  readonly projectDir: string;
  readonly dataDir: string;
}

export class StorageThreads implements Storage {
  readonly #options: StorageOptions;
  #writer: StorageThread | undefined;
  #reader: StorageThread | undefined;
  #stores = 0;
  #stopped = false;

  constructor(options: StorageOptions) {
    this.#options = options;
  }

  async open(options: OpenStoreOptions): Promise<Store> {
    if (this.#stopped) throw closedError();
    const { dataDir, projectDir } = this.#options;
    const inMemory = options.file === ':memory:';
    const file = inMemory
      ? ':memory:'
      : options.file === undefined
        ? join(dataDir, 'engine.db')
        : resolve(projectDir, options.file);
    const writer = (this.#writer ??= new StorageThread(false));
    const store = this.#stores++;
    const request = { kind: 'open', store, module: options.module.href, file } as const;
    await writer.open({ ...request, lockDir: inMemory ? undefined : dataDir });
    // A database in memory has one connection: its reads go to the writer, between two groups.
    let reader = writer;
    if (!inMemory) {
      reader = this.#reader ??= new StorageThread(true);
      await reader.open({ ...request, lockDir: undefined });
    }
    return {
      write: <T>(operation: string, ...args: StoreValue[]) => writer.run(store, WRITE, operation, args) as Promise<T>,
      read: <T>(operation: string, ...args: StoreValue[]) => reader.run(store, READ, operation, args) as Promise<T>,
      close: async () => {
        if (reader !== writer) await reader.close(store);
        await writer.close(store);
      },
    };
  }

  /** Closes every file after what waits was committed, and ends the threads. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#reader?.stop();
    await this.#writer?.stop();
  }
}

interface Waiter {
  resolve(value: unknown): void;
  reject(error: TrineError): void;
}

class StorageThread {
  readonly #worker: Worker;
  readonly #waiters = new Map<number, Waiter>();
  readonly #exited: Promise<void>;
  #nextId = 1;
  #gathered: unknown[] = [];
  #gatheredBytes = 0;
  #sentBytes: number[] = [];
  #waitingBytes = 0;
  #flushPlanned = false;
  #ended = false;

  constructor(readOnly: boolean) {
    this.#worker = new Worker(builtUrl(import.meta.url, './thread.js'), {
      workerData: { readOnly },
      name: readOnly ? 'storage reader' : 'storage writer',
    });
    this.#worker.on('message', (message: FromThread) => this.#answered(message));
    this.#worker.on('error', (error) => this.#end(`the storage thread failed: ${error.message}`));
    this.#exited = new Promise((done) =>
      this.#worker.once('exit', () => {
        this.#end('the storage thread has ended');
        done();
      }),
    );
    this.#worker.unref();
  }

  open(message: Omit<Extract<ToThread, { kind: 'open' }>, 'id'>): Promise<unknown> {
    return this.#ask((id) => ({ ...message, id }));
  }

  close(store: number): Promise<unknown> {
    return this.#ended ? Promise.resolve() : this.#ask((id) => ({ kind: 'close', id, store }));
  }

  async stop(): Promise<void> {
    if (this.#ended) return;
    this.#flush(true);
    this.#worker.postMessage({ kind: 'stop' } satisfies ToThread);
    this.#worker.ref();
    await this.#exited;
  }

  run(store: number, kind: number, operation: string, args: readonly StoreValue[]): Promise<unknown> {
    if (this.#ended) return Promise.reject(closedError());
    const bytes = OPERATION_BYTES + sizeOf(args);
    if (this.#waitingBytes + bytes > MAX_WAITING_BYTES && this.#waitingBytes > 0) {
      const message = `${this.#waitingBytes} bytes wait for the disk, which is the limit: try again shortly`;
      return Promise.reject(new TrineError(StorageCode.overloaded, message, { retryable: true }));
    }
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#waiters.set(id, { resolve, reject });
      this.#waitingBytes += bytes;
      this.#gatheredBytes += bytes;
      this.#gathered.push(id, store, kind, operation, args);
      if (this.#gathered.length >= EAGER_OPERATIONS * OPERATION_WIDTH) this.#flush(false);
      else this.#plan();
    });
  }

  #ask(message: (id: number) => ToThread): Promise<unknown> {
    if (this.#ended) return Promise.reject(closedError());
    this.#flush(true);
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#waiters.set(id, { resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage(message(id));
    });
  }

  #plan(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    queueMicrotask(() => {
      this.#flushPlanned = false;
      this.#flush(false);
    });
  }

  #flush(now: boolean): void {
    if (this.#gathered.length === 0 || (!now && this.#sentBytes.length >= MAX_BATCHES)) return;
    const operations = this.#gathered;
    this.#sentBytes.push(this.#gatheredBytes);
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#worker.ref();
    this.#worker.postMessage({ kind: 'run', operations } satisfies ToThread);
  }

  #answered({ answers, batches }: FromThread): void {
    for (let i = 0; i < batches; i++) this.#waitingBytes -= this.#sentBytes.shift() ?? 0;
    for (let i = 0; i < answers.length; i += ANSWER_WIDTH) {
      const id = answers[i] as number;
      const waiter = this.#waiters.get(id);
      this.#waiters.delete(id);
      if (answers[i + 1] === true) waiter?.resolve(answers[i + 2]);
      else waiter?.reject(toError(answers[i + 2] as Failure));
    }
    if (this.#waiters.size === 0) this.#worker.unref();
    this.#flush(false);
  }

  #end(reason: string): void {
    this.#ended = true;
    for (const waiter of this.#waiters.values()) waiter.reject(new TrineError(StorageCode.closed, reason));
    this.#waiters.clear();
  }
}

function sizeOf(args: readonly StoreValue[]): number {
  let bytes = 0;
  for (const arg of args) {
    if (typeof arg === 'string') bytes += arg.length;
    else if (Array.isArray(arg)) bytes += sizeOf(arg as readonly StoreValue[]);
    else if (arg instanceof Uint8Array) bytes += arg.byteLength;
  }
  return bytes;
}

function toError(failure: Failure): TrineError {
  return new TrineError(failure.code, failure.message);
}

function closedError(): TrineError {
  return new TrineError(StorageCode.closed, 'the engine is shutting down: nothing more is written');
}
