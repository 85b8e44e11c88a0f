/**
 * The connection to the server: two of them, because a server that is short of memory or disk stops reading
 * whatever publishes, and acknowledgements must still get through.
 *
 *   connecting -> up        both connections and all that `opened` does are there
 *   connecting -> waiting   it failed: tried again after 0.2, 0.4 ... 10 s, for as long as it takes
 *   up         -> waiting   a connection ended
 *   waiting    -> connecting
 *   any        -> stopped
 */
import type * as amqplib from 'amqplib';
import type { Channel, ChannelModel } from 'amqplib';
import { toErrorBody } from '@trine/protocol';
import type { Timer } from '../../../../core/clock.js';
import type { WorkerHost } from '../../../../core/worker-host.js';

const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 10_000;
/** How long connecting may take, in milliseconds. */
const CONNECT_TIMEOUT_MS = 10_000;
/** A server that is silent for two of these is gone, in seconds. */
const HEARTBEAT_S = 10;
/** How long an orderly end may take, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2_000;

export interface LinkEvents {
  /** Declares and opens what is needed. */
  opened(consumeSide: ChannelModel, publishSide: ChannelModel): Promise<void>;
  lost(reason: string): void;
  up(): void;
}

export class Link {
  readonly #host: WorkerHost;
  readonly #driver: typeof amqplib;
  readonly #url: URL;
  readonly #events: LinkEvents;
  /** Server and virtual host without the password, for messages. */
  readonly address: string;
  state: 'connecting' | 'up' | 'waiting' | 'stopped' = 'connecting';
  /** Why it is not up, and what to do. */
  detail = '';
  #models: ChannelModel[] = [];
  #failures = 0;
  #timer: Timer | undefined;

  constructor(host: WorkerHost, driver: typeof amqplib, url: string, events: LinkEvents) {
    this.#host = host;
    this.#driver = driver;
    this.#url = new URL(url);
    if (!this.#url.searchParams.has('heartbeat')) this.#url.searchParams.set('heartbeat', String(HEARTBEAT_S));
    this.#events = events;
    this.address = `${this.#url.protocol}//${this.#url.host}${this.#url.pathname}`;
    this.detail = `RabbitMQ at ${this.address} is not connected yet`;
  }

  get isUp(): boolean {
    return this.state === 'up';
  }

  /** Resolves after the first attempt, whatever came of it. */
  async connect(): Promise<void> {
    this.state = 'connecting';
    const mine: ChannelModel[] = [];
    this.#models = mine;
    try {
      for (const side of ['consumes', 'publishes']) {
        const model = await this.#driver.connect(this.#url.href, {
          noDelay: true,
          timeout: CONNECT_TIMEOUT_MS,
          clientProperties: { connection_name: `trine ${side}` },
        });
        mine.push(model);
        model.on('error', (error) => this.#lost(mine, error));
        model.on('close', (error) => this.#lost(mine, error ?? new Error('the connection was closed')));
        if (this.#isOver(mine)) return void mine.forEach(destroy);
      }
      await this.#events.opened(mine[0] as ChannelModel, mine[1] as ChannelModel);
      if (this.#isOver(mine)) return void mine.forEach(destroy);
      this.state = 'up';
      this.detail = '';
      if (this.#failures > 0) this.#host.log.info('connected to RabbitMQ again', { server: this.address });
      this.#failures = 0;
      this.#events.up();
    } catch (error) {
      this.#lost(mine, error);
    }
  }

  /** A channel of the side that consumes. The caller closes it. */
  async channel(): Promise<Channel> {
    const [model] = this.#models;
    if (model === undefined) throw new Error(this.detail);
    const channel = await model.createChannel();
    // Told to whoever waits for an answer; without a listener it would end the process.
    channel.on('error', () => undefined);
    return channel;
  }

  /** Runs something on a channel of its own: an error of the server closes no other one. */
  async use<T>(run: (channel: Channel) => Promise<T>): Promise<T> {
    const channel = await this.channel();
    try {
      return await run(channel);
    } finally {
      await channel.close().catch(() => undefined);
    }
  }

  /** Something that the engine cannot do without is broken: both connections are made anew. */
  fail(error: Error): void {
    this.#lost(this.#models, error);
  }

  /** @param before - closes the channels: a connection that ends may overtake what they have sent */
  async stop(before: () => Promise<unknown>): Promise<void> {
    const wasUp = this.isUp;
    this.state = 'stopped';
    this.detail = 'the engine is stopping';
    this.#timer?.cancel();
    const models = this.#models;
    this.#models = [];
    const closed = (wasUp ? before() : Promise.resolve())
      .then(() => Promise.all(models.map((model) => model.close())))
      .catch(() => undefined);
    let timer: Timer | undefined;
    await Promise.race([closed, new Promise<void>((go) => (timer = this.#host.clock.setTimer(go, CLOSE_TIMEOUT_MS)))]);
    timer?.cancel();
    models.forEach(destroy);
    this.#events.lost(this.detail);
  }

  #isOver(models: readonly ChannelModel[]): boolean {
    return this.#models !== models || this.state === 'stopped';
  }

  #lost(models: ChannelModel[], error: unknown): void {
    if (this.state === 'stopped') return; // an orderly end: each side says good-bye for itself
    if (this.#isOver(models)) return;
    const wasUp = this.state === 'up';
    this.#models = [];
    models.forEach(destroy);
    this.state = 'waiting';
    this.detail = this.#explain(error);
    this.#events.lost(this.detail);
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(this.#failures++, 10));
    const waitMs = Math.round(longest * (1 - this.#host.random.float() / 2));
    if (wasUp || this.#failures === 1) {
      this.#host.log.warn('RabbitMQ cannot be used: trying again until it can', {
        server: this.address,
        error: this.detail,
      });
    }
    this.#timer = this.#host.clock.setTimer(() => void this.connect(), waitMs);
  }

  #explain(error: unknown): string {
    const { message } = toErrorBody(error);
    const text = message === '' ? ((error as { readonly code?: string }).code ?? 'no reason given') : message;
    if (/ACCESS[-_]REFUSED.*(login|authentication)/i.test(text)) {
      return `RabbitMQ at ${this.address} refused the user '${decodeURIComponent(this.#url.username) || 'guest'}' or its password: correct amqp_url of the queue worker, or the user on the server (${text})`;
    }
    if (text.includes('Expected ConnectionOpenOk') || text.includes('NOT_ALLOWED')) {
      return `RabbitMQ at ${this.address} has no such virtual host, or the user may not use it: correct amqp_url of the queue worker, or the permissions on the server (${text})`;
    }
    return `RabbitMQ at ${this.address} cannot be used (${text}): is it running, and is amqp_url of the queue worker right?`;
  }
}

/**
 * `close` waits for an answer that a dead server does not give. With an error: else the driver does not notice, and
 * whoever waits for an answer waits for ever.
 */
function destroy(model: ChannelModel): void {
  const { stream } = model.connection as {
    readonly stream?: { readonly destroyed: boolean; destroy(error: Error): void };
  };
  if (stream?.destroyed === false) stream.destroy(new Error('the connection was given up'));
}
