/**
 * What the conformance suites need of an adapter: brokers that open on one store, one after the other
 * or several at once, and time that passes. An adapter's own test file makes a `SuiteAdapter` and
 * calls `brokerSuite` (all suites that its capabilities name).
 */
import { waitFor } from '@trine/testing';
import type {
  AdapterName,
  Broker,
  BrokerEvents,
  Capability,
  Lease,
  Line,
  LineSpec,
  Message,
  NewJob,
  QueueRules,
  SubscriptionSettings,
} from '../index.js';

export interface SuiteAdapter {
  readonly adapter: AdapterName;
  readonly capabilities: ReadonlySet<Capability>;
  /** A fresh, empty store for one test. */
  store(): Promise<SuiteStore>;
}

export interface SuiteStore {
  /** Opens a broker on the store, as an engine does. */
  open(events: BrokerEvents): Promise<Broker>;
  /** The engine dies: no `stop`, nothing more is written. Without it the tests use `stop`. */
  kill?(broker: Broker): Promise<void>;
  /** Cuts the connection to a store elsewhere until the function that is answered is called. */
  cut?(): Promise<() => Promise<void>>;
  /** Lets time pass for the broker: a fake clock moves, or the real one is waited for. */
  pass(ms: number): Promise<void>;
  now(): number;
  /** How many lines of the log contain this text. */
  said(text: string): number;
  remove(): Promise<void>;
}

export const RULES: QueueRules = {
  serial: false,
  rate: undefined,
  ratePerKey: undefined,
  globalConcurrency: undefined,
  keepEndedMs: 0,
  keepEndedCount: 0,
  keepDeadMs: 0,
};

export const SETTINGS: SubscriptionSettings = {
  fifo: false,
  maxAttempts: 3,
  backoffMs: 1_000,
  maxBacklog: 1_000,
  maxBacklogBytes: 1024 * 1024,
  concurrency: 10,
  timeoutMs: 60_000,
  maxBackoffMs: 60_000,
  jitter: 0,
  consumers: 'replicas',
};

/** One engine's view of a store. */
export class House {
  readonly store: SuiteStore;
  broker!: Broker;
  /** Functions that are live on this engine. */
  readonly functions = new Set<string>(['f', 'g']);
  /** Messages that the broker said it dropped, by the function of their subscription. */
  readonly expired = new Map<string, number>();
  replayRetentionMs = 0;

  private constructor(store: SuiteStore) {
    this.store = store;
  }

  static async open(store: SuiteStore, replayRetentionMs = 0): Promise<House> {
    const house = new House(store);
    house.replayRetentionMs = replayRetentionMs;
    await house.start();
    return house;
  }

  async start(): Promise<void> {
    this.broker = await this.store.open({
      ready: () => undefined,
      missing: (_line, functionId, namespace) =>
        this.functions.has(functionId) ? undefined : { functionId, namespace },
      expired: ({ functionId }, count) =>
        void this.expired.set(functionId, (this.expired.get(functionId) ?? 0) + count),
      topicRules: () => ({ replayRetentionMs: this.replayRetentionMs, subscriptionRetentionMs: 7 * 24 * 3_600_000 }),
    });
  }

  async kill(): Promise<void> {
    await (this.store.kill?.(this.broker) ?? this.broker.stop());
  }

  /** The engine dies and another one takes its place. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  stop(): Promise<void> {
    return this.broker.stop();
  }

  /** A queue that is consumed. */
  async queue(rules: Partial<QueueRules> = {}, name = 'q', concurrency = 10): Promise<Line> {
    const line = (await this.broker.openQueues(new Map([[name, { ...RULES, ...rules }]]))).get(name);
    if (line === undefined) throw new Error(`queue ${name} was not opened`);
    this.broker.consume(line, concurrency);
    return line;
  }

  async subscription(
    functionId: string,
    settings: Partial<SubscriptionSettings> = {},
    topic = 't',
    namespace = 'default',
  ): Promise<Line> {
    const spec: LineSpec = { kind: 'subscription', name: topic, namespace, functionId };
    const line = await this.broker.subscribe(spec, { ...SETTINGS, ...settings });
    this.broker.consume(line, line.settings?.concurrency ?? 1);
    return line;
  }

  async accept(line: Line, data: unknown, more: Partial<NewJob> = {}): Promise<string> {
    return (await this.broker.accept(line, this.job(data, more))).receipt;
  }

  job(data: unknown, more: Partial<NewJob> = {}): NewJob {
    return {
      receipt: undefined,
      functionId: 'f',
      namespace: 'default',
      group: undefined,
      data: JSON.stringify(data),
      metadata: undefined,
      traceparent: undefined,
      baggage: undefined,
      createdAt: this.store.now(),
      maxAttempts: 3,
      backoffMs: 1_000,
      extras: undefined,
      ...more,
    };
  }

  message(data: unknown, topic = 't'): Message {
    return {
      topic,
      data: JSON.stringify(data),
      traceparent: undefined,
      baggage: undefined,
      createdAt: this.store.now(),
    };
  }

  appear(functionId: string): void {
    this.functions.add(functionId);
    this.broker.functionChanged(functionId, 'default', true);
  }

  vanish(functionId: string): void {
    this.functions.delete(functionId);
    this.broker.functionChanged(functionId, 'default', false);
  }

  /** The next job, when there is one. */
  lease(line: Line): Promise<Lease> {
    return waitFor(() => this.broker.reserve(line), { what: `a job of ${line.name}`, everyMs: 1 });
  }

  /** Takes `count` jobs and ends them; answers their data. */
  async drain(line: Line, count: number): Promise<unknown[]> {
    const seen: unknown[] = [];
    while (seen.length < count) {
      const lease = await this.lease(line);
      seen.push(JSON.parse(lease.job.data));
      await this.broker.settle(lease, { kind: 'done' });
    }
    return seen;
  }

  /** Nothing of the line can be leased, also after all that is under way. */
  async nothing(line: Line): Promise<boolean> {
    for (let i = 0; i < 5; i++) {
      const lease = this.broker.reserve(line);
      if (lease !== undefined) return false;
      await this.broker.stats([line]);
      await new Promise((go) => setImmediate(go));
    }
    return true;
  }
}
