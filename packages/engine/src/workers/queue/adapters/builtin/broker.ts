/**
 * The built-in broker: SQLite behind the storage thread, leases and a bounded window of ready jobs in
 * memory. One engine owns the file.
 *
 * Hot path (`accept`, `reserve`, `settle`): one store operation per accepted and per ended job, no
 * parse of a payload, no timer per job. Guarded by the enqueue row of the benchmarks.
 *
 * When the file had failed and is open again, memory is built anew from it: `gate.ts` says when,
 * `rebuild.ts` how. What would change memory or disk goes through the gate.
 *
 * Order: the store runs operations in the order of the calls, so sequence numbers are committed in
 * order and a lane's `last` only grows.
 */
import type { Store } from '../../../../core/store.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import type { Decision, Job } from '../../job.js';
import type { Snapshot } from '../../store.js';
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
import { BuiltinCore, textOfFailures, type BuiltinLease } from './core.js';
import { DeadStore } from './dead.js';
import { Delays } from './delays.js';
import { Intake } from './intake.js';
import type { Lane } from './lane.js';
import type { BuiltinLine } from './line.js';
import { load } from './load.js';
import { Pauses } from './pauses.js';
import { QueueRulesBook } from './queue-rules.js';
import { rebuild } from './rebuild.js';
import { TopicStore } from './topics.js';
import { Windows } from './window.js';
import { Withdrawals } from './withdraw.js';

/** The broker of one store. */
export async function openBroker(host: WorkerHost, store: Store, events: BrokerEvents): Promise<BuiltinBroker> {
  const offset = host.clock.now() - host.clock.monotonic();
  await store.write('start', Math.round(offset + host.clock.monotonic()));
  const snapshot = await store.read<Snapshot>('snapshot');
  const core = new BuiltinCore(host, store, offset, events, {
    seq: snapshot.lastSeq,
    lane: snapshot.lastLane,
    line: snapshot.lines.at(-1)?.id ?? 0,
  });
  const broker = new BuiltinBroker(core);
  await broker.open(snapshot);
  return broker;
}

export class BuiltinBroker implements Broker {
  readonly adapter = 'builtin';
  readonly capabilities = adapterCapabilities.builtin;
  readonly #core: BuiltinCore;
  readonly #windows: Windows;
  readonly #delays: Delays;
  readonly #withdrawals: Withdrawals;
  readonly #intake: Intake;
  readonly #topics: TopicStore;
  readonly #dead: DeadStore;
  readonly #pauses: Pauses;
  readonly #rules: QueueRulesBook;

  constructor(core: BuiltinCore) {
    this.#core = core;
    this.#windows = new Windows(core);
    this.#delays = new Delays(core);
    this.#withdrawals = new Withdrawals(core, this.#delays, this.#windows);
    this.#intake = new Intake(core, this.#delays, this.#windows, this.#withdrawals);
    this.#topics = new TopicStore(core, this.#intake, this.#withdrawals);
    this.#dead = new DeadStore(core);
    this.#pauses = new Pauses(core);
    this.#rules = new QueueRulesBook(core, this.#delays);
  }

  /** Subscriptions that were live when the engine went down are offline until their workers are back. */
  open(snapshot: Snapshot): Promise<void> {
    this.#core.store.onReopened(() => void this.#reopened());
    return this.#core.gate.run(() => this.#open(snapshot));
  }

  async #open(snapshot: Snapshot): Promise<void> {
    const core = this.#core;
    const parts = load(snapshot, core, this.#withdrawals, this.#topics);
    for (const [into, others] of parts) await core.commitEnd(into.line, 'join', into.id, others);
    for (const lane of core.lanesById.values()) core.enqueue(lane);
    await this.#delays.start();
    const unmarked = [...this.#core.lines.values()].filter(
      ({ kind, offlineSince, endedAt }) =>
        kind === 'subscription' && offlineSince === undefined && endedAt === undefined,
    );
    await Promise.all(unmarked.map((line) => this.#topics.leave(line, 'offline')));
  }

  health(): BrokerHealth {
    const degraded = this.#core.degraded ?? this.#core.gate.reason;
    return degraded === undefined ? { state: 'ready' } : { state: 'degraded', detail: degraded };
  }

  /** Is a line one of this broker's? */
  owns(line: Line): boolean {
    return this.#core.linesById.get((line as BuiltinLine).id) === line;
  }

  async lines(filter: { readonly kind?: LineSpec['kind']; readonly name?: string } = {}): Promise<readonly Line[]> {
    const { kind, name } = filter;
    if (kind === 'queue' && name !== undefined) {
      const line = this.#core.find({ kind, name, namespace: '', functionId: '' });
      return line === undefined ? [] : [line];
    }
    return [...this.#core.lines.values()].filter(
      (line) => (kind === undefined || line.kind === kind) && (name === undefined || line.name === name),
    );
  }

  async stats(lines: readonly Line[]): Promise<LineStats> {
    const total = { waiting: 0, delayed: 0, running: 0, waitingForFunction: 0, dead: 0, bytes: 0 };
    for (const line of lines) {
      const stats = (line as BuiltinLine).stats((lane) => this.#core.missing(lane) !== undefined);
      for (const key of Object.keys(total) as (keyof LineStats)[]) total[key] += stats[key];
    }
    return total;
  }

  openQueues(rules: ReadonlyMap<string, QueueRules>): Promise<ReadonlyMap<string, Line>> {
    return this.#core.gate.run(() => this.#rules.open(rules));
  }

  subscribe(spec: LineSpec, settings: SubscriptionSettings): Promise<Line> {
    return this.#core.gate.run(() => this.#topics.subscribe(spec, settings));
  }

  leave(line: Line, how: 'offline' | 'ended'): Promise<void> {
    return this.#core.gate.run(() => this.#topics.leave(this.#current(line), how));
  }

  accept(line: Line, job: NewJob): Promise<Accepted> {
    return this.#core.gate.run(() => this.#intake.accept(line as BuiltinLine, job));
  }

  acceptMany(jobs: readonly { readonly line: Line; readonly job: NewJob }[]): Promise<Accepted[]> {
    const own = jobs as readonly { readonly line: BuiltinLine; readonly job: NewJob }[];
    return this.#core.gate.run(() => this.#intake.acceptMany(own));
  }

  publish(message: Message): Promise<void> {
    return this.#core.gate.run(() => this.#topics.publish(message));
  }

  async held(): Promise<ReadonlyMap<string, { readonly count: number; readonly bytes: number }>> {
    return this.#topics.held;
  }

  consume(line: Line): void {
    const lanes = [...(line as BuiltinLine).lanes.values()];
    for (const lane of lanes) this.#core.unpark(lane);
    this.#core.wakeAll(lanes);
  }

  reserve(line: Line): Lease | undefined {
    const core = this.#core;
    const own = line as BuiltinLine;
    if (!core.mayLease || own.paused) return undefined;
    const { limiter } = own;
    if (own.leased >= (own.rules?.globalConcurrency ?? Infinity)) return undefined;
    if (limiter !== undefined && this.#pauses.lineWaits(own, limiter)) return undefined;
    for (;;) {
      const lane = own.next();
      if (lane === undefined) return undefined;
      lane.queued = false;
      if (!lane.mayRun || lane.loading || lane.blocked || lane.merged) continue;
      const missing = core.missing(lane);
      if (missing !== undefined) {
        core.park(lane, missing.functionId, missing.namespace);
        continue;
      }
      const next = lane.peek();
      if (next === undefined) {
        void this.#windows.readPage(lane);
        continue;
      }
      if (limiter !== undefined && this.#pauses.laneWaits(lane, next.extras?.rateKey, limiter)) continue;
      const job = lane.take() as Job;
      if (job.extras?.expiresAt !== undefined && job.extras.expiresAt <= core.host.clock.now()) {
        void core.gate.run(() => this.#expired(lane, job));
        core.enqueue(lane);
        continue;
      }
      return this.#lease(own, lane, job);
    }
  }

  settle(lease: Lease, decision: Decision): Promise<void> {
    return this.#core.gate.run(() => this.#settle(lease, decision));
  }

  async #settle(lease: Lease, decision: Decision): Promise<void> {
    const { job, lane: from } = lease as BuiltinLease;
    const core = this.#core;
    if (core.stopped) return;
    const { line } = from;
    line.leased--;
    if (decision.kind === 'release') {
      const lane = from.current;
      job.redelivered = true;
      core.leases.delete(job.seq);
      lane.running--;
      this.#delays.postpone(lane, job, core.now() + decision.delayMs, false);
      return;
    }
    // A serial lane goes on when this is committed, another one when the answer is here.
    const held = line.serial;
    if (!held) {
      from.current.running--;
      from.current.ending++;
    }
    if (decision.kind === 'postpone') {
      const due = core.now() + decision.delayMs;
      job.attempts = decision.attempts;
      job.lost = decision.lost;
      job.failures = decision.failures;
      job.redelivered = true;
      await core.commitEnd(
        line,
        'postpone',
        job.seq,
        due,
        decision.delayMs,
        job.attempts,
        job.lost,
        textOfFailures(job.failures),
      );
      this.#left(from, job, held);
      this.#delays.postpone(from.current, job, due, true);
      return;
    }
    if (!held) core.wake(from.current);
    if (decision.kind === 'done') {
      await this.#commitDone(line, job);
      core.record(line, job, 'done', (lease as BuiltinLease).startedAt);
    } else {
      await this.#commitDead(line, job, decision);
      this.#dead.added(line);
    }
    this.#left(from, job, held);
    core.jobEnded(from.current, job.data.length);
    core.wake(from.current);
  }

  functionChanged(functionId: string, namespace: string, available: boolean): void {
    if (!available) return;
    const lanes = this.#core.parkedOn(functionId, namespace);
    for (const lane of lanes) this.#core.unpark(lane);
    this.#core.wakeAll(lanes);
  }

  browseDead(lines: readonly Line[], query: DeadQuery): Promise<DeadPage> {
    return this.#dead.browse(lines, query);
  }

  redrive(line: Line, options?: RedriveOptions): Promise<number> {
    return this.#core.gate.run(() => this.#dead.redrive(this.#current(line), options));
  }

  redriveOne(lines: readonly Line[], id: string, options?: RedriveOptions): Promise<boolean> {
    return this.#core.gate.run(() => this.#dead.redriveOne(lines, id, options));
  }

  discardOne(lines: readonly Line[], id: string): Promise<boolean> {
    return this.#core.gate.run(() => this.#dead.discardOne(lines, id));
  }

  editDead(
    lines: readonly Line[],
    id: string,
    change: { readonly data?: string | undefined; readonly functionId?: string | undefined },
  ): Promise<boolean> {
    return this.#core.gate.run(() => this.#dead.edit(lines, id, change));
  }

  finishLate(lease: Lease): Promise<boolean> {
    return this.#core.gate.run(() => this.#withdrawals.finishLate(lease as BuiltinLease));
  }

  lookup(receipt: string): Promise<JobRecord | undefined> {
    return this.#withdrawals.lookup(receipt);
  }

  cancel(receipt: string): Promise<JobState | undefined> {
    return this.#core.gate.run(() => this.#withdrawals.cancel(receipt));
  }

  setPaused(line: Line, paused: boolean): Promise<void> {
    return this.#core.gate.run(() => this.#setPaused(this.#current(line), paused));
  }

  async #setPaused(own: BuiltinLine, paused: boolean): Promise<void> {
    await this.#core.store.write('setPaused', own.id, paused ? 1 : 0);
    own.paused = paused;
    if (!paused) this.#core.events.ready(own);
  }

  purge(line: Line, what: PurgeTarget): Promise<number> {
    return this.#core.gate.run(() => {
      const own = this.#current(line);
      return what === 'dead' ? this.#dead.purge(own) : this.#withdrawals.purge(own, what, 'purged');
    });
  }

  peek(line: Line, limit: number): Promise<readonly Job[]> {
    return this.#windows.peek(line as BuiltinLine, limit);
  }

  replay(line: Line, sinceMs: number): Promise<number> {
    return this.#core.gate.run(() => this.#topics.replay(this.#current(line), sinceMs));
  }

  sweep(): Promise<void> {
    return this.#core.gate.run(() => this.#sweep());
  }

  async #sweep(): Promise<void> {
    const core = this.#core;
    const now = core.host.clock.now();
    await this.#topics.sweep();
    await this.#dead.sweep();
    await core.store.write('dropUnique', now);
    for (const line of [...core.lines.values()]) {
      // A queue that is not configured keeps what it has.
      if (line.rules === undefined) continue;
      const { keepEndedMs, keepEndedCount } = line.rules;
      await core.store.write('forgetEnded', line.id, now - keepEndedMs, keepEndedCount);
    }
  }

  drain(): void {
    this.#core.draining = true;
  }

  async stop(): Promise<void> {
    if (this.#core.stopped) return;
    this.#core.draining = true;
    // Answers that waited for the file go to it before it is closed.
    this.#core.gate.stop();
    this.#core.stopped = true;
    this.#delays.stop();
    this.#withdrawals.stop();
    this.#pauses.stop();
    await this.#core.store.close();
  }

  /** A line whose creation ended with an error, and which the disk kept, is another object than the one that was given up. */
  #current(line: Line): BuiltinLine {
    const own = line as BuiltinLine;
    return this.#core.linesById.get(own.id) ?? own;
  }

  async #reopened(): Promise<void> {
    const core = this.#core;
    const parts = {
      core,
      windows: this.#windows,
      delays: this.#delays,
      withdrawals: this.#withdrawals,
      topics: this.#topics,
      rules: this.#rules,
    };
    await core.gate.reopened(() => rebuild(parts));
    core.wakeAll(core.lanesById.values());
    for (const line of core.lines.values()) core.events.ready(line);
  }

  #lease(line: BuiltinLine, lane: Lane, job: Job): Lease {
    const core = this.#core;
    lane.running++;
    line.leased++;
    line.limiter?.start(job.extras?.rateKey, core.now());
    const lease: BuiltinLease = { job, line, lane, startedAt: core.host.clock.now() };
    core.leases.set(job.seq, lease);
    core.enqueue(lane);
    return lease;
  }

  /** The end of a lease is committed: its job is in no lane's count of what runs. */
  #left(from: Lane, job: Job, held: boolean): void {
    this.#core.leases.delete(job.seq);
    const lane = from.current;
    if (held) lane.running--;
    else lane.ending--;
  }

  #commitDone(line: BuiltinLine, job: Job): Promise<unknown> {
    const { keepEndedMs = 0, keepEndedCount = 0 } = line.rules ?? {};
    if (keepEndedMs > 0 && keepEndedCount > 0) {
      const now = this.#core.host.clock.now();
      return this.#core.commitEnd(
        line,
        'endKept',
        job.seq,
        'done',
        job.attempts,
        textOfFailures(job.failures),
        now,
        keepEndedCount,
        line.id,
        now - keepEndedMs,
      );
    }
    return this.#core.commitEnd(line, job.extras?.uniqueKey === undefined ? 'end' : 'endWithOptions', job.seq);
  }

  #commitDead(
    line: BuiltinLine,
    job: Job,
    { attempts, failures, error, code }: Extract<Decision, { kind: 'dead' }>,
  ): Promise<unknown> {
    const { host } = this.#core;
    const id = job.jobId ?? host.random.uuid();
    return this.#core.commitEnd(
      line,
      'deadLetter',
      job.seq,
      id,
      attempts,
      textOfFailures(failures),
      error,
      code,
      host.clock.now(),
    );
  }

  /** A job whose time had passed when its turn came. */
  async #expired(from: Lane, job: Job): Promise<void> {
    from.ending++;
    await this.#core.commitEnd(from.line, 'endMany', [job.seq]);
    const lane = from.current;
    lane.ending--;
    this.#core.record(lane.line, job, 'expired');
    this.#core.jobEnded(lane, job.data.length);
    this.#core.wake(lane);
  }
}
