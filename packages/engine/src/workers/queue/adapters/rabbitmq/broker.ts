/**
 * The queue on RabbitMQ: several engines share one virtual host. What stands there is in names.ts, what of it a
 * consumer takes and gives back in consumer.ts, what AMQP cannot tell in registry.ts.
 */
import { hostname } from 'node:os';
import type * as amqplib from 'amqplib';
import { memberText, toErrorBody } from '@trine/protocol';
import { loadDriver } from '../../../../core/driver.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import { enqueueError } from '../../errors.js';
import type { Decision } from '../../job.js';
import { adapterCapabilities, notSupported } from '../capabilities.js';
import type {
  Accepted,
  Broker,
  BrokerEvents,
  BrokerHealth,
  DeadPage,
  DeadQuery,
  Lease,
  Line,
  LineSpec,
  LineStats,
  Message,
  NewJob,
  QueueRules,
  RedriveOptions,
  SubscriptionSettings,
} from '../index.js';
import type { RabbitConfig } from './config.js';
import { LineConsumer, MAX_RUN_MS, type RabbitLease } from './consumer.js';
import { RabbitCore } from './core.js';
import { DeadStore } from './dead.js';
import type { RabbitLine } from './line.js';
import { Link } from './link.js';
import { encodeTopic, type Outgoing } from './message.js';
import { levelsIn, topicExchange } from './names.js';
import { NotRoutedError, Publisher } from './publisher.js';
import { keyOf, Registry } from './registry.js';
import { sweepSubscriptions } from './retention.js';
import { MAX_TOPIC_PRIORITY, Topology } from './topology.js';

/** What the driver was tested with. */
const DRIVER_VERSION = '^2.3.1';
/** What the registry said is believed for this long, in milliseconds. */
const BELIEVED_MS = 1_000;

export async function openRabbit(host: WorkerHost, config: RabbitConfig, events: BrokerEvents): Promise<Broker> {
  const driver = await loadDriver<typeof amqplib & { readonly default?: typeof amqplib }>(
    'amqplib',
    DRIVER_VERSION,
    'the rabbitmq adapter of queue',
    host.projectDir,
  );
  const broker = new RabbitBroker(host, driver.default ?? driver, config, events);
  await broker.open();
  return broker;
}

class RabbitBroker implements Broker {
  readonly adapter = 'rabbitmq';
  readonly capabilities = adapterCapabilities.rabbitmq;
  readonly #host: WorkerHost;
  readonly #core: RabbitCore;
  readonly #dead: DeadStore;

  constructor(host: WorkerHost, driver: typeof amqplib, config: RabbitConfig, events: BrokerEvents) {
    this.#host = host;
    const publisher = new Publisher(host.clock, host.random.uuid());
    const link = new Link(host, driver, config.amqp_url, {
      opened: async (_consumeSide, publishSide) => {
        await publisher.attach(publishSide, (error) => link.fail(error));
        await this.#declare();
      },
      lost: (reason) => {
        publisher.detach(reason);
        for (const { consumer } of this.#core.lines.values()) consumer.lost();
      },
      up: () => {
        for (const { consumer } of this.#core.lines.values()) consumer.update();
      },
    });
    const topology = new Topology(link, host.log);
    const registry = new Registry(link, publisher, host.clock);
    const engine = `${hostname()}:${host.dataDir}`;
    this.#core = new RabbitCore(host, config, events, engine, { publisher, link, topology, registry });
    this.#dead = new DeadStore(this.#core);
  }

  /** A server that cannot be used now does not keep the engine from starting: it comes up when the server does. */
  open(): Promise<void> {
    return this.#core.link.connect();
  }

  health(): BrokerHealth {
    const { link, publisher } = this.#core;
    if (!link.isUp) return { state: 'unreachable', detail: link.detail };
    if (publisher.blocked === undefined) return { state: 'ready' };
    const detail = `RabbitMQ at ${link.address} takes no messages (${publisher.blocked}): free memory or disk on the server`;
    return { state: 'degraded', detail };
  }

  async lines(filter: { readonly kind?: LineSpec['kind']; readonly name?: string } = {}): Promise<readonly Line[]> {
    const { link, registry, lines } = this.#core;
    if (link.isUp && registry.ageMs > BELIEVED_MS) {
      await registry.read().catch((error: unknown) =>
        this.#host.log.warn('the registry of RabbitMQ could not be read', {
          error: toErrorBody(error).message,
        }),
      );
      this.#learn();
    }
    const { kind, name } = filter;
    return [...lines.values()].filter(
      (line) => (kind === undefined || line.kind === kind) && (name === undefined || line.name === name),
    );
  }

  async stats(lines: readonly Line[]): Promise<LineStats> {
    const total = { waiting: 0, delayed: 0, running: 0, waitingForFunction: 0, dead: 0, bytes: 0 };
    for (const line of lines as readonly RabbitLine[]) {
      const { names, consumer } = line;
      const queues = [names.queue, names.dead];
      const delays = levelsIn(line.delays).map((level) => names.delay(level));
      const absents = levelsIn(line.absents).map((level) => names.absent(level));
      const counts = (await this.#core.topology.counts([...queues, ...delays, ...absents])).map(
        ({ messages }) => messages,
      );
      const sum = (from: number, to: number): number => counts.slice(from, to).reduce((all, each) => all + each, 0);
      const { hand, running, absent } = consumer;
      const away = sum(2 + delays.length, counts.length);
      total.waiting += sum(0, 1) + away + Math.max(0, hand.size - running - hand.held);
      total.dead += sum(1, 2);
      total.delayed += sum(2, 2 + delays.length) + hand.held;
      total.running += running;
      total.waitingForFunction += away + absent + hand.parked;
      total.bytes += hand.bytes;
    }
    return total;
  }

  async openQueues(rules: ReadonlyMap<string, QueueRules>): Promise<ReadonlyMap<string, Line>> {
    const opened = new Map<string, RabbitLine>();
    for (const [name, rule] of rules) {
      const line = this.#line({ kind: 'queue', name, namespace: '', functionId: '' });
      const before = { serial: line.serial, rules: line.rules };
      const isNew = JSON.stringify(before.rules) !== JSON.stringify(rule);
      line.rules = rule;
      line.serial = rule.serial;
      opened.set(name, line);
      if ((rule.timeoutMs ?? 0) > MAX_RUN_MS && isNew) {
        this.#host.log.info('jobs of this queue have 25 min at most: RabbitMQ waits no longer for an acknowledgement', {
          queue: name,
        });
      }
      if (!this.#core.link.isUp || (line.isOurs && !isNew)) {
        line.isOurs = true;
        continue;
      }
      try {
        await this.#core.topology.line(line, rule.maxPriority);
      } catch (error) {
        Object.assign(line, before);
        throw error;
      }
      line.isOurs = true;
    }
    const unknown = [...opened.values()].filter((line) => !this.#core.registry.book.has(keyOf(line)));
    if (this.#core.link.isUp)
      await Promise.all(unknown.map((line) => this.#core.registry.update(line, (entry) => entry)));
    return opened;
  }

  async subscribe(spec: LineSpec, settings: SubscriptionSettings): Promise<Line> {
    const line = this.#line(spec);
    line.settings = settings;
    line.serial = settings.fifo || this.#core.config.queue_mode.toLowerCase() === 'fifo';
    line.endedAt = line.offlineSince = undefined;
    line.isOurs = line.isUnsaved = true;
    if (!this.#core.link.isUp) {
      this.#host.log.warn('a subscription is made when RabbitMQ is back', {
        topic: line.name,
        function: line.functionId,
      });
      return line;
    }
    await this.#core.topology.line(line, this.#topicPriority);
    await this.#register(line);
    return line;
  }

  async leave(from: Line, how: 'offline' | 'ended'): Promise<void> {
    const line = from as RabbitLine;
    const { topology, link } = this.#core;
    // Another engine may serve it still: it is not over.
    const [count] = link.isUp ? await topology.counts([line.names.queue]) : [];
    if ((count?.consumers ?? 0) > (line.consumer.isConsuming ? 1 : 0)) return;
    const now = this.#host.clock.now();
    if (how === 'ended') line.endedAt ??= now;
    else if (line.endedAt === undefined) line.offlineSince ??= now;
    line.isUnsaved = true;
    if (!link.isUp) return; // said at the reconnect
    if (how === 'ended') await topology.unbind(line);
    await this.#register(line);
  }

  async accept(to: Line, job: NewJob): Promise<Accepted> {
    const line = to as RabbitLine;
    const { extras } = job;
    if (extras?.priority !== undefined && !line.hasPriorities && this.#core.link.isUp) {
      throw enqueueError(
        `priority: queue '${line.name}' on RabbitMQ has no priorities. Set max_priority for it; if it is there already, ` +
          `let it run empty and delete it on the server, since its kind cannot be changed`,
      );
    }
    const receipt = job.receipt ?? this.#host.random.uuid();
    const { delayMs, runAt } = extras ?? {};
    const waitMs = delayMs ?? (runAt === undefined ? 0 : runAt - this.#host.clock.now());
    await this.#core.send(line, outgoing(job, receipt), waitMs);
    return { receipt, deduplicated: false };
  }

  async publish(message: Message): Promise<void> {
    const { topology, publisher, config, link } = this.#core;
    if (!link.isUp) throw enqueueError(link.detail);
    await topology.topic(message.topic);
    const priority = config.priority_field ? priorityOf(config.priority_field, message.data) : undefined;
    const encoded = encodeTopic(this.#host.random.uuid(), message, message.createdAt, priority);
    try {
      await publisher.publish(topicExchange(message.topic), '', encoded);
    } catch (error) {
      if (!(error instanceof NotRoutedError)) throw error;
      throw notSupported(
        'rabbitmq',
        'held_messages',
        `topic '${message.topic}' has no subscription that could take the message`,
      );
    }
  }

  async held(): Promise<ReadonlyMap<string, { readonly count: number; readonly bytes: number }>> {
    return new Map();
  }

  consume(line: Line, concurrency: number): void {
    (line as RabbitLine).consumer.setDemand(concurrency);
  }

  reserve(line: Line): Lease | undefined {
    return (line as RabbitLine).consumer.reserve();
  }

  settle(lease: Lease, decision: Decision): Promise<void> {
    return (lease.line as RabbitLine).consumer.settle((lease as RabbitLease).delivery, decision);
  }

  functionChanged(functionId: string, namespace: string, available: boolean): void {
    for (const { consumer } of this.#core.lines.values()) consumer.functionChanged(functionId, namespace, available);
  }

  browseDead(lines: readonly Line[], query: DeadQuery): Promise<DeadPage> {
    return this.#dead.browse(lines, query);
  }

  redrive(line: Line, options?: RedriveOptions): Promise<number> {
    return this.#dead.redrive(line as RabbitLine, options);
  }

  redriveOne(lines: readonly Line[], id: string, options?: RedriveOptions): Promise<boolean> {
    return this.#dead.redriveOne(lines, id, options);
  }

  discardOne(lines: readonly Line[], id: string): Promise<boolean> {
    return this.#dead.discardOne(lines, id);
  }

  editDead(
    lines: readonly Line[],
    id: string,
    change: { readonly data?: string | undefined; readonly functionId?: string | undefined },
  ): Promise<boolean> {
    return this.#dead.edit(lines, id, change);
  }

  /** On this engine; others go on. */
  async setPaused(of: Line, paused: boolean): Promise<void> {
    const line = of as RabbitLine;
    const { registry, engine } = this.#core;
    await registry.update(line, (entry) => {
      const others = entry.pausedBy.filter((other) => other !== engine);
      return { ...entry, pausedBy: paused ? [...others, engine] : others };
    });
    line.paused = paused;
    line.consumer.update();
    if (!paused) this.#core.events.ready(line);
  }

  async sweep(): Promise<void> {
    if (!this.#core.link.isUp) return;
    await this.lines();
    await sweepSubscriptions(this.#core, (line) => this.leave(line, 'ended'));
  }

  drain(): void {
    this.#core.draining = true;
  }

  async stop(): Promise<void> {
    if (this.#core.stopped) return;
    this.#core.draining = true;
    this.#core.stopped = true;
    await this.#core.link.stop(() =>
      Promise.all([...this.#core.lines.values()].map(({ consumer }) => consumer.close())),
    );
  }

  /** After each connect: the registry, then everything that this engine has opened. */
  async #declare(): Promise<void> {
    const { registry, topology, lines } = this.#core;
    topology.forget();
    await registry.declare();
    await registry.read();
    this.#learn();
    const ours = [...lines.values()].filter(({ isOurs }) => isOurs);
    for (const line of ours) {
      if (line.kind === 'queue') {
        await topology.line(line, line.rules?.maxPriority);
        if (!registry.book.has(keyOf(line))) await registry.update(line, (entry) => entry);
      } else {
        await topology.line(line, this.#topicPriority);
        if (line.endedAt !== undefined) await topology.unbind(line);
        await this.#register(line);
      }
    }
  }

  async #register(line: RabbitLine): Promise<void> {
    const { settings, endedAt, offlineSince } = line;
    const known = this.#core.registry.book.get(keyOf(line));
    const isKnown =
      known !== undefined &&
      known.endedAt === endedAt &&
      known.offlineSince === offlineSince &&
      JSON.stringify(known.settings) === JSON.stringify(settings);
    if (!isKnown) {
      await this.#core.registry.update(line, (entry) => ({ ...entry, settings, endedAt, offlineSince }));
    }
    if (line.endedAt === endedAt && line.offlineSince === offlineSince) line.isUnsaved = false;
  }

  #learn(): void {
    const { registry, lines, engine } = this.#core;
    for (const entry of registry.book.values()) {
      const line = this.#line(entry);
      const wasPaused = line.paused;
      line.learn(entry, engine);
      if (line.paused !== wasPaused) line.consumer.update();
      if (!line.isOurs && entry.settings !== undefined) line.serial = entry.settings.fifo;
    }
    for (const [key, line] of lines) if (!line.isOurs && !registry.book.has(key)) lines.delete(key);
  }

  #line(spec: LineSpec): RabbitLine {
    return this.#core.line(spec, (line) => (line.consumer = new LineConsumer(this.#core, line)));
  }

  get #topicPriority(): number | undefined {
    return this.#core.config.priority_field ? MAX_TOPIC_PRIORITY : undefined;
  }
}

/** What a delay was asked for is not carried on: the message itself says when it is due. */
function outgoing(job: NewJob, receipt: string): Outgoing {
  const { delayMs: _delay, runAt: _runAt, uniqueMs: _unique, ...extras } = job.extras ?? {};
  const has = Object.values(extras).some((value) => value !== undefined);
  return {
    receipt,
    functionId: job.functionId,
    namespace: job.namespace,
    group: job.group,
    data: job.data,
    metadata: job.metadata,
    traceparent: job.traceparent,
    baggage: job.baggage,
    createdAt: job.createdAt,
    maxAttempts: job.maxAttempts,
    backoffMs: job.backoffMs,
    extras: has ? extras : undefined,
    attempts: 0,
    lost: 0,
    failures: [],
  };
}

function priorityOf(field: string, data: string): number | undefined {
  const value = Number(memberText(data, field));
  return Number.isInteger(value) && value > 0 ? Math.min(value, MAX_TOPIC_PRIORITY) : undefined;
}
