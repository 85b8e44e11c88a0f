/**
 * Carries a message to the subscribers of its topic: one call per trigger, at most once, in no
 * promised order, without keeping the publisher waiting.
 *
 * Hot path: the message stays text, each subscriber gets a payload of its own around it. Guarded by
 * the publish row of the benchmarks.
 *
 * Two bounds. One subscriber that does not keep up loses its own messages and nobody else's; when all
 * of them together hold too much, publishers are refused until some have ended.
 */
import { Payload, type ErrorBody } from '@trine/protocol';
import type { WorkerHost } from '../../core/worker-host.js';
import { overloaded } from './errors.js';
import type { Subscription, Subscriptions } from './subscriptions.js';

/** Deliveries under way, of all subscribers. Below the calls that one worker may have in flight. */
export const MAX_DELIVERIES = 60_000;
/** Deliveries under way to one subscriber. */
export const MAX_DELIVERIES_PER_SUBSCRIBER = 10_000;
/** Text of the deliveries under way, in UTF-16 units. */
export const MAX_DELIVERY_LENGTH = 256 * 1024 * 1024;

export interface Message {
  readonly topic: string;
  /** Raw JSON text. */
  readonly data: string;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
}

export class Delivery {
  readonly #host: WorkerHost;
  readonly #subscriptions: Subscriptions;
  #inFlight = 0;
  #length = 0;

  constructor(host: WorkerHost, subscriptions: Subscriptions) {
    this.#host = host;
    this.#subscriptions = subscriptions;
  }

  /**
   * Starts the deliveries of a message. No subscriber is no error.
   *
   * @throws TrineError `publish_overloaded`: the message went to nobody
   */
  publish(message: Message): void {
    const subscribers = this.#subscriptions.of(message.topic);
    const { length } = message.data;
    if (this.#inFlight > 0) {
      const tooMany = this.#inFlight + subscribers.length > MAX_DELIVERIES;
      const tooLong = this.#length + length * subscribers.length > MAX_DELIVERY_LENGTH;
      if (subscribers.length > 0 && (tooMany || tooLong)) throw overloaded(message.topic, this.#inFlight);
    }
    for (const subscription of subscribers) {
      if (subscription.inFlight >= MAX_DELIVERIES_PER_SUBSCRIBER) {
        this.#drop(subscription);
        continue;
      }
      this.#inFlight++;
      this.#length += length;
      subscription.inFlight++;
      if (subscription.conditionFunctionId === undefined) this.#call(subscription, message);
      else void this.#ask(subscription, subscription.conditionFunctionId, message);
    }
  }

  #call(subscription: Subscription, { data, traceparent, baggage }: Message): void {
    const { functionId, namespace, metadata } = subscription.binding;
    this.#host.invoke(
      { functionId, namespace, payload: Payload.fromJson(data), metadata: metadata?.fork(), traceparent, baggage },
      (outcome) => {
        if (!outcome.ok) this.#warn(subscription, 'subscriber failed', failure(outcome.error));
        this.#end(subscription, data.length);
      },
    );
  }

  async #ask(subscription: Subscription, condition: string, message: Message): Promise<void> {
    const { data, traceparent, baggage } = message;
    const { namespace } = subscription.binding;
    const answer = await this.#host.condition(condition, {
      namespace,
      payload: Payload.fromJson(data),
      traceparent,
      baggage,
    });
    if (answer.verdict === 'run' && this.#subscriptions.of(subscription.topic).includes(subscription)) {
      this.#call(subscription, message);
      return;
    }
    if (answer.verdict === 'error') {
      this.#warn(subscription, 'condition of a subscriber failed: it does not get the message', {
        condition,
        ...failure(answer.error),
      });
    }
    this.#end(subscription, data.length);
  }

  #end(subscription: Subscription, length: number): void {
    this.#inFlight--;
    this.#length -= length;
    subscription.inFlight--;
    if (subscription.dropped > 0 && subscription.inFlight <= MAX_DELIVERIES_PER_SUBSCRIBER / 2) {
      this.#warn(subscription, 'subscriber keeps up again', { dropped: subscription.dropped });
      subscription.dropped = 0;
    }
  }

  /** One line at the start of a gap and one at its end, however many are lost. */
  #drop(subscription: Subscription): void {
    if (subscription.dropped++ > 0) return;
    this.#warn(subscription, 'subscriber is too slow: messages to it are dropped', {
      in_flight: subscription.inFlight,
    });
  }

  #warn({ binding, topic }: Subscription, text: string, fields: Readonly<Record<string, unknown>>): void {
    this.#host.log.warn(text, { topic, function: binding.functionId, worker: binding.workerName, ...fields });
  }
}

function failure(error: ErrorBody): Readonly<Record<string, unknown>> {
  return { code: error.code, error: error.message };
}
