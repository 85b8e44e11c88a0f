/**
 * Accepts jobs.
 *
 * Hot path (`accept`): one store operation per job, no parse of a payload. Jobs that ask for more than
 * the usual (a delay, a unique key, a receipt of the client's) take another operation.
 */
import type { TrineError } from '@trine/protocol';
import { queueFull } from '../../errors.js';
import type { JobExtras } from '../../job.js';
import type { OptionsJob } from '../../store.js';
import type { Accepted, NewJob, NewJobExtras } from '../index.js';
import { NO_FAILURES, type BuiltinCore } from './core.js';
import type { Delays } from './delays.js';
import type { Lane } from './lane.js';
import type { BuiltinLine } from './line.js';
import type { Windows } from './window.js';
import type { Withdrawals } from './withdraw.js';

interface Prepared {
  readonly lane: Lane;
  readonly job: NewJob;
  readonly row: OptionsJob;
  readonly extras: JobExtras | undefined;
}

export class Intake {
  readonly #core: BuiltinCore;
  readonly #delays: Delays;
  readonly #windows: Windows;
  readonly #withdrawals: Withdrawals;

  constructor(core: BuiltinCore, delays: Delays, windows: Windows, withdrawals: Withdrawals) {
    this.#core = core;
    this.#delays = delays;
    this.#windows = windows;
    this.#withdrawals = withdrawals;
  }

  accept(line: BuiltinLine, job: NewJob): Promise<Accepted> {
    if (job.extras !== undefined || job.receipt !== undefined) return this.#acceptWithOptions(line, job);
    const core = this.#core;
    const full = this.#fullness(line, 1);
    if (full !== undefined) return Promise.reject(full);
    const { functionId, namespace, data, metadata, traceparent, baggage } = job;
    const group = job.group ?? (line.gathers ? '' : undefined);
    const { createdAt, maxAttempts, backoffMs } = job;
    const lane = core.laneOf(line, functionId, namespace, group);
    const seq = core.seqs();
    const receipt = core.receipt(seq);
    lane.count++;
    line.bytes += data.length;
    return core
      .storeOf(line)
      .write(
        'accept',
        seq,
        line.id,
        lane.id,
        receipt,
        functionId,
        namespace,
        group ?? null,
        data,
        metadata ?? null,
        traceparent ?? null,
        baggage ?? null,
        createdAt,
        maxAttempts,
        backoffMs,
      )
      .then(
        () => {
          this.accepted(lane, seq, receipt, job, undefined);
          return { receipt, deduplicated: false };
        },
        (error: unknown) => {
          this.#refused(lane, data.length);
          throw error;
        },
      );
  }

  async acceptMany(jobs: readonly { readonly line: BuiltinLine; readonly job: NewJob }[]): Promise<Accepted[]> {
    this.#checkRoom(jobs);
    const prepared = jobs.map(({ line, job }) => this.#prepare(line, job));
    try {
      // One transaction has the strongest promise of its jobs.
      const isNormal = jobs.every(({ line }) => line.rules?.durability === 'normal');
      const owners = await this.#core.storeFor(isNormal ? 'normal' : 'full').write<(string | null)[]>(
        'acceptMany',
        prepared.map(({ row }) => row),
        this.#core.host.clock.now(),
      );
      return prepared.map((each, i) => this.#finish(each, owners[i] ?? null));
    } catch (error) {
      for (const { lane, row } of prepared) {
        this.#core.unanswered.delete(row.seq);
        this.#refused(lane, row.data.length);
      }
      throw error;
    }
  }

  /** @throws TrineError `queue_full` */
  #checkRoom(jobs: readonly { readonly line: BuiltinLine }[]): void {
    const news = new Map<BuiltinLine, number>();
    for (const { line } of jobs) news.set(line, (news.get(line) ?? 0) + 1);
    for (const [line, count] of news) {
      const full = this.#fullness(line, count);
      if (full !== undefined) throw full;
    }
  }

  /** The accepting commit was answered: into memory if the lane has nothing older on disk and there is room. */
  accepted(from: Lane, seq: number, receipt: string, job: NewJob, extras: JobExtras | undefined): void {
    const lane = from.current;
    if (!this.#windows.keeps(lane, seq)) return;
    // Written out, not spread: this is the hot path, and a copy by spread costs several times more.
    lane.append({
      seq,
      receipt,
      jobId: undefined,
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
      extras,
      attempts: 0,
      lost: 0,
      redelivered: false,
      failures: NO_FAILURES,
    });
    this.#core.wake(lane);
  }

  async #acceptWithOptions(line: BuiltinLine, job: NewJob): Promise<Accepted> {
    // A client that says it again has its answer, also when the job is over.
    if (job.receipt !== undefined && this.#core.ended.get(job.receipt) !== undefined) {
      return { receipt: job.receipt, deduplicated: true };
    }
    const full = this.#fullness(line, 1);
    if (full !== undefined) throw full;
    const prepared = this.#prepare(line, job);
    try {
      const owner = await this.#core
        .storeOf(line)
        .write<string | null>('acceptWithOptions', prepared.row, this.#core.host.clock.now());
      return this.#finish(prepared, owner);
    } catch (error) {
      this.#core.unanswered.delete(prepared.row.seq);
      this.#refused(prepared.lane, job.data.length);
      throw error;
    }
  }

  #prepare(line: BuiltinLine, job: NewJob): Prepared {
    const core = this.#core;
    const { functionId, namespace, data } = job;
    const group = job.group ?? (line.gathers ? '' : undefined);
    const extras = keptExtras(job.extras);
    const lane = core.laneOf(line, functionId, namespace, group, extras);
    const seq = core.seqs();
    const delayMs = job.extras?.delayMs || undefined;
    const runAt = job.extras?.runAt ?? 0;
    const later = runAt > core.host.clock.now() ? runAt : null;
    const uniqueMs = job.extras?.uniqueMs;
    lane.count++;
    line.bytes += data.length;
    const row: OptionsJob = {
      seq,
      line: line.id,
      lane: lane.id,
      receipt: job.receipt ?? core.receipt(seq),
      functionId,
      namespace,
      group: group ?? null,
      data,
      metadata: job.metadata ?? null,
      traceparent: job.traceparent ?? null,
      baggage: job.baggage ?? null,
      createdAt: job.createdAt,
      maxAttempts: job.maxAttempts,
      backoffMs: job.backoffMs,
      due: delayMs === undefined ? later : core.now() + delayMs,
      delay: delayMs ?? null,
      options: extras === undefined ? null : JSON.stringify(extras),
      expiresAt: extras?.expiresAt ?? null,
      lookup: job.receipt ?? null,
      uniqueKey: extras?.uniqueKey ?? null,
      uniqueUntil: uniqueMs === undefined ? null : core.host.clock.now() + uniqueMs,
    };
    if (row.due !== null) core.unanswered.add(seq);
    return { lane, job, row, extras };
  }

  #finish({ lane: from, job, row, extras }: Prepared, owner: string | null): Accepted {
    const lane = from.current;
    this.#core.unanswered.delete(row.seq);
    if (owner !== null) {
      this.#refused(lane, row.data.length);
      return { receipt: owner, deduplicated: true };
    }
    if (extras?.expiresAt !== undefined) this.#withdrawals.expireAt(row.seq, extras.expiresAt);
    if (row.due === null) this.accepted(lane, row.seq, row.receipt, job, extras);
    else this.#delays.add(lane, row.seq, row.due, row.delay === null, undefined);
    return { receipt: row.receipt, deduplicated: false };
  }

  /** What keeps so many more jobs out of a line. */
  #fullness(line: BuiltinLine, count: number): TrineError | undefined {
    const max = line.rules?.maxWaiting;
    return max === undefined || line.waiting + count <= max ? undefined : queueFull(line.name, max);
  }

  #refused(from: Lane, length: number): void {
    this.#core.jobEnded(from.current, length);
  }
}

/** What stays with the job after it was accepted. */
function keptExtras(extras: NewJobExtras | undefined): JobExtras | undefined {
  if (extras === undefined) return undefined;
  const { priority, rateKey, uniqueKey, expiresAt, timeoutMs, backoffListMs, replayed } = extras;
  const kept: JobExtras = {
    ...(priority === undefined || priority === 0 ? {} : { priority }),
    ...(rateKey === undefined ? {} : { rateKey }),
    ...(uniqueKey === undefined ? {} : { uniqueKey }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(backoffListMs === undefined ? {} : { backoffListMs }),
    ...(replayed === undefined ? {} : { replayed }),
  };
  return Object.keys(kept).length === 0 ? undefined : kept;
}
