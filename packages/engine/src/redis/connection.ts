/**
 * One connection to a Redis server, with a second one for messages where channels are listened to.
 *
 *   connecting -> attaching    connected and signed in
 *   attaching  -> ready        version and settings read, scripts loaded, `attach` done
 *   attaching  -> connecting   something of that failed: again after a second
 *   ready      -> connecting   it was cut, or gave no answer to a probe
 *   any        -> closed
 *
 * Nothing waits in memory for a server that is away: what is asked meanwhile fails at once, what was
 * asked and not answered fails as `unknown`. Whoever must not lose something asks again.
 */
import type * as Driver from 'ioredis';
import type { Redis } from 'ioredis';
import type { Clock, Timer } from '../core/clock.js';
import { loadDriver } from '../core/driver.js';
import type { Log } from '../core/log.js';
import { RedisFailure, refusalIn } from './errors.js';
import { redisScript, type RedisScript } from './script.js';
import { readSettings } from './settings.js';
import { maskedUrl } from './url.js';

/** How long a connection may take to be made, in milliseconds. */
export const CONNECT_TIMEOUT_MS = 5_000;
/** How long the server may take for an answer, in milliseconds; then the connection counts as dead. */
export const ANSWER_TIMEOUT_MS = 5_000;
/** How often a connection is probed, in milliseconds. */
export const PROBE_EVERY_MS = 5_000;
/** Longest wait between two attempts to connect, in milliseconds. */
const MAX_RECONNECT_MS = 2_000;
/** Wait before a connection that could not be set up is tried again, in milliseconds. */
const ATTACH_AGAIN_MS = 1_000;
const DRIVER = 'ioredis';
const DRIVER_RANGE = '^6.0.0';

/** A shell without flags is refused by a server that takes no writes, without writing anything. */
const PROBE = redisScript('probe', 'return 1');

export interface RedisHealth {
  readonly state: 'ready' | 'degraded' | 'unreachable';
  readonly detail?: string | undefined;
  /** undefined: its settings were not read yet. */
  readonly durability: 'full' | 'relaxed' | undefined;
}

/** What can be asked of the server; during `attach` and after. */
export interface RedisSession {
  /** Calls a script. `key` is its first key: all others begin with it. */
  run(script: RedisScript, key: string, args: readonly (string | number)[]): Promise<unknown>;
}

export interface RedisConnectionOptions {
  readonly url: string;
  /** Who connects, for messages and for the server's list of clients, e.g. `queue`. */
  readonly worker: string;
  readonly projectDir: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly scripts: readonly RedisScript[];
  /** Does the worker promise that nothing is lost? Then settings that break it are warned of. */
  readonly durable: boolean;
  /** Puts things in order on every new connection, before it counts as ready. */
  attach?(session: RedisSession): Promise<void>;
  /** It is ready, again. */
  ready?(): void;
  /** A message of a channel that is listened to. */
  message?(channel: string, text: string): void;
}

export class RedisConnection implements RedisSession {
  readonly #options: RedisConnectionOptions;
  readonly #redis: Redis;
  readonly #listener: Redis | undefined;
  readonly #address: string;
  readonly #channels = new Set<string>();
  #state: 'connecting' | 'attaching' | 'ready' | 'closed' = 'connecting';
  /** Why it is not ready, or why it takes no writes. */
  #fault: string | undefined = 'it was not reached yet';
  /** The server answers and takes no writes. */
  #refusal: string | undefined;
  /** What breaks the promise that nothing is lost. */
  #relaxed: string | undefined;
  #durability: RedisHealth['durability'];
  #listening = false;
  #told = false;
  #probing: Timer | undefined;
  readonly #waiters = new Set<() => void>();

  private constructor(options: RedisConnectionOptions, driver: typeof Driver) {
    this.#options = options;
    this.#address = maskedUrl(options.url);
    const make = (name: string): Redis => {
      const redis = new driver.Redis(options.url, {
        protocol: 2,
        connectionName: `trine-${name}`,
        connectTimeout: CONNECT_TIMEOUT_MS,
        commandTimeout: ANSWER_TIMEOUT_MS,
        enableAutoPipelining: true,
        // Nothing is kept for a server that is away, and nothing is asked twice.
        enableOfflineQueue: false,
        autoResendUnfulfilledCommands: false,
        autoResubscribe: false,
        maxRetriesPerRequest: 0,
        retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times - 1, 10), MAX_RECONNECT_MS),
      });
      redis.on('error', (error: Error) => this.#failed(error));
      return redis;
    };
    this.#redis = make(options.worker);
    this.#redis.on('ready', () => void this.#attach());
    this.#redis.on('close', () => this.#lost('the connection was closed'));
    if (options.message !== undefined) {
      this.#listener = make(`${options.worker}-messages`);
      this.#listener.on('ready', () => void this.#listen());
      this.#listener.on('close', () => (this.#listening = false));
      this.#listener.on('message', (channel: string, text: string) => options.message?.(channel, text));
    }
    this.#probeLater();
  }

  /**
   * Starts to connect; a server that is away is waited for.
   *
   * @throws Error that says what to install, when the driver is missing
   */
  static async open(options: RedisConnectionOptions): Promise<RedisConnection> {
    const { worker, projectDir } = options;
    const purpose = `the redis adapter of ${worker}`;
    const driver = await loadDriver<typeof Driver>(DRIVER, DRIVER_RANGE, purpose, projectDir);
    return new RedisConnection(options, driver);
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  /** Are messages of the channels heard now? */
  get isListening(): boolean {
    return this.#listening;
  }

  health(): RedisHealth {
    const durability = this.#durability;
    if (this.#state !== 'ready') {
      return {
        state: 'unreachable',
        detail: `Redis at ${this.#address}: ${this.#fault ?? 'no connection'}`,
        durability,
      };
    }
    if (this.#refusal !== undefined) {
      return { state: 'degraded', detail: `Redis at ${this.#address}: ${this.#refusal}`, durability };
    }
    if (this.#listener !== undefined && !this.#listening) {
      const detail = `Redis at ${this.#address}: the connection for messages is being made again`;
      return { state: 'degraded', detail, durability };
    }
    return this.#relaxed === undefined
      ? { state: 'ready', durability }
      : { state: 'ready', detail: `Redis at ${this.#address}: ${this.#relaxed}`, durability };
  }

  /** @throws RedisFailure */
  async run(script: RedisScript, key: string, args: readonly (string | number)[]): Promise<unknown> {
    if (this.#state !== 'ready') throw this.#away();
    return this.#run(script, key, args);
  }

  /** Sends a message to all who listen to the channel. @throws RedisFailure */
  async publish(channel: string, text: string): Promise<number> {
    if (this.#state !== 'ready') throw this.#away();
    return this.#guarded(this.#redis.publish(channel, text));
  }

  /** Resolves when it is ready and listens, is closed, or after so many milliseconds: is it ready? */
  async whenReady(timeoutMs: number): Promise<boolean> {
    if (!this.#isUp && this.#state !== 'closed') {
      await new Promise<void>((go) => {
        const done = (): void => {
          clearTimeout(timer);
          this.#waiters.delete(done);
          go();
        };
        const timer = setTimeout(done, timeoutMs);
        this.#waiters.add(done);
      });
    }
    return this.isReady;
  }

  /** Listens to a channel, also on every later connection. Resolves when the server has it, if it is there. */
  async subscribe(channel: string): Promise<void> {
    this.#channels.add(channel);
    if (this.#state === 'ready') await this.whenReady(ANSWER_TIMEOUT_MS);
    if (this.#listening) await this.#listener?.subscribe(channel).catch(() => this.#listener?.disconnect(true));
  }

  async unsubscribe(channel: string): Promise<void> {
    this.#channels.delete(channel);
    if (this.#listening) await this.#listener?.unsubscribe(channel).catch(() => this.#listener?.disconnect(true));
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#listening = false;
    this.#probing?.cancel();
    this.#redis.disconnect();
    this.#listener?.disconnect();
    this.#release();
  }

  async #run(script: RedisScript, key: string, args: readonly (string | number)[]): Promise<unknown> {
    try {
      const answer = await this.#guarded(this.#redis.evalsha(script.sha, 1, key, ...args));
      if (!script.whenFull) this.#refusal = undefined;
      return answer;
    } catch (error) {
      // The server forgot its scripts (SCRIPT FLUSH): it did nothing.
      if (!(error instanceof RedisFailure) || !error.message.includes('NOSCRIPT')) throw error;
      return this.#guarded(this.#redis.eval(script.text, 1, key, ...args));
    }
  }

  async #guarded<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      throw this.#failureOf(error as Error);
    }
  }

  /** The driver's errors carry what was sent: only their texts go on. */
  #failureOf(error: Error): RedisFailure {
    if (this.#state === 'closed') return new RedisFailure('closed', 'this engine stops');
    if (error.name === 'ReplyError') {
      const refusal = refusalIn(error.message);
      if (refusal === undefined) return new RedisFailure('refused', `Redis at ${this.#address}: ${error.message}`);
      this.#refusal = refusal;
      return new RedisFailure('refused', `Redis at ${this.#address} refuses: ${refusal} (${error.message})`);
    }
    if (error.message.includes("isn't writeable")) return this.#away();
    if (error.message.includes('timed out')) {
      this.#redis.disconnect(true);
      this.#lost(`it gave no answer within ${ANSWER_TIMEOUT_MS / 1_000} s`);
    }
    const why = this.#fault ?? error.message;
    return new RedisFailure(
      'unknown',
      `Redis at ${this.#address} gave no answer (${why}): it may have done what was asked`,
    );
  }

  #away(): RedisFailure {
    if (this.#state === 'closed') return new RedisFailure('closed', 'this engine stops');
    return new RedisFailure(
      'away',
      `Redis at ${this.#address} cannot be reached (${this.#fault ?? 'no connection'}): nothing was sent`,
    );
  }

  /** A new connection: everything is put in order before anybody uses it. */
  async #attach(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'attaching';
    const { scripts, durable, log, worker } = this.#options;
    try {
      const { relaxed } = await readSettings(this.#redis, durable);
      for (const script of [PROBE, ...scripts]) await this.#guarded(this.#redis.script('LOAD', script.text));
      await this.#options.attach?.({ run: (script, key, args) => this.#run(script, key, args) });
      if (this.#redis.status !== 'ready' || this.#stateIs('closed')) return;
      if (relaxed !== undefined && relaxed !== this.#relaxed)
        log.warn(`Redis may lose what it accepted: ${relaxed}`, { worker });
      this.#relaxed = relaxed;
      this.#durability = relaxed === undefined ? 'full' : 'relaxed';
      this.#state = 'ready';
      this.#fault = undefined;
      this.#refusal = undefined;
      if (this.#told) log.info('Redis is back', { worker, redis: this.#address });
      this.#told = false;
      if (this.#isUp) this.#release();
      this.#options.ready?.();
    } catch (error) {
      this.#failed(error as Error);
      this.#options.clock.setTimer(() => {
        if (this.#stateIs('attaching')) this.#redis.disconnect(true);
      }, ATTACH_AGAIN_MS);
    }
  }

  #stateIs(state: string): boolean {
    return this.#state === state;
  }

  async #listen(): Promise<void> {
    try {
      if (this.#channels.size > 0) await this.#listener?.subscribe(...this.#channels);
      this.#listening = true;
      if (this.#isUp) this.#release();
      if (this.#state === 'ready') this.#options.ready?.();
    } catch {
      this.#listener?.disconnect(true);
    }
  }

  get #isUp(): boolean {
    return this.#state === 'ready' && (this.#listener === undefined || this.#listening);
  }

  #release(): void {
    for (const go of [...this.#waiters]) go();
  }

  #lost(why: string): void {
    if (this.#state === 'closed') return;
    const wasReady = this.#state === 'ready';
    this.#state = 'connecting';
    if (wasReady || this.#fault === undefined) this.#fault = why;
    if (wasReady) this.#tell();
  }

  #failed(error: Error): void {
    if (this.#state === 'closed') return;
    const text = error.message === '' ? String((error as NodeJS.ErrnoException).code ?? error.name) : error.message;
    this.#fault = error instanceof RedisFailure ? text : (refusalIn(text) ?? text);
    this.#tell();
  }

  /** One line for an outage, however long it is. */
  #tell(): void {
    if (this.#told) return;
    this.#told = true;
    const { log, worker } = this.#options;
    log.warn('Redis is away: what needs it fails until it is back', {
      worker,
      redis: this.#address,
      error: this.#fault,
    });
  }

  #probeLater(): void {
    this.#probing = this.#options.clock.setTimer(() => void this.#probe(), PROBE_EVERY_MS);
  }

  async #probe(): Promise<void> {
    if (this.#state === 'ready') await this.#run(PROBE, 'probe', []).catch(() => undefined);
    if (this.#listening) {
      await this.#listener?.ping().catch((error: unknown) => {
        if (this.#listening && String(error).includes('timed out')) this.#listener?.disconnect(true);
      });
    }
    if (!this.#stateIs('closed')) this.#probeLater();
  }
}
