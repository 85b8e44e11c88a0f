/**
 * The broker on Redis: jobs, leases, limits and subscriptions live there, shared by all engines of one
 * prefix; every move is one Lua script (`lua/`). This engine holds what it runs, and nothing that waits.
 */
import type { WorkerHost } from '../../../../core/worker-host.js';
import {
  DEFAULT_PREFIX,
  DEFAULT_REDIS_URL,
  RedisConnection,
  RedisFailure,
  type RedisSession,
} from '../../../../redis/index.js';
import type { Decision, Job } from '../../job.js';
import { adapterCapabilities } from '../capabilities.js';
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
import { DEFAULT_LEASE_MS, type RedisQueueConfig } from './config.js';
import { CHUNK, RedisCore } from './core.js';
import { DeadStore } from './dead.js';
import { Fetcher } from './fetcher.js';
import { Inspection } from './inspection.js';
import { Intake } from './intake.js';
import { Leases } from './leases.js';
import type { RedisLease, RedisLine } from './line.js';
import { TopicStore } from './topics.js';

/** How long the start waits for a server that is away, in milliseconds; then the engine starts without it. */
export const START_WAIT_MS = 5_000;
/** How long a stop waits for ends that are being stored, in milliseconds. */
const STOP_WAIT_MS = 2_000;

/**
 * Opens the broker. A server that is away or refuses is told by `health` and tried again until it is
 * there: the engine starts without it.
 *
 * @param time - Lua that tells the time, for tests; the server's clock otherwise
 * @throws Error that says what to install, when the driver is missing
 */
export async function openRedis(
  host: WorkerHost,
  config: RedisQueueConfig,
  events: BrokerEvents,
  time?: string,
): Promise<Broker> {
  const core = new RedisCore(
    host,
    events,
    config?.prefix ?? DEFAULT_PREFIX,
    config?.lease_ms ?? DEFAULT_LEASE_MS,
    time,
  );
  const broker = new RedisBroker(core);
  await broker.open(config?.redis_url ?? DEFAULT_REDIS_URL);
  return broker;
}

class RedisBroker implements Broker {
  readonly adapter = 'redis';
  readonly capabilities = adapterCapabilities.redis;
  readonly #core: RedisCore;
  readonly #fetcher: Fetcher;
  readonly #leases: Leases;
  readonly #intake: Intake;
  readonly #topics: TopicStore;
  readonly #dead: DeadStore;
  readonly #inspection: Inspection;

  constructor(core: RedisCore) {
    this.#core = core;
    this.#fetcher = new Fetcher(core);
    this.#leases = new Leases(core);
    this.#topics = new TopicStore(core, this.#fetcher);
    this.#intake = new Intake(core);
    this.#dead = new DeadStore(core);
    core.reopen = () => this.#makeAgain(core.connection);
    this.#inspection = new Inspection(core, this.#fetcher, this.#topics);
  }

  async open(url: string): Promise<void> {
    const core = this.#core;
    const { host, scripts, base } = core;
    core.connection = await RedisConnection.open({
      url,
      worker: 'queue',
      projectDir: host.projectDir,
      log: host.log,
      clock: host.clock,
      scripts: Object.values(scripts),
      durable: true,
      attach: (session) => this.#attach(session),
      ready: () => this.#fetcher.lookAtAll(),
      message: (_channel, lineId) => {
        const line = core.lines.get(lineId);
        if (line !== undefined) this.#fetcher.look(line);
      },
    });
    await core.connection.subscribe(`${base}wake`);
    await core.connection.whenReady(START_WAIT_MS);
  }

  health(): BrokerHealth {
    return this.#core.connection.health();
  }

  async lines(filter: { readonly kind?: LineSpec['kind']; readonly name?: string } = {}): Promise<readonly Line[]> {
    const core = this.#core;
    const rows = (await core.run(core.scripts.lines, [])) as [string, (string | null)[]][];
    const lines = rows.map(([, fields]) => this.#known(fields));
    const { kind, name } = filter;
    return lines
      .filter((line) => (kind === undefined || line.kind === kind) && (name === undefined || line.name === name))
      .sort((a, b) => a.since - b.since);
  }

  stats(lines: readonly Line[]): Promise<LineStats> {
    return this.#inspection.stats(lines as readonly RedisLine[]);
  }

  async openQueues(rules: ReadonlyMap<string, QueueRules>): Promise<ReadonlyMap<string, Line>> {
    const lines = new Map<string, RedisLine>();
    for (const [name, queueRules] of rules) {
      const line = this.#core.line({ kind: 'queue', name, namespace: '', functionId: '' });
      line.rules = queueRules;
      line.serial = queueRules.serial;
      lines.set(name, line);
    }
    try {
      await this.#open([...lines.values()], this.#core.connection);
    } catch (error) {
      if (!(error instanceof RedisFailure)) throw error;
      this.#core.host.log.warn('queues will be made when Redis is back', { error: error.message });
    }
    return lines;
  }

  subscribe(spec: LineSpec, settings: SubscriptionSettings): Promise<Line> {
    return this.#topics.subscribe(spec, settings);
  }

  leave(line: Line, how: 'offline' | 'ended'): Promise<void> {
    return this.#topics.leave(line as RedisLine, how);
  }

  async accept(line: Line, job: NewJob): Promise<Accepted> {
    const [accepted] = await this.#intake.acceptMany([{ line: line as RedisLine, job }]);
    return accepted as Accepted;
  }

  acceptMany(jobs: readonly { readonly line: Line; readonly job: NewJob }[]): Promise<Accepted[]> {
    return this.#intake.acceptMany(jobs as readonly { readonly line: RedisLine; readonly job: NewJob }[]);
  }

  publish(message: Message): Promise<void> {
    return this.#topics.publish(message);
  }

  held(): Promise<ReadonlyMap<string, { readonly count: number; readonly bytes: number }>> {
    return this.#topics.held();
  }

  consume(line: Line, concurrency: number): void {
    const own = line as RedisLine;
    own.concurrency = concurrency;
    const tooMany = own.leased + own.atHand.length - concurrency;
    if (tooMany > 0) void this.#fetcher.giveBack(own.atHand.splice(Math.max(0, own.atHand.length - tooMany)));
    this.#fetcher.look(own);
  }

  reserve(line: Line): Lease | undefined {
    const own = line as RedisLine;
    const core = this.#core;
    if (core.draining) return undefined;
    for (let lease = own.atHand.shift(); lease !== undefined; lease = own.atHand.shift()) {
      if (own.paused || this.#mayNotRun(lease)) {
        void this.#fetcher.giveBack([lease]);
        continue;
      }
      own.wanting = false;
      own.leased++;
      lease.startedAt = core.host.clock.now();
      return lease;
    }
    this.#fetcher.wanted(own);
    return undefined;
  }

  /** Whoever ends a job wants another one: the next comes with the answer. */
  settle(lease: Lease, decision: Decision): Promise<void> {
    const settled = this.#leases.settle(lease as RedisLease, decision);
    this.#fetcher.wanted(lease.line as RedisLine);
    return settled;
  }

  finishLate(lease: Lease): Promise<boolean> {
    return this.#leases.finishLate(lease as RedisLease);
  }

  functionChanged(_functionId: string, _namespace: string, available: boolean): void {
    if (available) this.#fetcher.functionChanged();
  }

  browseDead(lines: readonly Line[], query: DeadQuery): Promise<DeadPage> {
    return this.#dead.browse(lines as readonly RedisLine[], query);
  }

  redrive(line: Line, options?: RedriveOptions): Promise<number> {
    return this.#dead.redrive(line as RedisLine, options);
  }

  redriveOne(lines: readonly Line[], id: string, options?: RedriveOptions): Promise<boolean> {
    return this.#dead.redriveOne(lines, id, options);
  }

  discardOne(lines: readonly Line[], id: string): Promise<boolean> {
    return this.#dead.discard(lines, id);
  }

  editDead(
    lines: readonly Line[],
    id: string,
    change: { readonly data?: string | undefined; readonly functionId?: string | undefined },
  ): Promise<boolean> {
    return this.#dead.edit(lines, id, change);
  }

  lookup(receipt: string): Promise<JobRecord | undefined> {
    return this.#inspection.lookup(receipt);
  }

  cancel(receipt: string): Promise<JobState | undefined> {
    return this.#inspection.cancel(receipt);
  }

  setPaused(line: Line, paused: boolean): Promise<void> {
    return this.#inspection.setPaused(line as RedisLine, paused);
  }

  purge(line: Line, what: PurgeTarget): Promise<number> {
    return this.#inspection.purge(line as RedisLine, what);
  }

  peek(line: Line, limit: number): Promise<readonly Job[]> {
    return this.#inspection.peek(line as RedisLine, limit);
  }

  replay(line: Line, sinceMs: number): Promise<number> {
    return this.#topics.replay(line as RedisLine, sinceMs);
  }

  async sweep(): Promise<void> {
    if (!this.#core.connection.isReady) return;
    await this.#topics.sweep();
    for (const line of await this.lines()) await this.#topics.sweepLine(line as RedisLine);
  }

  drain(): void {
    this.#core.draining = true;
  }

  async stop(): Promise<void> {
    const core = this.#core;
    if (core.stopped) return;
    core.draining = true;
    this.#fetcher.stop();
    this.#leases.stop();
    for (const { fetching } of core.lines.values()) await fetching;
    await core.settled(STOP_WAIT_MS);
    core.stopped = true;
    if (core.connection.isReady) {
      await this.#leases.releaseAll();
      const consumed = [...core.lines.values()].filter((line) => line.consumed);
      await Promise.allSettled(consumed.map(({ id }) => core.run(core.scripts.leave, [id, core.engine, 'offline'])));
    }
    core.connection.close();
  }

  #mayNotRun({ line, job, expiresAt, lost }: RedisLease): boolean {
    const { events, host } = this.#core;
    if (lost || events.missing(line, job.functionId, job.namespace) !== undefined) return true;
    return expiresAt !== undefined && expiresAt <= host.clock.now();
  }

  /** A new connection, maybe to a server that knows nothing of us. */
  async #attach(session: RedisSession): Promise<void> {
    await this.#makeAgain(session);
    for (const line of this.#core.lines.values()) if (line.concurrency > 0) await this.#leases.reclaim(line, session);
  }

  /**
   * Makes lines again where the server does not know them. Nothing is taken back here: on a connection that lives,
   * leases may be on their way to us that we do not hold yet.
   */
  async #makeAgain(session: RedisSession): Promise<void> {
    const lines = [...this.#core.lines.values()];
    for (const line of lines) line.version = ''; // of another server, maybe
    await this.#leases.renew(session);
    await this.#topics.leaveAll(session);
    await this.#open(
      lines.filter(({ rules }) => rules !== undefined),
      session,
    );
    for (const line of lines) if (line.consumed) await this.#topics.renew(line, session);
  }

  async #open(lines: readonly RedisLine[], session: RedisSession): Promise<void> {
    const core = this.#core;
    if (lines.length === 0) return;
    const args = lines.flatMap(({ id, name, rules }) => {
      const { serial, rate, ratePerKey, globalConcurrency, keepEndedMs, keepEndedCount, keepDeadMs } =
        rules as QueueRules;
      const limits = [
        rate?.max ?? 0,
        rate?.perMs ?? 0,
        ratePerKey?.max ?? 0,
        ratePerKey?.perMs ?? 0,
        globalConcurrency ?? 0,
      ];
      return [id, name, serial ? 1 : 0, ...limits, keepEndedMs, keepEndedCount, keepDeadMs];
    });
    const answers = (await core.run(core.scripts.open, args, session)) as [string, number][];
    for (const [i, [paused, gather]] of answers.entries()) {
      const line = lines[i] as RedisLine;
      line.paused = paused === '1';
      if (gather === 1) while (((await core.run(core.scripts.gather, [line.id, CHUNK], session)) as number) > 0);
      this.#fetcher.look(line);
    }
  }

  /** A line as Redis describes it. */
  #known([kind, name, ns, fn, settings, serial, paused, offline, ended, expired, since]: readonly (
    string | null
  )[]): RedisLine {
    const spec = { kind: kind as LineSpec['kind'], name: name ?? '', namespace: ns ?? '', functionId: fn ?? '' };
    const line = this.#core.line(spec);
    if (!line.consumed && settings) line.settings = JSON.parse(settings) as SubscriptionSettings;
    line.serial = serial === '1';
    line.paused = paused === '1';
    line.offlineSince = offline ? Number(offline) : undefined;
    line.endedAt = ended ? Number(ended) : undefined;
    line.expired = Number(expired ?? 0);
    line.since = Number(since ?? 0);
    return line;
  }
}
