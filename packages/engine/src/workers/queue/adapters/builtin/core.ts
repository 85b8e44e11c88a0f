/**
 * What the parts of the built-in broker share: lines and lanes, who may run, what is leased, the
 * numbers, the store and the clock.
 */
import { toErrorBody, TrineError } from '@trine/protocol';
import type { Timer } from '../../../../core/clock.js';
import type { Durability, Store, StoreValue } from '../../../../core/store.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import type { Failure, Job, JobExtras } from '../../job.js';
import type { EndedRow, JobRow } from '../../store.js';
import type { BrokerEvents, JobState, Lease, LineSpec, QueueRules, SubscriptionSettings } from '../index.js';
import { bounds } from './bounds.js';
import { EndedJob, EndedJobs } from './ended-jobs.js';
import { Gate } from './gate.js';
import { Lane } from './lane.js';
import { BuiltinLine } from './line.js';
import { receiptFor } from './receipt.js';

/** Wait before an operation is tried again after a failure of the disk, in milliseconds. */
export const STORE_AGAIN_MS = 1_000;
/** Names of functions and namespaces that lanes share. */
const MAX_SHARED_NAMES = 1_000;
const CLOSED = 'storage_closed';
export const NO_FAILURES: readonly Failure[] = [];

export interface BuiltinLease extends Lease {
  readonly line: BuiltinLine;
  readonly lane: Lane;
  /** Wall clock, milliseconds. */
  readonly startedAt: number;
}

export class BuiltinCore {
  readonly host: WorkerHost;
  readonly store: Store;
  readonly #normal: Store;
  readonly events: BrokerEvents;
  /** Wall time at the start minus steady time: due times survive a restart and ignore a clock that is set. */
  readonly #offset: number;
  /** What was stored by an earlier run may have been delivered. */
  readonly #firstSeq: number;
  readonly lines = new Map<string, BuiltinLine>();
  readonly linesById = new Map<number, BuiltinLine>();
  readonly #subscriptions = new Map<string, BuiltinLine[]>();
  readonly #parked = new Map<string, Set<Lane>>();
  /** Also those that were merged into others. */
  readonly lanesById = new Map<number, Lane>();
  /** Delayed jobs whose accepting commit was not answered yet: the store may show them before. */
  readonly unanswered = new Set<number>();
  readonly leases = new Map<number, BuiltinLease>();
  readonly ended = new EndedJobs();
  readonly gate = new Gate();
  /** Jobs that were delivered and came back, which only memory knew when it was built anew. */
  readonly #handedOut = new Set<number>();
  readonly #names = new Map<string, string>();
  #nextSeq: number;
  #nextLane: number;
  #nextLine: number;
  #uncommittedEnds = 0;
  draining = false;
  stopped = false;
  /** The store refused an operation that is tried again. */
  degraded: string | undefined;

  constructor(
    host: WorkerHost,
    store: Store,
    offset: number,
    events: BrokerEvents,
    last: { readonly seq: number; readonly lane: number; readonly line: number },
  ) {
    this.host = host;
    this.store = store;
    this.#normal = store.as('normal');
    this.events = events;
    this.#offset = offset;
    this.#nextSeq = this.#firstSeq = last.seq + 1;
    this.#nextLane = last.lane + 1;
    this.#nextLine = last.line + 1;
  }

  /** The store, with the promise of a line. */
  storeOf(line: BuiltinLine): Store {
    const { durability } = line.kind === 'queue' ? (line.rules ?? NO_RULES) : this.events.topicRules(line.name);
    return this.storeFor(durability);
  }

  storeFor(durability: Durability | undefined): Store {
    return durability === 'normal' ? this.#normal : this.store;
  }

  /** Whole milliseconds that never go back while the engine runs. */
  readonly now = (): number => Math.round(this.#offset + this.host.clock.monotonic());

  /** Takes `count` numbers for jobs or messages; answers the first. */
  seqs(count = 1): number {
    const first = this.#nextSeq;
    this.#nextSeq += count;
    return first;
  }

  get lastSeq(): number {
    return this.#nextSeq - 1;
  }

  receipt(seq: number): string {
    return receiptFor(seq, this.host.random.uuid());
  }

  addLine(id: number | undefined, spec: LineSpec, settings: SubscriptionSettings | undefined): BuiltinLine {
    const line = new BuiltinLine(id ?? this.#nextLine++, spec, settings);
    this.lines.set(keyOf(spec), line);
    this.linesById.set(line.id, line);
    if (spec.kind === 'subscription') {
      const others = this.#subscriptions.get(spec.name);
      if (others === undefined) this.#subscriptions.set(spec.name, [line]);
      else others.push(line);
    }
    return line;
  }

  dropLine(line: BuiltinLine): void {
    this.lines.delete(keyOf(line));
    this.linesById.delete(line.id);
    const rest = this.subscriptionsOf(line.name).filter((other) => other !== line);
    if (rest.length > 0) this.#subscriptions.set(line.name, rest);
    else if (line.kind === 'subscription') this.#subscriptions.delete(line.name);
  }

  find(spec: LineSpec): BuiltinLine | undefined {
    return this.lines.get(keyOf(spec));
  }

  subscriptionsOf(topic: string): readonly BuiltinLine[] {
    return this.#subscriptions.get(topic) ?? NO_LINES;
  }

  laneOf(
    line: BuiltinLine,
    functionId: string,
    namespace: string,
    group: string | undefined,
    extras?: Pick<JobExtras, 'priority' | 'rateKey'>,
  ): Lane {
    const key = laneKey(functionId, namespace, group, extras);
    let lane = line.lanes.get(key);
    if (lane === undefined) {
      lane = this.newLane(line, functionId, namespace, key, group === undefined ? extras?.priority : undefined);
      lane.cursor = lane.last = this.#nextSeq - 1;
    }
    return lane;
  }

  newLane(
    line: BuiltinLine,
    functionId: string,
    namespace: string,
    key: string,
    priority = 0,
    id = this.#nextLane++,
  ): Lane {
    const lane = new Lane(id, line, {
      key,
      functionId: this.#name(functionId),
      namespace: this.#name(namespace),
      priority,
    });
    line.lanes.set(key, lane);
    this.lanesById.set(id, lane);
    return lane;
  }

  /** One text for all lanes that name the same: what comes from the storage thread is a copy each. */
  #name(text: string): string {
    const known = this.#names.get(text);
    if (known !== undefined) return known;
    if (this.#names.size >= MAX_SHARED_NAMES) this.#names.clear();
    this.#names.set(text, text);
    return text;
  }

  /** A job that is not in memory any more; whoever reads it again is told whether it was delivered. */
  forget({ seq, redelivered }: Job): void {
    if (redelivered && seq >= this.#firstSeq) this.#handedOut.add(seq);
  }

  jobOf(row: JobRow): Job {
    const wasHandedOut = this.#handedOut.size > 0 && this.#handedOut.delete(row.seq);
    return {
      seq: row.seq,
      receipt: row.receipt,
      jobId: row.jobId ?? undefined,
      functionId: row.functionId,
      namespace: row.namespace,
      group: row.group ?? undefined,
      data: row.data,
      metadata: row.metadata ?? undefined,
      traceparent: row.traceparent ?? undefined,
      baggage: row.baggage ?? undefined,
      createdAt: row.createdAt,
      maxAttempts: row.maxAttempts,
      backoffMs: row.backoffMs,
      extras: extrasOf(row.options),
      attempts: row.attempts,
      lost: row.lost,
      redelivered: row.seq < this.#firstSeq || row.attempts > 0 || row.lost > 0 || wasHandedOut,
      failures: failuresOf(row.errors),
    };
  }

  /** Something about a lane changed: it may run now. */
  wake(lane: Lane): void {
    if (this.enqueue(lane.current)) this.events.ready(lane.line);
  }

  /** Several lanes may run now: all stand in their rounds before the first is asked for, so that the highest priority goes first. */
  wakeAll(lanes: Iterable<Lane>): void {
    const lines = new Set<BuiltinLine>();
    for (const lane of lanes) if (this.enqueue(lane)) lines.add(lane.line);
    for (const line of lines) this.events.ready(line);
  }

  enqueue(lane: Lane): boolean {
    if (lane.parkedOn !== undefined || lane.blocked || lane.loading || lane.merged || !lane.mayRun) return false;
    if (!lane.queued) {
      lane.queued = true;
      lane.line.enter(lane);
    }
    return true;
  }

  /** What keeps the lane's next job waiting. */
  missing(lane: Lane): { readonly functionId: string; readonly namespace: string } | undefined {
    const next = lane.peek() ?? lane;
    return this.events.missing(lane.line, next.functionId, next.namespace);
  }

  /** The lane waits for a function: its window is let go, so that it takes no room of those that run. */
  park(lane: Lane, functionId: string, namespace: string): void {
    const key = functionKey(functionId, namespace);
    lane.parkedOn = key;
    lane.unload();
    const lanes = this.#parked.get(key);
    if (lanes === undefined) this.#parked.set(key, new Set([lane]));
    else lanes.add(lane);
  }

  unpark(lane: Lane): void {
    if (lane.parkedOn === undefined) return;
    const lanes = this.#parked.get(lane.parkedOn);
    lanes?.delete(lane);
    if (lanes?.size === 0) this.#parked.delete(lane.parkedOn);
    lane.parkedOn = undefined;
  }

  parkedOn(functionId: string, namespace: string): readonly Lane[] {
    return [...(this.#parked.get(functionKey(functionId, namespace)) ?? [])];
  }

  /** A job of a lane has ended, or was never stored. (Its lane may have been merged into another meanwhile.) */
  uncount(from: Lane): void {
    const lane = from.current;
    if (--lane.count <= 0) this.dropLane(lane);
  }

  /** A lane has no jobs any more. */
  dropLane(lane: Lane): void {
    this.unpark(lane);
    lane.dropped = true;
    lane.forget();
    this.lanesById.delete(lane.id);
    const { lanes } = lane.line;
    if (lanes.get(lane.key) === lane) lanes.delete(lane.key);
    else for (const [key, other] of lanes) if (other === lane) lanes.delete(key);
    if (lanes.size === 0) lane.line.bytes = 0;
  }

  /** A job that is in no other count has ended. */
  jobEnded(lane: Lane, length: number): void {
    lane.line.bytes -= length;
    this.uncount(lane);
  }

  record(line: BuiltinLine, job: Job | EndedRow, state: JobState, startedAt?: number): void {
    const { receipt, functionId, namespace, attempts, createdAt } = job;
    const failures = 'failures' in job ? job.failures : NO_FAILURES;
    const endedAt = this.host.clock.now();
    this.ended.add(
      new EndedJob(line, state, receipt, functionId, namespace, attempts, failures, createdAt, startedAt, endedAt),
    );
  }

  get mayLease(): boolean {
    return !this.draining && this.gate.isOpen && this.#uncommittedEnds < bounds.uncommittedEnds;
  }

  /**
   * Stores an end, for as long as it takes: what happened to a job is never forgotten while the engine
   * runs. Answers what the store did, or undefined when that is closed.
   */
  async commitEnd<T = unknown>(
    line: BuiltinLine,
    operation: string,
    ...args: readonly StoreValue[]
  ): Promise<T | undefined> {
    const store = this.storeOf(line);
    this.#uncommittedEnds++;
    let answer: T;
    for (;;) {
      const { reopens } = this.gate;
      try {
        answer = await store.write<T>(operation, ...args);
        this.degraded = undefined;
        break;
      } catch (error) {
        if (this.stopped || isClosed(error)) return undefined;
        this.gate.failed(error, reopens);
        this.degraded = toErrorBody(error).message;
        this.host.log.error('the end of a job could not be stored: trying again', { error: this.degraded });
        await this.wait(STORE_AGAIN_MS);
      }
    }
    if (this.#uncommittedEnds-- === bounds.uncommittedEnds) {
      for (const line of this.lines.values()) this.events.ready(line);
    }
    return answer;
  }

  wait(ms: number): Promise<void> {
    return new Promise((go) => void this.host.clock.setTimer(go, ms));
  }

  setTimer(run: () => void, ms: number): Timer {
    return this.host.clock.setTimer(run, ms);
  }
}

const NO_RULES: Pick<QueueRules, 'durability'> = {};
const NO_LINES: readonly BuiltinLine[] = [];

export function keyOf({ kind, name, namespace, functionId }: LineSpec): string {
  return `${kind}\u0000${name}\u0000${namespace}\u0000${functionId}`;
}

/**
 * A group is one sequence, whatever its functions and rate keys; without groups each function has its
 * own, one for each priority and rate key.
 */
export function laneKey(
  functionId: string,
  namespace: string,
  group: string | undefined,
  extras?: Pick<JobExtras, 'priority' | 'rateKey'>,
): string {
  if (group !== undefined) return `g\u0000${group}`;
  const key = `f\u0000${namespace}\u0000${functionId}`;
  if (extras === undefined || (extras.priority === undefined && extras.rateKey === undefined)) return key;
  return `${key}\u0000${extras.priority ?? 0}\u0000${extras.rateKey ?? ''}`;
}

function functionKey(functionId: string, namespace: string): string {
  return `${namespace}\u0000${functionId}`;
}

export function extrasOf(options: string | null): JobExtras | undefined {
  return options === null ? undefined : (JSON.parse(options) as JobExtras);
}

export function failuresOf(errors: string | null): readonly Failure[] {
  return errors === null ? NO_FAILURES : (JSON.parse(errors) as readonly Failure[]);
}

export function textOfFailures(failures: readonly Failure[]): string | null {
  return failures.length === 0 ? null : JSON.stringify(failures);
}

export function isClosed(error: unknown): boolean {
  return error instanceof TrineError && error.code === CLOSED;
}
