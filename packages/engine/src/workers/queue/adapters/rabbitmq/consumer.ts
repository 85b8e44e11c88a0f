/**
 * The consumer of one line: a channel of its own, and what it has at hand. Desired by `demand` (jobs that the engine
 * wants at once), pause and what functions are here.
 *
 *   closed  -> open      there is demand and the connection
 *   open    -> closing   no demand, paused, or resting: nobody here can run what comes
 *   closing -> closed    nothing of it runs any more; what is at hand goes back in its place with the channel
 *   closing -> open      demand again
 *   any     -> closed    the channel or the connection ended: the server delivers again what was not acknowledged
 *
 * Never nack with requeue: quorum queues put that at the tail. A delivery is acknowledged when its copy (level, dead
 * letter) is confirmed. How a delivery ended whose channel was gone is remembered: if the server brings the same
 * message here again, that is carried out instead of running it once more.
 */
import type { Channel, ConsumeMessage } from 'amqplib';
import { toErrorBody } from '@trine/protocol';
import type { Timer } from '../../../../core/clock.js';
import type { Decision } from '../../job.js';
import type { Lease } from '../index.js';
import { AGAIN_MS, type RabbitCore } from './core.js';
import { Hand, type Delivery } from './hand.js';
import type { RabbitLine } from './line.js';
import { decode, publishNumber, UNREADABLE } from './message.js';
import { levelFor } from './names.js';

/** Jobs of a line in order that one engine has at hand: groups that wait must not keep others away. */
const SERIAL_WINDOW = 1_000;
/** Longest time a line rests before it looks again whether there is something to run, in milliseconds. */
const MAX_REST_MS = 30_000;
/** Ends that are remembered for the case that the server delivers again. */
const MAX_REMEMBERED = 1_000;
/**
 * The server closes the channel of a delivery that is not acknowledged for 30 min (`consumer_timeout`). Up to 3.11 this
 * cannot be set per queue, so no run may take longer than this, in milliseconds.
 */
export const MAX_RUN_MS = 25 * 60_000;

export interface RabbitLease extends Lease {
  readonly delivery: Delivery;
}

export class LineConsumer {
  readonly #core: RabbitCore;
  readonly #line: RabbitLine;
  readonly hand: Hand;
  #demand = 0;
  #channel: Channel | undefined;
  #tag: string | undefined;
  /** Prefetch of the consumer that is there. */
  #window = 0;
  /** Leases. */
  running = 0;
  /** Deliveries whose copy is under way: because their function is absent, or for another reason. */
  absent = 0;
  #moves = 0;
  /** In a row, without one whose function is here. */
  #misses = 0;
  #rests = 0;
  #resting: Timer | 'until its function is here' | undefined;
  /** In order: how long it may look for a group that can run. */
  #looking: Timer | undefined;
  #busy = false;
  #again = false;
  #flushing: Promise<unknown> | undefined;
  readonly #ends = new Map<string, Decision>();

  constructor(core: RabbitCore, line: RabbitLine) {
    this.#core = core;
    this.#line = line;
    this.hand = new Hand(core.host.clock, () => this.#ready());
  }

  get isConsuming(): boolean {
    return this.#tag !== undefined;
  }

  setDemand(demand: number): void {
    this.#demand = demand;
    this.#wake();
    this.hand.unpark();
    this.update();
  }

  /** A function appeared or went away. */
  functionChanged(functionId: string, namespace: string, available: boolean): void {
    if (!available) return this.#ready();
    if (this.#line.kind === 'queue' || this.#missing(functionId, namespace) === undefined) this.#wake();
    this.hand.unpark();
  }

  /** Brings what is there in line with what is wanted. */
  update(): void {
    if (this.#busy) this.#again = true;
    else void this.#reconcile();
  }

  /** The connection is gone, and all channels with it. */
  lost(): void {
    this.#dropped(this.#channel);
  }

  /** Closes the channel in order: acknowledgements that were sent get through, the rest goes back. */
  async close(): Promise<void> {
    await this.#channel?.close().catch(() => undefined);
  }

  reserve(): Lease | undefined {
    const core = this.#core;
    if (core.draining || this.#line.paused || this.#resting !== undefined) return undefined;
    for (;;) {
      const delivery = this.hand.take();
      if (delivery === undefined) return undefined;
      const { job, decoded } = delivery;
      const { end } = delivery;
      this.running++;
      if (end !== undefined) {
        delivery.end = undefined;
        void this.settle(delivery, end);
        continue;
      }
      if (decoded.unreadable !== undefined) {
        const error = `the message cannot be read: ${decoded.unreadable}`;
        const { attempts, lost, failures } = job;
        void this.settle(delivery, { kind: 'dead', error, code: UNREADABLE, attempts, lost, failures });
        continue;
      }
      if (this.#missing(job.functionId, job.namespace) === undefined) {
        this.#misses = this.#rests = 0;
        return { job, line: this.#line, delivery } as RabbitLease;
      }
      this.running--;
      this.#isMissing(delivery);
      if (this.#resting !== undefined) return undefined;
    }
  }

  async settle(delivery: Delivery, decision: Decision): Promise<void> {
    const line = this.#line;
    if (!this.#isLive(delivery)) return this.#rememberEnd(delivery, decision);
    try {
      if (decision.kind === 'release') {
        delivery.job.redelivered = true;
        if (!line.serial && decision.delayMs >= AGAIN_MS) await this.#delay(delivery, decision.delayMs);
        else this.hand.back(delivery, decision.delayMs);
      } else if (decision.kind === 'postpone') {
        const { attempts, lost, failures, delayMs } = decision;
        Object.assign(delivery.job, { attempts, lost, failures, redelivered: true });
        if (line.serial) {
          this.#rememberEnd(delivery, decision);
          this.hand.back(delivery, delayMs);
        } else await this.#delay(delivery, delayMs, decision);
      } else if (decision.kind === 'done') {
        this.#rememberEnd(delivery, decision);
        delivery.channel.ack(delivery.message);
        if (line.serial) await this.#flush(delivery.channel);
        this.hand.gone(delivery);
      } else {
        const { error, code, attempts, lost, failures } = decision;
        const mark = { error, code, at: this.#core.host.clock.now() };
        const dead = { ...delivery.job, attempts, lost, failures };
        await this.#copy(delivery, () => this.#core.sendDead(line, dead, mark), decision);
        if (line.serial && this.#isLive(delivery)) await this.#flush(delivery.channel);
      }
    } finally {
      if (this.#isLive(delivery)) this.running--;
      if (line.serial) {
        this.#ready();
        if (this.hand.isStuck) this.#lookLater();
      }
      if (!this.#isWanted) this.update();
    }
  }

  #missing(functionId: string, namespace: string): unknown {
    return this.#core.events.missing(this.#line, functionId, namespace);
  }

  /** Nobody here can run it: in order it waits at hand, otherwise it waits in the server and others pass. */
  #isMissing(delivery: Delivery): void {
    const line = this.#line;
    const isSubscription = line.kind === 'subscription';
    if (line.serial) {
      this.hand.park(delivery);
      if (isSubscription) this.#restIfStuck();
      else this.#lookLater();
      return;
    }
    if (isSubscription) {
      this.hand.back(delivery, 0);
      this.#rest();
      return;
    }
    this.#misses++;
    this.#absent(delivery);
    if (this.#window > 0 && this.#misses >= this.#window) this.#rest();
  }

  #absent(delivery: Delivery): void {
    const { job, decoded } = delivery;
    this.absent++;
    const sent = (): Promise<void> =>
      this.#core.sendAbsent(this.#line, job, decoded).then(() => {
        if (this.#isLive(delivery)) this.absent--;
      });
    this.#move(delivery, sent);
  }

  #move(delivery: Delivery, send: () => Promise<void>): void {
    this.#moves++;
    void this.#copy(delivery, send).finally(() => {
      if (this.#isLive(delivery)) this.#moves--;
      if (!this.#isWanted) this.update();
    });
  }

  #lookLater(): void {
    this.#looking ??= this.#core.host.clock.setTimer(() => this.#restIfStuck(), AGAIN_MS);
  }

  #restIfStuck(): void {
    this.#looking = undefined;
    if (this.running === 0 && this.hand.isStuck) this.#rest();
  }

  /** Lets go of the line, so that another engine gets what this one cannot run, and looks again later. */
  #rest(): void {
    if (this.#resting !== undefined) return;
    const waitMs = Math.min(MAX_REST_MS, AGAIN_MS * 2 ** this.#rests);
    this.#rests = Math.min(this.#rests + 1, 10);
    this.#resting =
      this.#line.kind === 'subscription'
        ? 'until its function is here'
        : this.#core.host.clock.setTimer(() => this.#wake(), waitMs);
    this.update();
  }

  #wake(): void {
    if (this.#resting === undefined) return;
    if (typeof this.#resting !== 'string') this.#resting.cancel();
    this.#resting = undefined;
    this.#misses = 0;
    this.update();
    this.#ready();
  }

  /** Into a level and acknowledged; what is soon due waits at hand once it is stored. */
  #delay(delivery: Delivery, delayMs: number, decision?: Decision): Promise<void> {
    return this.#copy(delivery, () => this.#core.send(this.#line, delivery.job, Math.max(1, delayMs)), decision);
  }

  /** Makes a copy elsewhere, for as long as it takes, then acknowledges. Nothing where the delivery was lost meanwhile. */
  async #copy(delivery: Delivery, send: () => Promise<void>, decision?: Decision): Promise<void> {
    for (let told = false; ; told = true) {
      if (this.#core.stopped) return;
      if (!this.#isLive(delivery)) {
        if (decision !== undefined) this.#rememberEnd(delivery, decision);
        return;
      }
      try {
        await send();
        break;
      } catch (error) {
        if (!told && this.#isLive(delivery)) {
          this.#core.host.log.error('the end of a job could not be stored in RabbitMQ: trying again', {
            queue: this.#line.name,
            error: toErrorBody(error).message,
          });
        }
        await this.#core.wait(AGAIN_MS);
      }
    }
    // Its copy is there: should it come again, it has ended here.
    this.#rememberEnd(delivery, { kind: 'done' });
    if (!this.#isLive(delivery)) return;
    delivery.channel.ack(delivery.message);
    this.hand.gone(delivery);
  }

  #rememberEnd(delivery: Delivery, decision: Decision): void {
    if (decision.kind === 'release') return;
    const key = publishNumber(delivery.message);
    if (key === '') return;
    this.#ends.delete(key);
    this.#ends.set(key, decision);
    if (this.#ends.size > MAX_REMEMBERED) this.#ends.delete(this.#ends.keys().next().value as string);
  }

  /**
   * The server has taken all acknowledgements that were sent: it works off a channel in order. Several share one
   * question.
   */
  async #flush(channel: Channel): Promise<void> {
    this.#flushing ??= Promise.resolve().then(() => {
      this.#flushing = undefined;
      return channel.checkQueue(this.#line.names.queue).catch(() => undefined);
    });
    await this.#flushing;
  }

  #isLive(delivery: Delivery): boolean {
    return delivery.channel === this.#channel && !this.#core.stopped;
  }

  #ready(): void {
    queueMicrotask(() => {
      if (this.#core.stopped) return;
      if (this.#isWanted) this.#core.events.ready(this.#line);
      else if (this.#channel !== undefined) this.update();
    });
  }

  get #isWanted(): boolean {
    const { stopped, draining, link } = this.#core;
    return this.#demand > 0 && !this.#line.paused && this.#resting === undefined && !stopped && !draining && link.isUp;
  }

  async #reconcile(): Promise<void> {
    this.#busy = true;
    do {
      this.#again = false;
      try {
        await this.#step();
      } catch (error) {
        if (this.#core.stopped || !this.#core.link.isUp) break;
        this.#core.host.log.warn('a queue cannot be consumed: trying again', {
          queue: this.#line.name,
          error: toErrorBody(error).message,
        });
        this.#discard(this.#channel);
        this.#core.host.clock.setTimer(() => this.update(), AGAIN_MS);
        break;
      }
    } while (this.#again);
    this.#busy = false;
  }

  async #step(): Promise<void> {
    const line = this.#line;
    if (this.#isWanted) {
      const window = line.serial ? SERIAL_WINDOW : this.#demand + this.#core.config.prefetch_count;
      if (this.#tag !== undefined && this.#window !== window) await this.#cancel();
      if (this.#tag === undefined) await this.#consume(window);
      return;
    }
    const channel = this.#channel;
    if (channel === undefined || this.#core.draining) return;
    // In order: while something runs the consumer stays, or another engine would run what comes after it.
    if (!line.serial) await this.#cancel();
    if (this.running + this.#moves > 0) {
      if (!line.serial) this.#giveBack();
      return;
    }
    this.#discard(channel);
  }

  async #consume(window: number): Promise<void> {
    const line = this.#line;
    const channel = (this.#channel ??= await this.#open());
    await channel.prefetch(window);
    this.#window = window; // deliveries come before the answer
    const { consumerTag } = await channel.consume(
      line.names.queue,
      (message) => (message === null ? this.#deleted(channel) : this.#arrived(message, channel)),
      { exclusive: line.exclusive },
    );
    if (this.#channel !== channel) return;
    this.#tag = consumerTag;
  }

  async #cancel(): Promise<void> {
    const tag = this.#tag;
    this.#tag = undefined;
    if (tag !== undefined) await this.#channel?.cancel(tag);
  }

  async #open(): Promise<Channel> {
    const channel = await this.#core.link.channel();
    channel.on('error', (error: Error) => {
      if (this.#channel !== channel) return;
      this.#core.host.log.warn('RabbitMQ closed a consumer: what was not acknowledged is delivered again', {
        queue: this.#line.name,
        error: error.message,
      });
    });
    channel.on('close', () => {
      if (!this.#dropped(channel)) return;
      this.#core.host.clock.setTimer(() => this.update(), AGAIN_MS);
    });
    return channel;
  }

  /** The queue is gone from the server: made again, empty. */
  #deleted(channel: Channel): void {
    if (this.#channel !== channel) return;
    this.#discard(channel);
    this.#core.host.log.error('a queue was deleted on the server, with its jobs: it is made again', {
      queue: this.#line.names.queue,
    });
    void this.#core.topology
      .line(this.#line, this.#line.maxPriority)
      .catch(() => undefined)
      .then(() => this.#core.host.clock.setTimer(() => this.update(), AGAIN_MS));
  }

  #arrived(message: ConsumeMessage, channel: Channel): void {
    if (this.#channel !== channel) return; // it goes back with its channel, which is closing
    const { host, config } = this.#core;
    const line = this.#line;
    const decoded = decode(message, line, this.#core.seq(), config.max_attempts, host.clock.now());
    const job = { ...decoded.job, extras: this.#bounded(decoded.job.extras) };
    const delivery: Delivery = { message, channel, job, decoded, dueAt: 0, timer: undefined, end: undefined };
    const end = message.fields.redelivered ? this.#ends.get(publishNumber(message)) : undefined;
    if (end?.kind === 'postpone' && line.serial) {
      // It failed here before its channel ended: it waits again, its attempts are not forgotten.
      const { attempts, lost, failures } = end;
      Object.assign(job, { attempts, lost, failures });
      delivery.dueAt = host.clock.monotonic() + end.delayMs;
    } else delivery.end = end;
    const waitMs = Math.min((decoded.dueAt ?? 0) - host.clock.now(), decoded.delayMs ?? Infinity);
    if (waitMs <= 0) return this.hand.add(delivery, line.serial);
    // Those that wait at hand must leave room for those that can run.
    const level = levelFor(waitMs) ?? (this.hand.held * 2 >= this.#window ? 0 : undefined);
    delivery.dueAt = host.clock.monotonic() + (level === undefined || line.serial ? waitMs : Number.MAX_SAFE_INTEGER);
    this.hand.add(delivery, line.serial);
    if (level === undefined || line.serial) return;
    const carried = { dueAt: decoded.dueAt, delayMs: waitMs };
    this.#move(delivery, () => this.#core.hop(line, job, carried, level));
  }

  /** No run may outlast what the server waits for. */
  #bounded(extras: Delivery['job']['extras']): Delivery['job']['extras'] {
    const { rules, settings } = this.#line;
    const asked = extras?.timeoutMs ?? rules?.timeoutMs ?? settings?.timeoutMs ?? MAX_RUN_MS;
    return asked <= MAX_RUN_MS && extras?.timeoutMs === undefined
      ? extras
      : { ...extras, timeoutMs: Math.min(asked, MAX_RUN_MS) };
  }

  /** The consumer has ended but jobs run on its channel: the others do not wait for them. */
  #giveBack(): void {
    for (let delivery = this.hand.take(); delivery !== undefined; delivery = this.hand.take()) {
      const given = delivery;
      this.#move(given, () => this.#core.send(this.#line, given.job));
    }
  }

  /** Closes a channel that is not wanted: what it has goes back in its place. */
  #discard(channel: Channel | undefined): void {
    if (this.#dropped(channel)) void channel?.close().catch(() => undefined);
  }

  /** Forgets a channel and what came through it. Answers false when it was forgotten already. */
  #dropped(channel: Channel | undefined): boolean {
    if (channel === undefined || this.#channel !== channel) return false;
    this.#channel = undefined;
    this.#tag = undefined;
    this.#window = 0;
    this.running = 0;
    this.absent = 0;
    this.#moves = 0;
    this.hand.clear();
    return true;
  }
}
