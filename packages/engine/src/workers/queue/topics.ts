/**
 * Durable topics: who subscribes, and what a publish becomes.
 *
 * A subscription is (topic, namespace, function) and lives longer than its triggers:
 *
 *   (first trigger binds) -> live
 *   live    -> offline    its last trigger's worker is gone: it keeps receiving
 *   live    -> ended      its last trigger was unregistered, or `iii::durable::unsubscribe`
 *   offline -> live       a trigger binds
 *   offline -> ended      nobody came for `SUBSCRIPTION_RETENTION_MS`
 *   ended   -> live       a trigger binds: what was left of its backlog is delivered
 *   ended   -> (gone)     after `SUBSCRIPTION_RETENTION_MS`, with its backlog; dead letters keep it
 *
 * A publish reaches every subscription that is live or offline. While a topic has none it holds its
 * messages, within bounds, for the next one.
 */
import { toErrorBody } from '@trine/protocol';
import type { Timer } from '../../core/clock.js';
import type { TriggerBinding, UnbindReason, WorkerHost } from '../../core/worker-host.js';
import type { Broker, Line, Message } from './adapters/index.js';
import { topicBacklogFull } from './errors.js';
import type { LineRunner } from './line-runner.js';
import { parseSubscriber, type SubscriberSettings } from './subscription.js';

/** How long an offline subscription keeps receiving, and an ended one keeps its backlog, in milliseconds. */
export const SUBSCRIPTION_RETENTION_MS = 7 * 24 * 3_600_000;
/** How long a topic without subscriptions holds a message, in milliseconds. */
export const HELD_RETENTION_MS = 24 * 3_600_000;
export const MAX_HELD_MESSAGES = 10_000;
/** Payload that one topic holds, in UTF-16 units. */
export const MAX_HELD_BYTES = 64 * 1024 * 1024;
/** Topics that hold messages. */
export const MAX_HELD_TOPICS = 10_000;
/** How often retention is looked at, in milliseconds. */
const SWEEP_EVERY_MS = 10 * 60_000;
/** Share of a backlog's bound at which the log warns. */
const BACKLOG_WARNING = 0.8;

export interface Subscription {
  readonly line: Line;
  readonly runner: LineRunner;
  settings: SubscriberSettings;
  /** Bound triggers, the newest last. */
  readonly triggers: Map<string, SubscriberSettings>;
  trimming: boolean;
  warned: boolean;
}

export class Topics {
  readonly #host: WorkerHost;
  readonly #broker: Broker;
  readonly #runnerOf: (line: Line) => LineRunner;
  readonly #byTopic = new Map<string, Subscription[]>();
  readonly #byTrigger = new Map<string, Subscription>();
  #sweeper: Timer | undefined;
  #stopped = false;

  constructor(host: WorkerHost, broker: Broker, runnerOf: (line: Line) => LineRunner) {
    this.#host = host;
    this.#broker = broker;
    this.#runnerOf = runnerOf;
    for (const line of broker.lines()) {
      if (line.kind === 'subscription') this.#add(line, JSON.parse(line.settings) as SubscriberSettings);
    }
  }

  /** Subscriptions that were live when the engine went down are offline until their workers are back. */
  async start(): Promise<void> {
    const now = this.#host.clock.now();
    const unmarked = this.all().filter(({ line }) => line.offlineSince === undefined && line.endedAt === undefined);
    await Promise.all(unmarked.map(({ line }) => this.#broker.setOffline(line, now)));
    await this.#sweep();
  }

  all(): Subscription[] {
    return [...this.#byTopic.values()].flat();
  }

  of(topic: string): readonly Subscription[] {
    return this.#byTopic.get(topic) ?? [];
  }

  find(line: Line): Subscription | undefined {
    return this.of(line.name).find((subscription) => subscription.line === line);
  }

  topics(): Set<string> {
    return new Set([...this.#byTopic.keys(), ...this.#broker.heldTopics().keys()]);
  }

  /** Messages that a topic without subscriptions holds. */
  held(topic: string): number {
    return this.#broker.held(topic).count;
  }

  /** Serves a trigger. Resolves after the subscription is on disk. */
  async bind(trigger: TriggerBinding): Promise<void> {
    const { topic, settings } = parseSubscriber(trigger);
    const { namespace, functionId } = trigger;
    const before = this.#byTrigger.get(trigger.id);
    const spec = { kind: 'subscription', name: topic, namespace, functionId } as const;
    const { line, committed } = this.#broker.subscribe(spec, JSON.stringify(settings), settings.fifo, settings);
    const subscription = this.find(line) ?? this.#add(line, settings);
    if (before !== undefined && before !== subscription) await this.#detach(trigger.id, before, 'unregistered');
    subscription.settings = settings;
    subscription.triggers.delete(trigger.id);
    subscription.triggers.set(trigger.id, settings);
    this.#byTrigger.set(trigger.id, subscription);
    try {
      await committed;
    } catch (error) {
      await this.#detach(trigger.id, subscription, 'stopped');
      if (this.#broker.find(spec) === undefined) this.#remove(subscription);
      throw error;
    }
    this.#apply(subscription);
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
  async publish(message: Message): Promise<void> {
    const { topic } = message;
    let active = this.#active(topic);
    if (active.length === 0 && this.#heldFull(message) !== undefined) {
      await this.#broker.dropHeld(topic, this.#host.clock.now() - HELD_RETENTION_MS);
      active = this.#active(topic);
      const full = active.length === 0 ? this.#heldFull(message) : undefined;
      if (full !== undefined) throw topicBacklogFull(topic, full);
    }
    await this.#broker.publish(
      message,
      active.map(({ line, settings }) => ({
        line,
        attempts: { maxAttempts: settings.maxAttempts, backoffMs: settings.backoffMs },
      })),
    );
    for (const subscription of active) this.#watchBacklog(subscription);
  }

  /** Ends a subscription. Answers undefined when there is none, else how many messages were dropped. */
  async unsubscribe(
    topic: string,
    functionId: string,
    namespace: string,
    discardBacklog: boolean,
  ): Promise<number | undefined> {
    const subscription = this.of(topic).find(
      ({ line }) => line.functionId === functionId && line.namespace === namespace,
    );
    if (subscription === undefined) return undefined;
    for (const id of subscription.triggers.keys()) this.#byTrigger.delete(id);
    subscription.triggers.clear();
    this.#apply(subscription);
    await this.#broker.endSubscription(subscription.line, this.#host.clock.now());
    return discardBacklog ? await this.#broker.dropBacklog(subscription.line) : 0;
  }

  stop(): void {
    this.#stopped = true;
    this.#sweeper?.cancel();
  }

  #active(topic: string): readonly Subscription[] {
    return this.of(topic).filter(({ line }) => line.endedAt === undefined);
  }

  #heldFull({ topic, data }: Message): string | undefined {
    const { count, bytes } = this.#broker.held(topic);
    if (count >= MAX_HELD_MESSAGES) return `${count} messages`;
    if (count > 0 && bytes + data.length > MAX_HELD_BYTES) return `${bytes} bytes`;
    if (count === 0 && this.#broker.heldTopics().size >= MAX_HELD_TOPICS)
      return `messages beside ${MAX_HELD_TOPICS} other such topics`;
    return undefined;
  }

  async #detach(triggerId: string, subscription: Subscription, reason: UnbindReason): Promise<void> {
    const { line, triggers } = subscription;
    if (this.#byTrigger.get(triggerId) === subscription) this.#byTrigger.delete(triggerId);
    triggers.delete(triggerId);
    this.#apply(subscription);
    if (triggers.size > 0 || this.#stopped || reason === 'stopped') return;
    const now = this.#host.clock.now();
    if (reason === 'unregistered') await this.#broker.endSubscription(line, now);
    else await this.#broker.setOffline(line, now);
  }

  /** The newest trigger says how; the concurrency of all adds up, as each consumes for itself. */
  #apply(subscription: Subscription): void {
    const { runner, triggers, line } = subscription;
    const newest = [...triggers.values()].at(-1);
    if (newest === undefined) {
      runner.setPolicy(undefined);
      return;
    }
    subscription.settings = newest;
    runner.setPolicy({
      place: { topic: line.name },
      concurrency: [...triggers.values()].reduce((sum, { concurrency }) => sum + concurrency, 0),
      timeoutMs: newest.timeoutMs,
      rules: { maxBackoffMs: newest.maxBackoffMs, jitter: 0 },
      conditionFunctionId: newest.conditionFunctionId,
      metadata: newest.metadata,
    });
  }

  #watchBacklog(subscription: Subscription): void {
    const { line, settings } = subscription;
    const { waiting, delayed, bytes } = line.stats;
    const share = Math.max((waiting + delayed) / settings.maxBacklog, bytes / settings.maxBacklogBytes);
    if (share > 1 && !subscription.trimming) void this.#trim(subscription);
    if (share < BACKLOG_WARNING / 2) subscription.warned = false;
    if (share < BACKLOG_WARNING || subscription.warned) return;
    subscription.warned = true;
    this.#host.log.warn('the backlog of a subscription is nearly full: its oldest messages will expire', {
      topic: line.name,
      function: line.functionId,
      waiting: waiting + delayed,
      bytes,
      max_backlog: settings.maxBacklog,
      max_backlog_bytes: settings.maxBacklogBytes,
    });
  }

  async #trim(subscription: Subscription): Promise<void> {
    subscription.trimming = true;
    const { line, settings } = subscription;
    let expired = 0;
    try {
      for (;;) {
        const { waiting, delayed, bytes } = line.stats;
        const tooMany = waiting + delayed - settings.maxBacklog;
        if (tooMany <= 0 && bytes <= settings.maxBacklogBytes) break;
        const count = await this.#broker.expireOldest(line, Math.max(1, tooMany));
        if (count === 0) break;
        expired += count;
      }
    } catch (error) {
      this.#host.log.error('old messages of a full subscription could not be dropped', {
        topic: line.name,
        error: toErrorBody(error).message,
      });
    }
    subscription.trimming = false;
    if (expired > 0) {
      this.#host.log.warn('messages of a subscription expired: its backlog is full', {
        topic: line.name,
        function: line.functionId,
        expired,
      });
    }
  }

  #add(line: Line, settings: SubscriberSettings): Subscription {
    const subscription = {
      line,
      runner: this.#runnerOf(line),
      settings,
      triggers: new Map(),
      trimming: false,
      warned: false,
    };
    const others = this.#byTopic.get(line.name);
    if (others === undefined) this.#byTopic.set(line.name, [subscription]);
    else others.push(subscription);
    return subscription;
  }

  #remove(subscription: Subscription): void {
    const { name } = subscription.line;
    const rest = this.of(name).filter((other) => other !== subscription);
    if (rest.length === 0) this.#byTopic.delete(name);
    else this.#byTopic.set(name, rest);
  }

  async #sweep(): Promise<void> {
    const now = this.#host.clock.now();
    try {
      for (const topic of [...this.#broker.heldTopics().keys()]) {
        const expired = await this.#broker.dropHeld(topic, now - HELD_RETENTION_MS);
        if (expired > 0)
          this.#host.log.warn('messages of a topic expired: nobody subscribed within a day', { topic, expired });
      }
      for (const subscription of this.all()) await this.#retire(subscription, now);
    } catch (error) {
      this.#host.log.error('retention of topics could not be applied: trying again later', {
        error: toErrorBody(error).message,
      });
    }
    if (!this.#stopped) this.#sweeper = this.#host.clock.setTimer(() => void this.#sweep(), SWEEP_EVERY_MS);
  }

  async #retire(subscription: Subscription, now: number): Promise<void> {
    const { line } = subscription;
    if (
      line.offlineSince !== undefined &&
      line.endedAt === undefined &&
      now - line.offlineSince >= SUBSCRIPTION_RETENTION_MS
    ) {
      this.#host.log.warn('a subscription ended: its worker was away for too long', {
        topic: line.name,
        function: line.functionId,
      });
      await this.#broker.endSubscription(line, now);
    }
    if (line.endedAt === undefined || now - line.endedAt < SUBSCRIPTION_RETENTION_MS) return;
    const dropped = await this.#broker.dropBacklog(line);
    if (dropped > 0)
      this.#host.log.warn('the backlog of an ended subscription was dropped', {
        topic: line.name,
        function: line.functionId,
        dropped,
      });
    await this.#broker.removeLine(line);
    if (this.#broker.find(line) === undefined) this.#remove(subscription);
  }
}
