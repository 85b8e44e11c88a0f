/**
 * The main thread's end of one database thread, for one life of that thread.
 *
 * States: `opening` -> `open` -> `ended`; an open that fails goes to `ended` at once. The transitions
 * are the thread's first message, and its exit. While `open`, at most one call is under way.
 */
import { Worker } from 'node:worker_threads';
import { threadArgv } from '../../core/built-url.js';
import { systemClock, type Timer } from '../../core/clock.js';
import { DatabaseError, driverError } from './errors.js';
import type { Call, FromThread, ThreadOptions, ToThread } from './messages.js';

/**
 * Time for a thread to open its file, in milliseconds: more than SQLite takes for a long log. A folder of a
 * network that is gone never answers.
 */
export const OPEN_TIMEOUT_MS = 60_000;

interface Waiter {
  readonly resolve: (json: string) => void;
  readonly reject: (error: DatabaseError) => void;
}

export class Connection {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #waiter: Waiter | undefined;
  #reason: string | undefined;
  #isClosing = false;
  #ended = false;

  private constructor(entry: URL, options: ThreadOptions, opened: Waiter) {
    this.#waiter = opened;
    this.#worker = new Worker(entry, {
      workerData: options,
      name: `database ${options.name}`,
      execArgv: threadArgv(),
    });
    this.#worker.on('message', (message: FromThread) => this.#answered(message));
    this.#worker.on('error', (error) => (this.#reason = error.message));
    this.#exited = new Promise((done) =>
      this.#worker.once('exit', (code) => {
        this.#end(this.#reason ?? `exit code ${code}`);
        done();
      }),
    );
  }

  /**
   * Starts the thread and opens the file.
   *
   * @param entry - the built thread module
   * @throws DatabaseError `DRIVER_ERROR` `CannotOpen`, also when that takes longer than `openTimeoutMs`
   */
  static async open(entry: URL, options: ThreadOptions, openTimeoutMs = OPEN_TIMEOUT_MS): Promise<Connection> {
    const parts: { connection?: Connection } = {};
    let timer: Timer | undefined;
    try {
      await new Promise<string>((resolve, reject) => {
        parts.connection = new Connection(entry, options, { resolve, reject });
        // Real time even under a test's clock, as in `Database.close`.
        timer = systemClock.setTimer(() => {
          reject(driverError(`it was not open after ${openTimeoutMs} ms`, 'CannotOpen'));
          parts.connection?.abandon();
        }, openTimeoutMs);
      });
    } finally {
      timer?.cancel();
    }
    return parts.connection as Connection;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Runs one call; the one before must have been answered.
   *
   * @returns the result as JSON text
   * @throws DatabaseError what the call failed with, or that the thread was lost while it ran
   */
  run(call: Call): Promise<string> {
    if (this.#waiter !== undefined) throw new Error('a database thread runs one call at a time');
    if (this.#ended) return Promise.reject(driverError('the database thread has ended'));
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#worker.ref();
      this.#worker.postMessage(call satisfies ToThread);
    });
  }

  /** Closes the file after the running call, and ends the thread. */
  async close(): Promise<void> {
    if (!this.#ended) {
      this.#isClosing = true;
      this.#worker.postMessage({ kind: 'close' } satisfies ToThread);
      this.#worker.ref();
    }
    await this.#exited;
  }

  /** Ends the thread without waiting; a statement that runs inside SQLite still runs to its end. */
  abandon(): void {
    this.#worker.unref();
    void this.#worker.terminate();
  }

  #answered(message: FromThread): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    // Whoever closes it waits for the exit, which nothing else may keep the process alive for.
    if (!this.#isClosing) this.#worker.unref();
    switch (message.kind) {
      case 'open':
        return waiter?.resolve('');
      case 'unopened':
        this.#ended = true;
        return waiter?.reject(driverError(message.message, 'CannotOpen'));
      case 'result':
        return waiter?.resolve(message.json);
      case 'fault':
        return waiter?.reject(new DatabaseError(message.fault));
    }
  }

  #end(reason: string): void {
    this.#ended = true;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(
      driverError(
        `the database thread ended unexpectedly (${reason}) while this ran: it may or may not have taken effect`,
      ),
    );
  }
}
