/**
 * The postgres broker: jobs are rows, leases are rows, and any number of engines share them. What is
 * kept where: `tables.ts`; what happens in one transaction: `routines.ts`.
 *
 * A receipt is answered after COMMIT with `synchronous_commit = on`. No transaction is open while a
 * handler runs. While PostgreSQL is away nothing is accepted (an error at once), ends of jobs are kept
 * and stored when it is back, and an engine that starts waits for it in state `unreachable`.
 */
import { toErrorBody } from '@trine/protocol';
import type { WorkerHost } from '../../../../core/worker-host.js';
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
import type { PostgresConfig } from './config.js';
import { PgCore } from './core.js';
import { DeadLetters } from './dead.js';
import { Ends } from './ends.js';
import { isUnreachable } from './failures.js';
import { Inspection } from './inspection.js';
import { Intake } from './intake.js';
import { Leases } from './leases.js';
import type { PgLease, PgLine } from './line.js';
import { Lines } from './lines.js';
import { Server, type Query } from './server.js';
import { Messages } from './topics.js';
import { Upkeep } from './upkeep.js';
import { forgetWriters } from './writer.js';

/** How long a stopping engine waits for what is under way, in milliseconds. */
const STOP_TIMEOUT_MS = 5_000;
/** Wait before a subscription is made again while the server is away, in milliseconds. */
const SUBSCRIBE_AGAIN_MS = 250;

/** Opens the broker. A server that is away is no error: the broker starts without it and goes on trying. */
export async function openPostgres(host: WorkerHost, config: PostgresConfig, events: BrokerEvents): Promise<Broker> {
  const core = new PgCore(host, config, events);
  const broker = new PostgresBroker(core);
  core.server = await Server.create(host, config, broker.serverEvents);
  await core.server.connect();
  return broker;
}

class PostgresBroker implements Broker {
  readonly adapter = 'postgres';
  readonly capabilities = adapterCapabilities.postgres;
  readonly #core: PgCore;
  readonly #ends: Ends;
  readonly #leases: Leases;
  readonly #lines: Lines;
  readonly #intake: Intake;
  readonly #messages: Messages;
  readonly #dead: DeadLetters;
  readonly #inspection: Inspection;
  readonly #upkeep: Upkeep;
  #started = false;
  #loading: Promise<void> | undefined;

  readonly serverEvents = {
    connected: (query: Query): Promise<void> => this.#connected(query),
    ready: (): void => this.#ready(),
    lost: (): void => undefined,
    notified: (payload: string): void => this.#notified(payload),
  };

  constructor(core: PgCore) {
    this.#core = core;
    const stored = (lines: ReadonlySet<PgLine>, delayMs?: number): void => {
      for (const line of lines) this.#leases.wake(line);
      if (delayMs !== undefined) this.#upkeep.soon(delayMs);
    };
    this.#ends = new Ends(core, stored);
    this.#leases = new Leases(
      core,
      () => this.#ends.mayLease,
      (lease) => this.#ends.settle(lease, { kind: 'release', delayMs: 0 }, true),
    );
    const wake = (line: PgLine): void => this.#leases.wake(line, true);
    this.#lines = new Lines(core, this.#leases);
    this.#intake = new Intake(core, (lines, delayMs) => {
      for (const line of lines) wake(line);
      if (delayMs !== undefined) this.#upkeep.soon(delayMs);
    });
    this.#messages = new Messages(core, this.#lines, (lines) => {
      for (const line of lines) wake(line);
    });
    this.#dead = new DeadLetters(core, wake);
    this.#inspection = new Inspection(core, this.#leases, wake);
    this.#upkeep = new Upkeep(
      core,
      this.#leases,
      () => this.#lines.enter(core.server.query),
      async () => {
        await this.#lines.load(core.server.query);
        await this.#messages.countBacklogs();
      },
    );
  }

  health(): BrokerHealth {
    return this.#core.server.health();
  }

  lines(filter: { readonly kind?: LineSpec['kind']; readonly name?: string } = {}): Promise<readonly Line[]> {
    return this.#lines.list(filter);
  }

  stats(lines: readonly Line[]): Promise<LineStats> {
    return this.#inspection.stats(lines);
  }

  openQueues(rules: ReadonlyMap<string, QueueRules>): Promise<ReadonlyMap<string, Line>> {
    return this.#lines.open(rules);
  }

  /** Waits for a server that is away: a worker that comes meanwhile is served when it is back. */
  async subscribe(spec: LineSpec, settings: SubscriptionSettings): Promise<Line> {
    for (;;) {
      try {
        return await this.#lines.subscribe(spec, settings);
      } catch (error) {
        if (!isUnreachable(error) || this.#core.stopped) throw error;
        await new Promise<void>((go) => void this.#core.host.clock.setTimer(go, SUBSCRIBE_AGAIN_MS));
      }
    }
  }

  leave(line: Line, how: 'offline' | 'ended'): Promise<void> {
    return this.#lines.leave(line as PgLine, how);
  }

  accept(line: Line, job: NewJob): Promise<Accepted> {
    return this.#intake.accept(line as PgLine, job);
  }

  acceptMany(jobs: readonly { readonly line: Line; readonly job: NewJob }[]): Promise<readonly Accepted[]> {
    return this.#intake.acceptMany(jobs as readonly { readonly line: PgLine; readonly job: NewJob }[]);
  }

  publish(message: Message): Promise<void> {
    return this.#messages.publish(message);
  }

  held(): Promise<ReadonlyMap<string, { readonly count: number; readonly bytes: number }>> {
    return this.#messages.held();
  }

  consume(line: Line, concurrency: number): void {
    this.#leases.consume(line as PgLine, concurrency);
  }

  reserve(line: Line): Lease | undefined {
    return this.#leases.reserve(line as PgLine);
  }

  settle(lease: Lease, decision: Decision): Promise<void> {
    return this.#ends.settle(lease as PgLease, decision);
  }

  finishLate(lease: Lease): Promise<boolean> {
    return this.#ends.finishLate(lease as PgLease);
  }

  functionChanged(_functionId: string, _namespace: string, available: boolean): void {
    if (available) void this.#leases.look();
  }

  browseDead(lines: readonly Line[], query: DeadQuery): Promise<DeadPage> {
    return this.#dead.browse(lines, query);
  }

  redrive(line: Line, options?: RedriveOptions): Promise<number> {
    return this.#dead.redrive(line as PgLine, options);
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

  lookup(receipt: string): Promise<JobRecord | undefined> {
    return this.#inspection.lookup(receipt);
  }

  cancel(receipt: string): Promise<JobState | undefined> {
    return this.#inspection.cancel(receipt);
  }

  setPaused(line: Line, paused: boolean): Promise<void> {
    return this.#lines.setPaused(line as PgLine, paused);
  }

  purge(line: Line, what: PurgeTarget): Promise<number> {
    const own = line as PgLine;
    return what === 'dead' ? this.#dead.purge(own) : this.#inspection.purge(own, what);
  }

  peek(line: Line, limit: number): Promise<readonly Job[]> {
    return this.#inspection.peek(line as PgLine, limit);
  }

  replay(line: Line, sinceMs: number): Promise<number> {
    return this.#messages.replay(line as PgLine, sinceMs);
  }

  async sweep(): Promise<void> {
    this.#core.needServer();
    await this.#messages.sweep();
    await this.#dead.sweep();
    await this.#inspection.sweep();
    await forgetWriters(this.#core);
  }

  drain(): void {
    this.#core.draining = true;
    for (const line of this.#core.lines.values()) void this.#leases.giveBack(line);
  }

  async stop(): Promise<void> {
    const core = this.#core;
    if (core.stopped) return;
    this.drain();
    if (core.server.isReady) {
      const underWay = Promise.all([this.#ends.idle(), this.#intake.idle(), this.#messages.idle()]);
      await this.#inTime(underWay.then(() => this.#upkeep.leave()));
    }
    core.stopped = true;
    this.#upkeep.stop();
    this.#leases.stop();
    this.#ends.stop();
    this.#intake.stop();
    this.#messages.stop();
    await core.server.stop();
  }

  async #connected(query: Query): Promise<void> {
    await this.#upkeep.enter(query);
    await this.#lines.connected(query);
  }

  #ready(): void {
    if (!this.#started) this.#upkeep.start();
    else this.#upkeep.lookNow();
    this.#started = true;
    this.#ends.wake();
    this.#intake.wake();
    this.#messages.wake();
    this.#lines.changed();
  }

  /** `<engine>:<ids of lines>` or `<engine>:lines`. */
  #notified(payload: string): void {
    const [from, what = ''] = payload.split(':', 2);
    const core = this.#core;
    if (Number(from) === core.owner || core.stopped || !core.server.isReady) return;
    if (Number(from) !== 0) core.others = Math.max(1, core.others);
    const ids = what.split(',').map(Number);
    if (what === 'lines' || ids.some((id) => !core.linesById.has(id))) {
      this.#loading ??= this.#lines
        .load(core.server.query)
        .catch(() => undefined) // the next poll reads them
        .finally(() => {
          this.#loading = undefined;
          void this.#leases.look();
        });
      return;
    }
    for (const id of ids) {
      const line = core.linesById.get(id);
      if (line !== undefined) this.#leases.wake(line, true);
    }
    // From an application's own transaction: it may be delayed.
    if (Number(from) === 0) this.#upkeep.soon(0);
  }

  async #inTime(work: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((go) => {
      timer = setTimeout(go, STOP_TIMEOUT_MS);
    });
    const done = work.catch((error: unknown) => {
      this.#core.host.log.warn(
        'the engine could not take its leave of PostgreSQL: its jobs are free when its lease runs out',
        {
          error: toErrorBody(error).message,
        },
      );
    });
    await Promise.race([done, late]);
    clearTimeout(timer);
  }
}
