/**
 * The built-in broker as the queue sees it: one broker on disk and, as soon as a queue or topic is
 * configured with `durability: memory`, one in memory that ends with the engine. A line belongs to one
 * of them. (`full` and `normal` are the same broker: only what a commit waits for differs.)
 */
import { builtUrl } from '../../../../core/built-url.js';
import type { Store } from '../../../../core/store.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import type { Decision, Job } from '../../job.js';
import type {
  Accepted,
  Broker,
  BrokerEvents,
  BrokerHealth,
  DeadPage,
  DeadQuery,
  JobRecord,
  JobState,
  Lease,
  Line,
  LineSpec,
  LineStats,
  Message,
  NewJob,
  PurgeTarget,
  QueueRules,
  RedriveOptions,
  SubscriptionSettings,
} from '../index.js';
import { mixedBatch } from '../../errors.js';
import { adapterCapabilities } from '../capabilities.js';
import { openBroker, type BuiltinBroker } from './broker.js';

/** @param file - SQLite file; undefined = the engine's own; `:memory:` keeps everything in memory */
export async function openBuiltin(host: WorkerHost, file: string | undefined, events: BrokerEvents): Promise<Broker> {
  const store = await host.storage.open({
    module: builtUrl(import.meta.url, '../../store.js'),
    ...(file === undefined ? {} : { file }),
  });
  const disk = await openBroker(host, store, events);
  return file === ':memory:' ? disk : new BrokerByDurability(host, store, events, disk);
}

type Filter = { readonly kind?: LineSpec['kind']; readonly name?: string };

class BrokerByDurability implements Broker {
  readonly adapter = 'builtin';
  readonly capabilities = adapterCapabilities.builtin;
  readonly #host: WorkerHost;
  readonly #store: Store;
  readonly #events: BrokerEvents;
  readonly #disk: BuiltinBroker;
  #opening: Promise<BuiltinBroker> | undefined;
  #memory: BuiltinBroker | undefined;
  #isDraining = false;

  constructor(host: WorkerHost, store: Store, events: BrokerEvents, disk: BuiltinBroker) {
    this.#host = host;
    this.#store = store;
    this.#events = events;
    this.#disk = disk;
  }

  health(): BrokerHealth {
    return this.#disk.health();
  }

  async lines(filter?: Filter): Promise<readonly Line[]> {
    const onDisk = await this.#disk.lines(filter);
    return this.#memory === undefined ? onDisk : [...onDisk, ...(await this.#memory.lines(filter))];
  }

  async stats(lines: readonly Line[]): Promise<LineStats> {
    const [onDisk, inMemory] = this.#split(lines, (line) => line);
    const stats = await this.#disk.stats(onDisk);
    if (inMemory.length === 0 || this.#memory === undefined) return stats;
    const more = await this.#memory.stats(inMemory);
    const sum = { ...stats };
    for (const key of Object.keys(sum) as (keyof LineStats)[]) sum[key] += more[key];
    return sum;
  }

  async openQueues(rules: ReadonlyMap<string, QueueRules>): Promise<ReadonlyMap<string, Line>> {
    const inMemory = new Map([...rules].filter(([, { durability }]) => durability === 'memory'));
    const onDisk = new Map([...rules].filter(([name]) => !inMemory.has(name)));
    await this.#checkMoves(onDisk.keys());
    const lines = new Map(await this.#disk.openQueues(onDisk));
    if (inMemory.size === 0) return lines;
    const memory = await this.#inMemory();
    for (const [name, line] of await memory.openQueues(inMemory)) lines.set(name, line);
    await this.#tellLeft(inMemory.keys());
    return lines;
  }

  subscribe(spec: LineSpec, settings: SubscriptionSettings): Promise<Line> {
    return this.#ofTopic(spec.name, (broker) => broker.subscribe(spec, settings));
  }

  leave(line: Line, how: 'offline' | 'ended'): Promise<void> {
    return this.#of(line).leave(line, how);
  }

  accept(line: Line, job: NewJob): Promise<Accepted> {
    return this.#of(line).accept(line, job);
  }

  async acceptMany(jobs: readonly { readonly line: Line; readonly job: NewJob }[]): Promise<readonly Accepted[]> {
    const [onDisk, inMemory] = this.#split(jobs, ({ line }) => line);
    if (inMemory.length === 0 || this.#memory === undefined) return this.#disk.acceptMany(jobs);
    if (onDisk.length > 0) throw mixedBatch();
    return this.#memory.acceptMany(jobs);
  }

  publish(message: Message): Promise<void> {
    return this.#ofTopic(message.topic, (broker) => broker.publish(message));
  }

  async held(): Promise<ReadonlyMap<string, { readonly count: number; readonly bytes: number }>> {
    const onDisk = await this.#disk.held();
    return this.#memory === undefined ? onDisk : new Map([...onDisk, ...(await this.#memory.held())]);
  }

  consume(line: Line): void {
    this.#of(line).consume(line);
  }

  reserve(line: Line): Lease | undefined {
    return this.#of(line).reserve(line);
  }

  settle(lease: Lease, decision: Decision): Promise<void> {
    return this.#of(lease.line).settle(lease, decision);
  }

  functionChanged(functionId: string, namespace: string, available: boolean): void {
    this.#disk.functionChanged(functionId, namespace, available);
    this.#memory?.functionChanged(functionId, namespace, available);
  }

  async browseDead(lines: readonly Line[], query: DeadQuery): Promise<DeadPage> {
    const [onDisk, inMemory] = this.#split(lines, (line) => line);
    const first = await this.#disk.browseDead(onDisk, query);
    if (inMemory.length === 0 || this.#memory === undefined) return first;
    if (onDisk.length === 0) return this.#memory.browseDead(inMemory, query);
    const { offset, limit } = query;
    const left = first.cut ? 0 : limit - first.letters.length;
    const rest = { ...query, offset: Math.max(0, offset - first.total), limit: left };
    const second = await this.#memory.browseDead(inMemory, rest);
    return {
      letters: [...first.letters, ...second.letters],
      total: first.total + second.total,
      cut: first.cut || second.cut,
    };
  }

  redrive(line: Line, options?: RedriveOptions): Promise<number> {
    return this.#of(line).redrive(line, options);
  }

  redriveOne(lines: readonly Line[], id: string, options?: RedriveOptions): Promise<boolean> {
    return this.#either(lines, (broker, own) => broker.redriveOne(own, id, options));
  }

  discardOne(lines: readonly Line[], id: string): Promise<boolean> {
    return this.#either(lines, (broker, own) => broker.discardOne(own, id));
  }

  editDead(lines: readonly Line[], id: string, change: Parameters<BuiltinBroker['editDead']>[2]): Promise<boolean> {
    return this.#either(lines, (broker, own) => broker.editDead(own, id, change));
  }

  finishLate(lease: Lease): Promise<boolean> {
    return this.#of(lease.line).finishLate(lease);
  }

  async lookup(receipt: string): Promise<JobRecord | undefined> {
    return (await this.#memory?.lookup(receipt)) ?? this.#disk.lookup(receipt);
  }

  async cancel(receipt: string): Promise<JobState | undefined> {
    return (await this.#memory?.cancel(receipt)) ?? this.#disk.cancel(receipt);
  }

  setPaused(line: Line, paused: boolean): Promise<void> {
    return this.#of(line).setPaused(line, paused);
  }

  purge(line: Line, what: PurgeTarget): Promise<number> {
    return this.#of(line).purge(line, what);
  }

  peek(line: Line, limit: number): Promise<readonly Job[]> {
    return this.#of(line).peek(line, limit);
  }

  replay(line: Line, sinceMs: number): Promise<number> {
    return this.#of(line).replay(line, sinceMs);
  }

  async sweep(): Promise<void> {
    await this.#disk.sweep();
    await this.#memory?.sweep();
  }

  drain(): void {
    this.#isDraining = true;
    this.#disk.drain();
    this.#memory?.drain();
  }

  async stop(): Promise<void> {
    this.drain();
    await this.#memory?.stop();
    await this.#disk.stop();
  }

  #of(line: Line): BuiltinBroker {
    return this.#memory?.owns(line) === true ? this.#memory : this.#disk;
  }

  /** At once where that is possible: what comes to a topic keeps its order. */
  #ofTopic<T>(topic: string, run: (broker: BuiltinBroker) => Promise<T>): Promise<T> {
    if (this.#events.topicRules(topic).durability !== 'memory') return run(this.#disk);
    return this.#memory === undefined ? this.#inMemory().then(run) : run(this.#memory);
  }

  async #inMemory(): Promise<BuiltinBroker> {
    // It is closed with the store that it belongs to.
    const store: Store = { ...this.#store.as('memory'), close: () => Promise.resolve() };
    this.#opening ??= openBroker(this.#host, store, this.#events);
    this.#memory = await this.#opening;
    if (this.#isDraining) this.#memory.drain();
    return this.#memory;
  }

  #split<T>(all: readonly T[], lineOf: (each: T) => Line): [onDisk: readonly T[], inMemory: readonly T[]] {
    const memory = this.#memory;
    if (memory === undefined) return [all, []];
    return [all.filter((each) => !memory.owns(lineOf(each))), all.filter((each) => memory.owns(lineOf(each)))];
  }

  async #either(
    lines: readonly Line[],
    run: (broker: BuiltinBroker, own: readonly Line[]) => Promise<boolean>,
  ): Promise<boolean> {
    const [onDisk, inMemory] = this.#split(lines, (line) => line);
    if (onDisk.length > 0 && (await run(this.#disk, onDisk))) return true;
    return inMemory.length > 0 && this.#memory !== undefined && run(this.#memory, inMemory);
  }

  /** @throws Error when a queue that has jobs in memory is to be on disk: they would be forgotten */
  async #checkMoves(names: Iterable<string>): Promise<void> {
    for (const name of this.#memory === undefined ? [] : names) {
      const { waiting, delayed, running, dead } = await this.#statsOf(this.#memory as BuiltinBroker, name);
      if (waiting + delayed + running + dead === 0) continue;
      throw new Error(
        `queue_configs.${name}.durability: the queue has ${waiting + delayed + running} jobs and ${dead} dead letters in memory: let them run or purge them first`,
      );
    }
  }

  async #tellLeft(names: Iterable<string>): Promise<void> {
    for (const name of names) {
      const { waiting, delayed, running } = await this.#statsOf(this.#disk, name);
      if (waiting + delayed + running === 0) continue;
      this.#host.log.warn('a queue is in memory now, and its jobs on disk wait until its durability is set back', {
        queue: name,
        jobs: waiting + delayed + running,
      });
    }
  }

  async #statsOf(broker: BuiltinBroker, name: string): Promise<LineStats> {
    return broker.stats(await broker.lines({ kind: 'queue', name }));
  }
}
