/**
 * One configured database: a thread, and the calls that wait for it.
 *
 * A call: `waiting` (at most `acquire_timeout_ms`, then `POOL_TIMEOUT`) -> `running` -> answered. A
 * query that passes its deadline is answered `QUERY_TIMEOUT` while its statement keeps the thread
 * busy until SQLite returns. A thread that is lost is replaced before the next call.
 */
import { builtUrl } from '../../core/built-url.js';
import { systemClock, type Clock, type Timer } from '../../core/clock.js';
import type { Log } from '../../core/log.js';
import { Connection } from './connection.js';
import { DatabaseError, driverError } from './errors.js';
import type { Call } from './messages.js';

/** Calls that may wait for one database; above it they are answered `POOL_TIMEOUT` at once. */
const MAX_WAITING = 10_000;
/** How long `close` waits for the calls that were taken, in milliseconds. */
const CLOSE_WAIT_MS = 5_000;

const THREAD = builtUrl(import.meta.url, './thread.js');

export interface DatabaseOptions {
  readonly name: string;
  /** Absolute path, or `:memory:`. */
  readonly file: string;
  readonly acquireTimeoutMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** The thread's module, for tests of its loss. */
  readonly thread?: URL;
  /** Default: that of the connection. */
  readonly openTimeoutMs?: number;
}

interface WaitingCall {
  readonly call: Call;
  readonly timeoutMs: number | undefined;
  readonly since: number;
  readonly resolve: (json: string) => void;
  readonly reject: (error: unknown) => void;
}

export class Database {
  readonly #options: DatabaseOptions;
  #acquireTimeoutMs: number;
  #connection: Connection;
  readonly #waiting: WaitingCall[] = [];
  #running: Promise<void> | undefined;
  #acquireTimer: Timer | undefined;
  #closed = false;

  private constructor(options: DatabaseOptions, connection: Connection) {
    this.#options = options;
    this.#acquireTimeoutMs = options.acquireTimeoutMs;
    this.#connection = connection;
  }

  /** @throws DatabaseError when the file cannot be opened */
  static async open(options: DatabaseOptions): Promise<Database> {
    return new Database(options, await connect(options));
  }

  get file(): string {
    return this.#options.file;
  }

  /** Applies to calls from now on; those that wait already keep their deadline at the earliest. */
  set acquireTimeoutMs(value: number) {
    this.#acquireTimeoutMs = value;
    this.#watchAcquire();
  }

  /**
   * Runs a call when the calls before it are done.
   *
   * @param timeoutMs - deadline of the statement itself, counted from when it starts
   * @returns the result as JSON text
   * @throws DatabaseError
   */
  run(call: Call, timeoutMs?: number): Promise<string> {
    if (this.#closed) return Promise.reject(this.#closedError());
    if (this.#waiting.length >= MAX_WAITING) return Promise.reject(this.#poolTimeout(0));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ call, timeoutMs, since: this.#options.clock.monotonic(), resolve, reject });
      this.#next();
    });
  }

  /** Takes no more calls, lets those that were taken finish for a while, closes the file. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // Real time even under a test's clock: SQLite's statements run in real time.
    let timer: Timer | undefined;
    const late = new Promise<'late'>((resolve) => (timer = systemClock.setTimer(() => resolve('late'), CLOSE_WAIT_MS)));
    const outcome = await Promise.race([this.#idle(), late]);
    timer?.cancel();
    this.#acquireTimer?.cancel();
    for (const { reject } of this.#waiting.splice(0)) reject(this.#closedError());
    if (outcome === 'late') {
      this.#options.log.warn('A database is closed while a statement still runs in it', {
        db: this.#options.name,
        waited_ms: CLOSE_WAIT_MS,
      });
      this.#connection.abandon();
    } else {
      await this.#connection.close();
    }
  }

  async #idle(): Promise<'idle'> {
    while (this.#running !== undefined) await this.#running;
    return 'idle';
  }

  #next(): void {
    if (this.#running === undefined) {
      const call = this.#waiting.shift();
      if (call !== undefined) {
        this.#running = this.#serve(call).finally(() => {
          this.#running = undefined;
          this.#next();
        });
      }
    }
    this.#watchAcquire();
  }

  async #serve({ call, timeoutMs, resolve, reject }: WaitingCall): Promise<void> {
    const { clock, log, name } = this.#options;
    let timer: Timer | undefined;
    try {
      if (this.#connection.ended) this.#connection = await this.#reconnect();
      if (timeoutMs !== undefined) {
        timer = clock.setTimer(() => {
          log.warn('A query passed its deadline; its database is busy until SQLite returns', {
            db: name,
            timeout_ms: timeoutMs,
          });
          reject(new DatabaseError({ code: 'QUERY_TIMEOUT', db: name, timeout_ms: timeoutMs }));
        }, timeoutMs);
      }
      resolve(await this.#connection.run(call));
    } catch (error) {
      reject(error);
    } finally {
      timer?.cancel();
    }
  }

  async #reconnect(): Promise<Connection> {
    const { log, name, file } = this.#options;
    log.error('The thread of a database ended and is started again', {
      db: name,
      ...(file === ':memory:' ? { lost: 'everything in it: it was kept in memory' } : {}),
    });
    return connect(this.#options);
  }

  /** One timer serves all that wait: they wait in order, so the first one's deadline comes first. */
  #watchAcquire(): void {
    this.#acquireTimer?.cancel();
    this.#acquireTimer = undefined;
    const first = this.#waiting[0];
    if (first === undefined) return;
    const { clock } = this.#options;
    const leftMs = first.since + this.#acquireTimeoutMs - clock.monotonic();
    this.#acquireTimer = clock.setTimer(() => this.#expire(), leftMs);
  }

  #expire(): void {
    const now = this.#options.clock.monotonic();
    for (
      let first = this.#waiting[0];
      first !== undefined && first.since + this.#acquireTimeoutMs <= now;
      first = this.#waiting[0]
    ) {
      this.#waiting.shift();
      first.reject(this.#poolTimeout(now - first.since));
    }
    this.#watchAcquire();
  }

  #poolTimeout(waitedMs: number): DatabaseError {
    return new DatabaseError({ code: 'POOL_TIMEOUT', db: this.#options.name, waited_ms: Math.round(waitedMs) });
  }

  #closedError(): DatabaseError {
    return driverError(
      `database ${this.#options.name} is closed: it was removed from the configuration, or the engine is stopping`,
    );
  }
}

function connect({ thread, name, file, openTimeoutMs }: DatabaseOptions): Promise<Connection> {
  return Connection.open(thread ?? THREAD, { name, file }, openTimeoutMs);
}
