/**
 * The connections to PostgreSQL: one that listens and shows that the server is there, and a pool that
 * works.
 *
 *   connecting -> ready      the listener is connected, the schema is there, `connected` has run
 *   connecting -> connecting refused or failed: again after a growing wait
 *   ready      -> connecting the listener or any query lost its connection
 *   any        -> stopped
 *
 * While it is not ready every query fails at once: nothing piles up. A query that gets no answer in
 * time has lost its connection.
 */
import { TrineError } from '@trine/protocol';
import type * as Driver from 'pg';
import type { Client, ClientConfig, Pool, PoolClient, QueryConfig } from 'pg';
import type { Timer } from '../../../../core/clock.js';
import { loadDriver } from '../../../../core/driver.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import type { BrokerHealth } from '../index.js';
import type { PostgresConfig } from './config.js';
import { explain, isConnectionLoss, isPoolTimeout, isRefusal, unreachable } from './failures.js';
import { channelOf, inSchema, migrate } from './schema.js';

/** The range of the driver that was tested. */
const DRIVER_RANGE = '^8.23.1';
/** A connection that is not there by then has failed, in milliseconds. */
const CONNECT_TIMEOUT_MS = 5_000;
/** An operation that has no answer by then has lost its connection, in milliseconds. */
export const QUERY_TIMEOUT_MS = 10_000;
/** The same for reads and moves of many rows. */
export const LONG_QUERY_TIMEOUT_MS = 120_000;
/** Wait before the next attempt to connect, doubled up to the second, in milliseconds. */
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;
/** Types of PostgreSQL that arrive as numbers: bigint. Sequences and times stay far below 2^53. */
const BIGINT_OID = 20;

export interface Statement {
  /** Prepared once per connection under this name. */
  readonly name: string;
  readonly text: string;
}

/** @param text - SQL for the schema `trine` */
export function statement(name: string, text: string): Statement {
  return { name: `trine_${name}`, text };
}

export type Query = <Row>(what: Statement, values?: readonly unknown[], timeoutMs?: number) => Promise<Row[]>;

export interface ServerEvents {
  /** Connected, before anything else may use it: what must be true again is set up here. */
  connected(query: Query): Promise<void>;
  /** It serves; also after an outage. */
  ready(): void;
  lost(): void;
  notified(payload: string): void;
}

export class Server {
  readonly #host: WorkerHost;
  readonly #config: PostgresConfig;
  readonly #events: ServerEvents;
  readonly #driver: typeof Driver;
  readonly #texts = new Map<Statement, string>();
  #state: 'connecting' | 'ready' | 'stopped' = 'connecting';
  #listener: Client | undefined;
  #pool: Pool | undefined;
  #retryMs = FIRST_RETRY_MS;
  #retry: Timer | undefined;
  #attempt: Promise<void> | undefined;
  #problem: string | undefined = 'connecting';
  #refusal: Refusal | undefined;
  #relaxed: string | undefined;

  private constructor(host: WorkerHost, config: PostgresConfig, events: ServerEvents, driver: typeof Driver) {
    this.#host = host;
    this.#config = config;
    this.#events = events;
    this.#driver = driver;
  }

  /** Loads the driver. @throws Error that says what to install */
  static async create(host: WorkerHost, config: PostgresConfig, events: ServerEvents): Promise<Server> {
    const module = await loadDriver<{ readonly default: typeof Driver }>(
      'pg',
      DRIVER_RANGE,
      'the postgres adapter of queue',
      host.projectDir,
    );
    return new Server(host, config, events, module.default);
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  health(): BrokerHealth {
    if (this.#problem !== undefined) return { state: 'unreachable', detail: this.#problem };
    if (this.#refusal !== undefined) return { state: 'degraded', detail: this.#refusal.detail };
    if (this.#relaxed !== undefined) return { state: 'ready', durability: 'relaxed', detail: this.#relaxed };
    return { state: 'ready', durability: 'full' };
  }

  /** Why it does not serve now. */
  unreachable(): TrineError {
    return unreachable(this.#problem ?? 'connecting', undefined);
  }

  /** The first attempt to connect: resolves when it has succeeded or failed. */
  connect(): Promise<void> {
    this.#attempt ??= this.#connect().finally(() => (this.#attempt = undefined));
    return this.#attempt;
  }

  readonly query: Query = async (what, values, timeoutMs) => {
    if (this.#state !== 'ready') throw this.unreachable();
    return this.#run(what, values, timeoutMs);
  };

  /** Several statements in one transaction, on one connection. */
  async transaction<T>(run: (query: Query) => Promise<T>): Promise<T> {
    const pool = this.#pool;
    if (this.#state !== 'ready' || pool === undefined) throw this.unreachable();
    let client: PoolClient;
    try {
      client = await pool.connect();
    } catch (error) {
      throw this.#failed(error, pool);
    }
    let broken: Error | undefined;
    try {
      const query: Query = async (what, values = [], timeoutMs = QUERY_TIMEOUT_MS) =>
        (await client.query(this.#timed(what, values, timeoutMs))).rows as never;
      await client.query(timed('BEGIN'));
      const result = await run(query);
      await client.query(timed('COMMIT'));
      return result;
    } catch (error) {
      await client.query(timed('ROLLBACK')).catch((failure: Error) => (broken = failure));
      throw this.#failed(error, pool);
    } finally {
      client.release(broken);
    }
  }

  /** Is the listening connection alive? One that does not answer is given up. */
  async ping(): Promise<void> {
    const listener = this.#listener;
    if (this.#state !== 'ready' || listener === undefined) return;
    try {
      await listener.query(timed('SELECT 1'));
    } catch (error) {
      if (listener === this.#listener) this.#lost(error);
    }
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    this.#retry?.cancel();
    this.#problem = 'stopped';
    const { pool, listener } = this.#release();
    await Promise.all([this.#attempt, end(listener), end(pool)]);
  }

  async #connect(): Promise<void> {
    if (this.#state !== 'connecting') return;
    const { schema, max_connections: maxConnections } = this.#config;
    const listener = new this.#driver.Client(this.#clientConfig());
    let lost: unknown;
    listener.on('error', (error) => {
      lost = error;
      if (listener === this.#listener) this.#lost(error);
    });
    listener.on('end', () => {
      lost ??= new Error('the connection ended');
      if (listener === this.#listener) this.#lost(lost);
    });
    listener.on('notification', ({ payload }) => this.#events.notified(payload ?? ''));
    const pool = new this.#driver.Pool({
      ...this.#clientConfig(),
      max: maxConnections - 1,
      // Plans of a table that is empty one moment and large the next: always by index.
      onConnect: (client) =>
        client.query('SET enable_seqscan = off; SET jit = off; SET synchronous_commit = on') as unknown as undefined,
    });
    // One that is in use tells nobody else, and an error that nobody hears ends the process.
    pool.on('connect', (client) => client.on('error', () => undefined));
    pool.on('error', (error) => {
      if (pool === this.#pool && isConnectionLoss(error)) this.#lost(error);
    });
    try {
      await listener.connect();
      await migrate(listener, schema);
      this.#relaxed = await relaxedSettings(listener);
      await listener.query(`LISTEN "${channelOf(schema)}"`);
      this.#pool = pool;
      this.#listener = listener;
      await this.#events.connected((what, values, timeoutMs) => this.#run(what, values, timeoutMs));
      if (lost !== undefined) throw lost as Error;
    } catch (error) {
      this.#pool = undefined;
      this.#listener = undefined;
      void end(listener);
      void end(pool);
      this.#problem = explain(error, this.#config);
      this.#host.log.error('the queue cannot reach PostgreSQL: trying again', { error: this.#problem });
      this.#again();
      return;
    }
    if (this.state === 'stopped') {
      this.#release();
      await Promise.all([end(listener), end(pool)]);
      return;
    }
    this.#state = 'ready';
    this.#retryMs = FIRST_RETRY_MS;
    this.#problem = undefined;
    this.#refusal = undefined;
    this.#host.log.info('the queue is connected to PostgreSQL', { schema });
    if (this.#relaxed !== undefined)
      this.#host.log.warn('PostgreSQL may lose what it has committed', { detail: this.#relaxed });
    this.#events.ready();
  }

  /** Read through a getter: it changes while something is awaited. */
  private get state(): string {
    return this.#state;
  }

  #lost(error: unknown): void {
    if (this.#state !== 'ready') return;
    this.#state = 'connecting';
    this.#problem = explain(error, this.#config);
    this.#host.log.error('the queue lost PostgreSQL: nothing is accepted until it is back', { error: this.#problem });
    const { pool, listener } = this.#release();
    void end(listener);
    void end(pool);
    this.#events.lost();
    this.#again();
  }

  #again(): void {
    if (this.#state !== 'connecting') return;
    this.#retry = this.#host.clock.setTimer(() => void this.connect(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }

  async #run<Row>(what: Statement, values: readonly unknown[] = [], timeoutMs = QUERY_TIMEOUT_MS): Promise<Row[]> {
    const pool = this.#pool;
    if (pool === undefined) throw this.unreachable();
    try {
      const { rows } = await pool.query(this.#timed(what, values, timeoutMs));
      if (this.#refusal?.statement === what) this.#refusal = undefined;
      return rows as Row[];
    } catch (error) {
      throw this.#failed(error, pool, what);
    }
  }

  /** Notes what a failure says about the server. */
  #failed(error: unknown, pool: Pool, what?: Statement): unknown {
    if (error instanceof TrineError) return error;
    if (isPoolTimeout(error) && pool.totalCount >= this.#config.max_connections - 1) {
      const message =
        'all connections to PostgreSQL are busy: raise max_connections of the adapter, or look why it is slow';
      return new TrineError('storage_busy', message, { cause: error, retryable: true });
    }
    if (isConnectionLoss(error)) {
      // What an earlier pool had under way may fail long after another one has taken its place.
      if (pool === this.#pool) this.#lost(error);
      return unreachable(explain(error, this.#config), error);
    }
    if (!isRefusal(error)) return error;
    const detail = explain(error, this.#config);
    if (this.#refusal?.detail !== detail)
      this.#host.log.error('PostgreSQL refuses what the queue asks', { error: detail });
    if (what !== undefined) this.#refusal = { detail, statement: what };
    return new TrineError('storage_refused', detail, { cause: error, retryable: true });
  }

  #release(): { readonly pool: Pool | undefined; readonly listener: Client | undefined } {
    const released = { pool: this.#pool, listener: this.#listener };
    this.#pool = undefined;
    this.#listener = undefined;
    return released;
  }

  #timed(what: Statement, values: readonly unknown[], timeoutMs: number): TimedQuery {
    return { name: what.name, text: this.#text(what), values: [...values], query_timeout: timeoutMs };
  }

  #text(what: Statement): string {
    let text = this.#texts.get(what);
    if (text === undefined) this.#texts.set(what, (text = inSchema(what.text, this.#config.schema)));
    return text;
  }

  #clientConfig(): ClientConfig {
    return {
      connectionString: this.#config.database_url,
      application_name: 'trine',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      types: {
        getTypeParser: ((oid: number, format?: 'text'): unknown =>
          oid === BIGINT_OID ? Number : (this.#driver.types.getTypeParser(oid, format) as unknown)) as never,
      },
    };
  }
}

/** Stays until the statement that was refused succeeds, or the connection is a new one. */
interface Refusal {
  readonly detail: string;
  readonly statement: Statement;
}

/** The driver knows a timeout per query; its types do not. In milliseconds. */
interface TimedQuery extends QueryConfig {
  readonly query_timeout: number;
}

function timed(text: string): TimedQuery {
  return { text, query_timeout: QUERY_TIMEOUT_MS };
}

/** Settings of the server with which a commit may be lost. */
async function relaxedSettings(client: Client): Promise<string | undefined> {
  const { rows } = await client.query(
    "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'",
  );
  const off = (rows as { readonly name: string }[]).map(({ name }) => name);
  if (off.length === 0) return undefined;
  return `${off.join(' and ')} ${off.length > 1 ? 'are' : 'is'} off in PostgreSQL: a power cut may lose what was acknowledged. Set to on in postgresql.conf`;
}

async function end(what: { end(): Promise<void> } | undefined): Promise<void> {
  await what?.end().catch(() => undefined); // it is gone either way
}
