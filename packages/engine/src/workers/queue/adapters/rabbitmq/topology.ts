/** Declares what names.ts shows. Everything is declared again after each reconnect: the server may have been replaced. */
import type { Options } from 'amqplib';
import { toErrorBody } from '@trine/protocol';
import type { Log } from '../../../../core/log.js';
import type { Link } from './link.js';
import type { RabbitLine } from './line.js';
import { FIRST_ABSENTS, FIRST_DELAYS, levelQueue, levelsIn, quorum, topicExchange } from './names.js';

/** Priorities of subscriptions: each level costs the server a queue. Higher ones count as this. */
export const MAX_TOPIC_PRIORITY = 10;
/** Exchanges of topics that are remembered as declared. */
const MAX_KNOWN_TOPICS = 10_000;
const NOT_FOUND = 404;
const PRECONDITION_FAILED = 406;

export class Topology {
  readonly #link: Link;
  readonly #log: Log;
  readonly #topics = new Set<string>();
  readonly #warned = new Set<string>();

  constructor(link: Link, log: Log) {
    this.#link = link;
    this.#log = log;
  }

  /** After a reconnect nothing counts as declared. */
  forget(): void {
    this.#topics.clear();
  }

  async line(line: RabbitLine, maxPriority: number | undefined): Promise<void> {
    line.declared.clear();
    line.maxPriority = maxPriority;
    const { exchange, queue, routingKey, dead, deadExchange } = line.names;
    if (line.kind === 'subscription') await this.topic(line.name);
    else await this.#link.use((channel) => channel.assertExchange(exchange, 'direct', { durable: true }));
    const priorities = line.serial ? undefined : maxPriority;
    const wanted: Options.AssertQueue =
      priorities === undefined
        ? quorum(line.serial ? { 'x-single-active-consumer': true } : {})
        : { durable: true, arguments: { 'x-max-priority': priorities } };
    const other = await this.#queue(queue, wanted);
    line.hasPriorities = priorities !== undefined;
    line.exclusive = false;
    if (other !== undefined) this.#inherit(line, other);
    const otherDead = await this.#queue(dead, quorum());
    if (otherDead !== undefined) this.#warn(dead, otherDead);
    await this.#link.use(async (channel) => {
      if (line.endedAt === undefined) await channel.bindQueue(queue, exchange, routingKey);
      if (deadExchange === undefined) return;
      await channel.assertExchange(deadExchange, 'direct', { durable: true });
      await channel.bindQueue(dead, deadExchange, routingKey);
    });
    for (const level of levelsIn(FIRST_DELAYS)) await this.level(line, line.names.delay(level), level);
    for (const level of levelsIn(FIRST_ABSENTS)) await this.level(line, line.names.absent(level), level);
  }

  async topic(topic: string): Promise<void> {
    if (this.#topics.has(topic)) return;
    await this.#link.use((channel) => channel.assertExchange(topicExchange(topic), 'fanout', { durable: true }));
    if (this.#topics.size >= MAX_KNOWN_TOPICS) this.#topics.clear();
    this.#topics.add(topic);
  }

  async unbind({ names }: RabbitLine): Promise<void> {
    await this.#link.use((channel) => channel.unbindQueue(names.queue, names.exchange, names.routingKey));
  }

  /** @param queue - name of the level queue */
  async level(line: RabbitLine, queue: string, level: number): Promise<void> {
    if (line.declared.has(queue)) return;
    await this.#link.use((channel) => channel.assertQueue(queue, levelQueue(level, line.names.queue)));
    line.declared.add(queue);
  }

  /** Ready messages and consumers of some queues; zeros for one that is not there. */
  async counts(queues: readonly string[]): Promise<{ readonly messages: number; readonly consumers: number }[]> {
    const counts: { messages: number; consumers: number }[] = [];
    while (counts.length < queues.length) {
      await this.#link.use(async (channel) => {
        try {
          while (counts.length < queues.length) {
            const { messageCount, consumerCount } = await channel.checkQueue(queues[counts.length] as string);
            counts.push({ messages: messageCount, consumers: consumerCount });
          }
        } catch (error) {
          if (codeOf(error) !== NOT_FOUND) throw error;
          counts.push({ messages: 0, consumers: 0 });
        }
      });
    }
    return counts;
  }

  /** Answers how many messages went with it. */
  async remove(queue: string): Promise<number> {
    return this.#link.use(async (channel) => (await channel.deleteQueue(queue)).messageCount);
  }

  /** Answers undefined, or what the server says where the queue is there with other arguments. */
  async #queue(name: string, wanted: Options.AssertQueue): Promise<string | undefined> {
    try {
      await this.#link.use((channel) => channel.assertQueue(name, wanted));
      return undefined;
    } catch (error) {
      if (codeOf(error) !== PRECONDITION_FAILED) throw error;
      await this.#link.use((channel) => channel.checkQueue(name));
      return /inequivalent arg[^"]*/.exec(toErrorBody(error).message)?.[0] ?? toErrorBody(error).message;
    }
  }

  #inherit(line: RabbitLine, difference: string): void {
    const { queue } = line.names;
    const isOwnKind = difference.includes("'x-single-active-consumer'");
    if (isOwnKind && line.serial) {
      throw new Error(
        `queue ${queue} was made for a standard queue and cannot keep an order over several engines (${difference}): ` +
          `let it run empty, delete it on the server (rabbitmqctl delete_queue), then start the engine with type: fifo`,
      );
    }
    // An exclusive consumer does for a classic queue what single active consumer does for ours.
    line.exclusive = line.serial;
    if (line.hasPriorities && difference.includes('x-queue-type')) line.hasPriorities = false;
    this.#warn(queue, difference);
  }

  #warn(queue: string, difference: string): void {
    if (this.#warned.has(queue)) return;
    this.#warned.add(queue);
    this.#log.warn(
      'a queue is there with other arguments than the engine would give it: it is used as it is. A classic queue lives on one node and is not safe when that is lost. To migrate: stop what puts jobs into it, let it run empty, delete it on the server (rabbitmqctl delete_queue), start the engine again',
      { queue, difference },
    );
  }
}

export function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown }).code;
}
