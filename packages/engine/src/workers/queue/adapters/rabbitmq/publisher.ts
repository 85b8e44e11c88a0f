/**
 * Everything that is written goes through one confirm channel, persistent and mandatory. A publish:
 *
 *   (sent) -> confirmed   the server has it, on disk of a majority
 *   (sent) -> failed      returned (no queue takes it), refused (nack), channel lost, or no answer in time
 *
 * What failed may exist all the same: whoever sees an error may try again, and a job may exist twice.
 */
import type { ChannelModel, ConfirmChannel } from 'amqplib';
import type { Clock, Timer } from '../../../../core/clock.js';
import { enqueueError } from '../../errors.js';
import type { Encoded } from './message.js';

/** No clean confirm within this time is an error, in milliseconds. */
export const CONFIRM_TIMEOUT_MS = 10_000;
/** Messages and bytes that wait for their confirm at once; more is refused, never buffered. */
export const MAX_UNCONFIRMED = 10_000;
export const MAX_UNCONFIRMED_BYTES = 64 * 1024 * 1024;

interface Pending {
  readonly bytes: number;
  readonly deadline: number;
  readonly done: (error?: Error) => void;
  settled: boolean;
  returned: boolean;
}

export class Publisher {
  readonly #clock: Clock;
  readonly #id: string;
  #channel: ConfirmChannel | undefined;
  /** By their number, the oldest first. */
  #pending = new Map<string, Pending>();
  #bytes = 0;
  #count = 0;
  #timer: Timer | undefined;
  /** Why the server takes nothing at the moment. */
  blocked: string | undefined;
  /** Why there is no channel. */
  absent = 'the connection to RabbitMQ is not there yet';

  /** @param id - of this engine's run: a publish has a number that no other has */
  constructor(clock: Clock, id: string) {
    this.#clock = clock;
    this.#id = id;
  }

  async attach(model: ChannelModel, lost: (error: Error) => void): Promise<void> {
    const channel = await model.createConfirmChannel();
    this.blocked = undefined;
    model.on('blocked', (reason: string) => (this.blocked = reason || 'no reason was given'));
    model.on('unblocked', () => (this.blocked = undefined));
    channel.on('return', (message) => {
      const pending = this.#pending.get(String(message.properties.correlationId));
      if (pending !== undefined) pending.returned = true;
    });
    channel.on('error', lost);
    channel.on('close', () => lost(new Error('the channel for publishing was closed')));
    this.#channel = channel;
  }

  /** The connection is gone: nothing that waits will be confirmed. */
  detach(reason: string): void {
    this.#channel = undefined;
    this.absent = reason;
    this.blocked = undefined;
    const before = this.#pending;
    this.#pending = new Map();
    this.#bytes = 0;
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const pending of before.values()) {
      if (!pending.settled) pending.done(enqueueError(`the connection was lost before RabbitMQ confirmed: ${reason}`));
    }
  }

  /**
   * Resolves after the server's confirm.
   *
   * @throws TrineError `enqueue_error`
   */
  async publish(exchange: string, key: string, { content, options }: Encoded): Promise<void> {
    const channel = this.#channel;
    if (channel === undefined) throw enqueueError(this.absent);
    if (this.blocked !== undefined) {
      throw enqueueError(`RabbitMQ takes no messages now (${this.blocked}): free memory or disk on the server`);
    }
    if (this.#pending.size >= MAX_UNCONFIRMED || this.#bytes + content.length > MAX_UNCONFIRMED_BYTES) {
      throw enqueueError(
        `${this.#pending.size} messages wait for the confirm of RabbitMQ: it is too slow, try again later`,
      );
    }
    const id = `${this.#id}-${this.#count++}`;
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error): void => (error === undefined ? resolve() : reject(error));
      const deadline = this.#clock.monotonic() + CONFIRM_TIMEOUT_MS;
      const pending: Pending = { bytes: content.length, deadline, done, settled: false, returned: false };
      const confirmed = (error: unknown): void => {
        if (!this.#pending.delete(id)) return;
        this.#bytes -= pending.bytes;
        if (pending.settled) return;
        if (pending.returned) done(new NotRoutedError(exchange === '' ? key : exchange));
        else if (error)
          done(enqueueError(`RabbitMQ refused the message (${error instanceof Error ? error.message : 'nack'})`));
        else done();
      };
      channel.publish(exchange, key, content, { ...options, correlationId: id }, confirmed);
      this.#pending.set(id, pending);
      this.#bytes += pending.bytes;
      this.#timer ??= this.#clock.setTimer(() => this.#expire(), CONFIRM_TIMEOUT_MS);
    });
  }

  /** They stay counted until the server answers or the connection ends: it still holds them. */
  #expire(): void {
    this.#timer = undefined;
    const now = this.#clock.monotonic();
    for (const pending of this.#pending.values()) {
      if (pending.settled) continue;
      if (pending.deadline > now) {
        this.#timer = this.#clock.setTimer(() => this.#expire(), pending.deadline - now + 1);
        return;
      }
      pending.settled = true;
      pending.done(enqueueError(`RabbitMQ did not confirm the message within ${CONFIRM_TIMEOUT_MS / 1_000} s`));
    }
  }
}

/** No queue is bound that could take the message. */
export class NotRoutedError extends Error {
  override readonly name = 'NotRoutedError';

  constructor(target: string) {
    super(
      `RabbitMQ has no queue for the message (${target}): it was deleted; it is made again when the engine reconnects`,
    );
  }
}
