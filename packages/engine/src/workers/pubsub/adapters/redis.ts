/**
 * Messages over the PUB/SUB of a Redis: the channel is the topic as it is, the message the JSON of the
 * data, so that other programs can take part. One subscription per topic and engine, whatever listens
 * behind it; it is made again on every new connection, and what is published meanwhile is gone: at most once.
 *
 * There is no room for a trace context on the way. An engine keeps that of its own messages until they come
 * back to it; subscribers of other engines start a new trace.
 */
import { toErrorBody } from '@trine/protocol';
import type { WorkerHost } from '../../../core/worker-host.js';
import { DEFAULT_REDIS_URL, RedisConnection } from '../../../redis/index.js';
import type { Delivery, Message } from '../delivery.js';
import { publishFailed } from '../errors.js';
import type { PubsubAdapter } from './index.js';

/** Messages of this engine that are on their way back to it. */
export const MAX_RETURNING = 10_000;
/** Text of messages on their way to Redis, in UTF-16 units; above it publishers are refused. */
export const MAX_PENDING_LENGTH = 64 * 1024 * 1024;
/** How long the start waits for a server that is away, in milliseconds. */
const START_WAIT_MS = 5_000;

/** @throws Error that says what to install, when the driver is missing */
export async function openRedisPubsub(
  host: WorkerHost,
  url: string | undefined,
  delivery: Delivery,
): Promise<PubsubAdapter> {
  const adapter: RedisPubsub = new RedisPubsub(host, delivery);
  await adapter.open(url ?? DEFAULT_REDIS_URL);
  return adapter;
}

class RedisPubsub implements PubsubAdapter {
  readonly #host: WorkerHost;
  readonly #delivery: Delivery;
  readonly #topics = new Set<string>();
  /** Own messages with a trace context, by topic, in the order of their sending. */
  readonly #returning = new Map<string, Message[]>();
  #returningCount = 0;
  #pendingLength = 0;
  #connection!: RedisConnection;

  constructor(host: WorkerHost, delivery: Delivery) {
    this.#host = host;
    this.#delivery = delivery;
  }

  async open(url: string): Promise<void> {
    const { projectDir, log, clock } = this.#host;
    this.#connection = await RedisConnection.open({
      url,
      worker: 'pubsub',
      projectDir,
      log,
      clock,
      scripts: [],
      durable: false,
      message: (topic, text) => this.#receive(topic, text),
    });
    await this.#connection.whenReady(START_WAIT_MS);
  }

  async publish(message: Message): Promise<void> {
    const { topic, data } = message;
    if (this.#pendingLength > 0 && this.#pendingLength + data.length > MAX_PENDING_LENGTH) {
      throw publishFailed(topic, 'Redis is slow and too much waits for it: publish again later');
    }
    const traced = message.traceparent !== undefined && this.#topics.has(topic);
    if (traced) this.#sent(message);
    this.#pendingLength += data.length;
    try {
      await this.#connection.publish(topic, data);
    } catch (error) {
      if (traced) this.#take(topic, data);
      throw publishFailed(topic, toErrorBody(error).message, error);
    } finally {
      this.#pendingLength -= data.length;
    }
  }

  listen(topic: string, wanted: boolean): Promise<void> {
    if (this.#topics.has(topic) === wanted) return Promise.resolve();
    if (wanted) {
      this.#topics.add(topic);
      return this.#connection.subscribe(topic);
    }
    this.#topics.delete(topic);
    this.#returningCount -= this.#returning.get(topic)?.length ?? 0;
    this.#returning.delete(topic);
    return this.#connection.unsubscribe(topic);
  }

  health(): ReturnType<NonNullable<PubsubAdapter['health']>> {
    const { state, detail } = this.#connection.health();
    return { state, detail };
  }

  close(): void {
    this.#connection.close();
  }

  #receive(topic: string, text: string): void {
    const own = this.#take(topic, text);
    if (own === undefined && !isJson(text)) {
      this.#host.log.warn('a message that is not JSON was dropped: publish JSON to a topic', { topic });
      return;
    }
    try {
      this.#delivery.publish(own ?? { topic, data: text, traceparent: undefined, baggage: undefined });
    } catch (error) {
      this.#host.log.warn('a message reached nobody', { topic, error: toErrorBody(error).message });
    }
  }

  #sent(message: Message): void {
    if (this.#returningCount >= MAX_RETURNING) {
      // Lost with a connection, most likely: their subscribers would only miss a trace.
      this.#returning.clear();
      this.#returningCount = 0;
    }
    this.#returningCount++;
    const list = this.#returning.get(message.topic);
    if (list === undefined) this.#returning.set(message.topic, [message]);
    else list.push(message);
  }

  /** The own message with this text that was sent first. */
  #take(topic: string, data: string): Message | undefined {
    const list = this.#returning.get(topic);
    const at = list?.findIndex((message) => message.data === data) ?? -1;
    if (list === undefined || at < 0) return undefined;
    this.#returningCount--;
    const [message] = list.splice(at, 1);
    if (list.length === 0) this.#returning.delete(topic);
    return message;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
