/**
 * Durable topics as this engine sees them: the triggers bound here, and the runner of each
 * subscription. Who subscribes at all, what is kept and for how long is the broker's affair.
 *
 *   (first trigger binds)  -> the broker makes or renews the subscription, then jobs run
 *   last trigger unbinds   -> `offline` when its worker went away, `ended` when it was unregistered
 */
import { toErrorBody } from '@trine/protocol';
import type { Timer } from '../../core/clock.js';
import type { TriggerBinding, UnbindReason, WorkerHost } from '../../core/worker-host.js';
import type { Broker, Line, LineSpec, Message, SubscriptionSettings } from './adapters/index.js';
import type { LineRunner } from './line-runner.js';
import { parseSubscriber } from './subscription.js';

/** How often retention is looked at, in milliseconds. */
const SWEEP_EVERY_MS = 10 * 60_000;

interface Subscription {
  readonly spec: LineSpec;
  line: Line | undefined;
  /** Bound triggers, the newest last. */
  readonly triggers: Map<string, SubscriptionSettings>;
}

export class Topics {
  readonly #host: WorkerHost;
  readonly #broker: Broker;
  readonly #runnerOf: (line: Line) => LineRunner;
  readonly #bySpec = new Map<string, Subscription>();
  readonly #byTrigger = new Map<string, Subscription>();
  #sweeper: Timer | undefined;
  #stopped = false;

  constructor(host: WorkerHost, broker: Broker, runnerOf: (line: Line) => LineRunner) {
    this.#host = host;
    this.#broker = broker;
    this.#runnerOf = runnerOf;
  }

  start(): Promise<void> {
    return this.#sweep();
  }

  /** Subscriptions of a topic, or all, in the order in which they were made. */
  lines(topic?: string): Promise<readonly Line[]> {
    return this.#broker.lines({ kind: 'subscription', ...(topic === undefined ? {} : { name: topic }) });
  }

  /** The subscription of a function, live or not. */
  async find(topic: string, functionId: string, namespace: string): Promise<Line | undefined> {
    return (await this.lines(topic)).find((line) => line.functionId === functionId && line.namespace === namespace);
  }

  /** Triggers bound on this engine. */
  triggersOf(line: LineSpec): number {
    return this.#bySpec.get(keyOf(line))?.triggers.size ?? 0;
  }

  /** Topics that have subscriptions or hold messages, in order. */
  async names(): Promise<string[]> {
    const lines = await this.lines();
    return [...new Set([...lines.map(({ name }) => name), ...(await this.#broker.held()).keys()])].sort();
  }

  /** Messages that a topic without subscriptions holds. */
  async held(topic: string): Promise<number> {
    return (await this.#broker.held()).get(topic)?.count ?? 0;
  }

  /** Serves a trigger. Resolves after the subscription is stored. */
  async bind(trigger: TriggerBinding): Promise<void> {
    const { topic, settings } = parseSubscriber(trigger);
    const { namespace, functionId } = trigger;
    const spec: LineSpec = { kind: 'subscription', name: topic, namespace, functionId };
    const subscription = this.#subscription(spec);
    const before = this.#byTrigger.get(trigger.id);
    if (before !== undefined && before !== subscription) await this.#detach(trigger.id, before, 'unregistered');
    subscription.triggers.delete(trigger.id);
    subscription.triggers.set(trigger.id, settings);
    this.#byTrigger.set(trigger.id, subscription);
    try {
      subscription.line = await this.#broker.subscribe(spec, settings);
    } catch (error) {
      await this.#detach(trigger.id, subscription, 'stopped');
      throw error;
    }
    // It may have been given up meanwhile, and another one, which is in force, have taken its place.
    const current = this.#bySpec.get(keyOf(spec));
    if (current === undefined || current === subscription) this.#apply(subscription);
  }

  async unbind(trigger: TriggerBinding, reason: UnbindReason): Promise<void> {
    const subscription = this.#byTrigger.get(trigger.id);
    if (subscription !== undefined) await this.#detach(trigger.id, subscription, reason);
  }

  /**
   * Stores a message for every subscription of its topic. Resolves after the commit.
   *
   * @throws TrineError `topic_backlog_full`
   */
  publish(message: Message): Promise<void> {
    return this.#broker.publish(message);
  }

  /** Ends a subscription. Answers undefined when there is none, else how many messages were dropped. */
  async unsubscribe(
    topic: string,
    functionId: string,
    namespace: string,
    discardBacklog: boolean,
  ): Promise<number | undefined> {
    const line = await this.find(topic, functionId, namespace);
    if (line === undefined) return undefined;
    const subscription = this.#bySpec.get(keyOf(line));
    if (subscription !== undefined) {
      for (const id of subscription.triggers.keys()) this.#byTrigger.delete(id);
      subscription.triggers.clear();
      this.#apply(subscription);
    }
    await this.#broker.leave(line, 'ended');
    if (!discardBacklog || this.#broker.purge === undefined) return 0;
    return (await this.#broker.purge(line, 'waiting')) + (await this.#broker.purge(line, 'delayed'));
  }

  stop(): void {
    this.#stopped = true;
    this.#sweeper?.cancel();
  }

  #subscription(spec: LineSpec): Subscription {
    const key = keyOf(spec);
    let subscription = this.#bySpec.get(key);
    if (subscription === undefined) {
      this.#bySpec.set(key, (subscription = { spec, line: undefined, triggers: new Map() }));
    }
    return subscription;
  }

  async #detach(triggerId: string, subscription: Subscription, reason: UnbindReason): Promise<void> {
    const { line, triggers, spec } = subscription;
    if (this.#byTrigger.get(triggerId) === subscription) this.#byTrigger.delete(triggerId);
    triggers.delete(triggerId);
    this.#apply(subscription);
    if (triggers.size > 0) return;
    if (this.#bySpec.get(keyOf(spec)) === subscription) this.#bySpec.delete(keyOf(spec));
    if (line === undefined || this.#stopped || reason === 'stopped') return;
    await this.#broker.leave(line, reason === 'unregistered' ? 'ended' : 'offline');
  }

  /** The newest trigger says how; the concurrency of all adds up, as each consumes for itself. */
  #apply({ line, triggers }: Subscription): void {
    if (line === undefined) return;
    const runner = this.#runnerOf(line);
    const newest = [...triggers.values()].at(-1);
    if (newest === undefined) {
      runner.setPolicy(undefined);
      return;
    }
    runner.setPolicy({
      place: { topic: line.name },
      concurrency: [...triggers.values()].reduce((sum, { concurrency }) => sum + concurrency, 0),
      timeoutMs: newest.timeoutMs,
      rules: { maxBackoffMs: newest.maxBackoffMs, jitter: newest.jitter },
      conditionFunctionId: newest.conditionFunctionId,
      metadata: newest.metadata,
      consumers: newest.consumers,
      deadLetterFunction: undefined,
    });
  }

  async #sweep(): Promise<void> {
    try {
      await this.#broker.sweep();
    } catch (error) {
      this.#host.log.error('retention could not be applied: trying again later', {
        error: toErrorBody(error).message,
      });
    }
    if (!this.#stopped) this.#sweeper = this.#host.clock.setTimer(() => void this.#sweep(), SWEEP_EVERY_MS);
  }
}

function keyOf({ name, namespace, functionId }: LineSpec): string {
  return `${name}\u0000${namespace}\u0000${functionId}`;
}
