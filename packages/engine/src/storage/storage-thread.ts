/**
 * The main thread's side of one storage thread.
 *
 * Hot path (`run`, `#answered`). Guarded by the enqueue and state rows of the benchmarks.
 *
 * At most `MAX_BATCHES` messages are under way; operations that come meanwhile travel together in the
 * next one, so groups grow with the load. A full message leaves at once, others at the end of the turn.
 *
 * A disk can take seconds to sync. Operations that have waited for `SLOW_AFTER_MS` and are in no
 * transaction are refused, and so is what comes while that lasts; those in the transaction wait.
 */
import { Worker } from 'node:worker_threads';
import { TrineError } from '@trine/protocol';
import { builtUrl, threadArgv } from '../core/built-url.js';
import type { StoreValue } from '../core/store.js';
import { StorageCode } from './errors.js';
import {
  ANSWER_WIDTH,
  OPERATION_WIDTH,
  operationBytes,
  type Failure,
  type FromThread,
  type ThreadEvent,
  type ToThread,
} from './messages.js';
import { Taken } from './taken.js';
import type { ThreadData } from './thread.js';

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
/** Bytes of operations that wait for the disk above which the worker sockets are not read. */
export const PRESSURE_BYTES = 64 * 1024 * 1024;
/** The sockets are read again below this, in bytes: not at once, or they would stop and go. */
const RELIEF_BYTES = 48 * 1024 * 1024;
/** Above this writes are refused: what had been read when the sockets were paused still finds room. */
const MAX_WAITING_BYTES = 128 * 1024 * 1024;
/** An operation that is in no transaction after this long is refused, in milliseconds. */
export const SLOW_AFTER_MS = 5_000;
/** How often the age of what waits is looked at, in milliseconds. */
const LOOK_EACH_MS = 250;

export interface StorageThreadOptions {
  readonly kind: 'writer' | 'reader' | 'checkpointer';
  onEvent(event: ThreadEvent): void;
  /** Too much waits for the disk, or no longer. */
  onPressure?(isPressed: boolean): void;
  onSlow?(isSlow: boolean): void;
}

interface Waiter {
  resolve(value: unknown): void;
  reject(error: TrineError): void;
}

/** A message without its number. */
export type Question = ToThread extends infer Message
  ? Message extends { readonly id: number }
    ? Omit<Message, 'id'>
    : never
  : never;

export class StorageThread {
  readonly #options: StorageThreadOptions;
  readonly #worker: Worker;
  readonly #taken = new Taken();
  /** Operations without an answer, the oldest first. */
  readonly #waiters = new Map<number, Waiter>();
  readonly #questions = new Map<number, Waiter>();
  readonly #exited: Promise<void>;
  #nextId = 1;
  #gathered: unknown[] = [];
  #gatheredBytes = 0;
  readonly #sentBytes: number[] = [];
  #waitingBytes = 0;
  #flushPlanned = false;
  #isPressed = false;
  #isSlow = false;
  #isStopping = false;
  #ended = false;
  #look: NodeJS.Timeout | undefined;
  /** The newest operation at each look. */
  #history: number[] = [];

  constructor(options: StorageThreadOptions) {
    this.#options = options;
    const { kind } = options;
    const entry = kind === 'checkpointer' ? './checkpoint-thread.js' : './thread.js';
    this.#worker = new Worker(builtUrl(import.meta.url, entry), {
      workerData: { readOnly: kind === 'reader', taken: this.#taken.buffer } satisfies ThreadData,
      name: `storage ${kind}`,
      execArgv: threadArgv(),
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

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  get isSlow(): boolean {
    return this.#isSlow;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Sends a message and waits for its answer; operations before it go first. */
  ask<T = unknown>(question: Question): Promise<T> {
    if (this.#ended) return Promise.reject(closedError());
    this.#flush(true);
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#questions.set(id, { resolve: resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage({ ...question, id });
    });
  }

  async stop(): Promise<void> {
    if (!this.#ended) {
      this.#isStopping = true;
      this.#flush(true);
      this.#worker.postMessage({ kind: 'stop' } satisfies ToThread);
      this.#worker.ref();
    }
    await this.#exited;
  }

  run(store: number, kind: number, operation: string, args: readonly StoreValue[]): Promise<unknown> {
    if (this.#ended) return Promise.reject(closedError());
    if (this.#isSlow) return Promise.reject(slowError());
    const bytes = operationBytes(args);
    const waiting = this.#waitingBytes + bytes;
    if (waiting > PRESSURE_BYTES && !this.#isPressed) this.#press(true);
    if (waiting > MAX_WAITING_BYTES && this.#waitingBytes > 0) {
      const message = `${this.#waitingBytes} bytes wait for the disk, which is the limit: try again shortly`;
      return Promise.reject(new TrineError(StorageCode.overloaded, message, { retryable: true }));
    }
    if (this.#look === undefined && this.#options.kind === 'writer') this.#startLooking();
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#waiters.set(id, { resolve, reject });
      this.#waitingBytes = waiting;
      this.#gatheredBytes += bytes;
      this.#gathered.push(id, store, kind, operation, args);
      if (this.#gathered.length >= EAGER_OPERATIONS * OPERATION_WIDTH) this.#flush(false);
      else this.#plan();
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

  #answered({ answers, batches, events }: FromThread): void {
    for (let i = 0; i < batches; i++) this.#waitingBytes -= this.#sentBytes.shift() ?? 0;
    if (this.#isPressed && this.#waitingBytes < RELIEF_BYTES) this.#press(false);
    // Also when all that it came to had been refused: nothing would be sent that it could answer.
    if (this.#isSlow && (answers.length > 0 || batches > 0)) this.#setSlow(false);
    // Events first: what an answer says may rest on them.
    if (events !== undefined) for (const event of events) this.#options.onEvent(event);
    for (let i = 0; i < answers.length; i += ANSWER_WIDTH) {
      const id = answers[i] as number;
      let waiter = this.#waiters.get(id);
      if (waiter !== undefined) {
        this.#waiters.delete(id);
      } else {
        waiter = this.#questions.get(id);
        this.#questions.delete(id);
      }
      if (answers[i + 1] === true) waiter?.resolve(answers[i + 2]);
      else waiter?.reject(toError(answers[i + 2] as Failure));
    }
    // Whoever stops waits for the exit, which nothing else may keep the process alive for.
    if (this.#waiters.size === 0 && this.#questions.size === 0 && !this.#isStopping) this.#worker.unref();
    this.#flush(false);
  }

  #startLooking(): void {
    this.#history = [];
    this.#look = setInterval(() => this.#lookAtAge(), LOOK_EACH_MS);
    this.#look.unref();
  }

  #stopLooking(): void {
    clearInterval(this.#look);
    this.#look = undefined;
  }

  #lookAtAge(): void {
    const oldest = this.#waiters.keys().next();
    if (oldest.done === true) {
      this.#stopLooking();
      return;
    }
    this.#history.push(this.#nextId - 1);
    if (this.#history.length <= SLOW_AFTER_MS / LOOK_EACH_MS) return;
    const old = this.#history.shift() as number;
    if (oldest.value > old) return;
    this.#setSlow(true);
    // What came meanwhile would have to wait as long: all that is in no transaction is refused.
    const isRefused = this.#taken.refuse(this.#nextId - 1);
    if (isRefused === undefined) return;
    for (const [id, waiter] of this.#waiters) {
      if (!isRefused(id)) continue;
      this.#waiters.delete(id);
      waiter.reject(slowError());
    }
  }

  #setSlow(isSlow: boolean): void {
    if (this.#isSlow === isSlow) return;
    this.#isSlow = isSlow;
    if (!isSlow) this.#history = [];
    this.#options.onSlow?.(isSlow);
  }

  #press(isPressed: boolean): void {
    this.#isPressed = isPressed;
    this.#options.onPressure?.(isPressed);
  }

  #end(reason: string): void {
    this.#ended = true;
    this.#stopLooking();
    for (const waiters of [this.#waiters, this.#questions]) {
      for (const waiter of waiters.values()) waiter.reject(new TrineError(StorageCode.closed, reason));
      waiters.clear();
    }
    if (this.#isPressed) this.#press(false);
  }
}

function toError({ code, message, retryable = false }: Failure): TrineError {
  return new TrineError(code, message, { retryable });
}

function slowError(): TrineError {
  const message = `${StorageCode.slow}: the disk has not finished a sync for ${SLOW_AFTER_MS / 1_000} s: nothing is accepted until it has`;
  return new TrineError(StorageCode.slow, message, { retryable: true });
}

export function closedError(): TrineError {
  return new TrineError(StorageCode.closed, 'the engine is shutting down: nothing more is written');
}
