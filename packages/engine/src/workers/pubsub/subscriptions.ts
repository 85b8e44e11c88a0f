import type { TriggerBinding } from '../../core/worker-host.js';

/** One `subscribe` trigger. */
export interface Subscription {
  readonly binding: TriggerBinding;
  readonly topic: string;
  readonly conditionFunctionId: string | undefined;
  /** Deliveries that were started and have not ended. */
  inFlight: number;
  /** Messages it was too slow for since it last kept up. */
  dropped: number;
}

const NONE: readonly Subscription[] = [];

/** Who listens to which topic. Names are matched as they are, without wildcards. */
export class Subscriptions {
  readonly #byTriggerId = new Map<string, Subscription>();
  /** Replaced, never changed: a publish can go over its list while others come and go. */
  readonly #byTopic = new Map<string, readonly Subscription[]>();

  /** Adds a subscription, or replaces the one of the same trigger id. */
  add(binding: TriggerBinding, topic: string, conditionFunctionId: string | undefined): void {
    this.remove(binding.id);
    const subscription: Subscription = { binding, topic, conditionFunctionId, inFlight: 0, dropped: 0 };
    this.#byTriggerId.set(binding.id, subscription);
    this.#byTopic.set(topic, [...this.of(topic), subscription]);
  }

  /** Answers the topic that it was for. */
  remove(triggerId: string): string | undefined {
    const subscription = this.#byTriggerId.get(triggerId);
    if (subscription === undefined) return undefined;
    this.#byTriggerId.delete(triggerId);
    const rest = this.of(subscription.topic).filter((other) => other !== subscription);
    if (rest.length === 0) this.#byTopic.delete(subscription.topic);
    else this.#byTopic.set(subscription.topic, rest);
    return subscription.topic;
  }

  of(topic: string): readonly Subscription[] {
    return this.#byTopic.get(topic) ?? NONE;
  }

  get topics(): Iterable<string> {
    return this.#byTopic.keys();
  }

  clear(): void {
    this.#byTriggerId.clear();
    this.#byTopic.clear();
  }
}
