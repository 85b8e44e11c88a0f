/** Jobs that end without running: cancelled, expired, purged, or done after all by a late answer. */
import type { DueRow, EndedRow, Found, JobRow } from '../../store.js';
import type { JobRecord, JobState, PurgeTarget } from '../index.js';
import { bounds } from './bounds.js';
import { failuresOf, NO_FAILURES, type BuiltinCore, type BuiltinLease } from './core.js';
import type { Delays } from './delays.js';
import { Expiries } from './expiries.js';
import type { Lane } from './lane.js';
import type { BuiltinLine } from './line.js';
import { seqOf } from './receipt.js';
import type { Windows } from './window.js';

/** Wait before a job that is neither here nor there is looked at again, in milliseconds. */
const LOOK_AGAIN_MS = 10;

export class Withdrawals {
  readonly #core: BuiltinCore;
  readonly #delays: Delays;
  readonly #windows: Windows;
  readonly #expiries: Expiries;

  constructor(core: BuiltinCore, delays: Delays, windows: Windows) {
    this.#core = core;
    this.#delays = delays;
    this.#windows = windows;
    this.#expiries = new Expiries(core, (seqs) => core.gate.run(() => this.#expire(seqs)));
  }

  /** What expires is told again. */
  forget(): void {
    this.#expiries.forget();
  }

  /** @param at - wall clock, milliseconds */
  expireAt(seq: number, at: number): void {
    this.#expiries.add(seq, at);
  }

  async find(receipt: string): Promise<Found | undefined> {
    return this.#core.store.read<Found | undefined>('find', receipt, seqOf(receipt));
  }

  async lookup(receipt: string): Promise<JobRecord | undefined> {
    const leased = this.#core.leases.get(seqOf(receipt));
    if (leased?.job.receipt === receipt) return runningRecord(leased);
    const ended = this.#core.ended.get(receipt);
    if (ended !== undefined) return ended;
    const found = await this.find(receipt);
    return found === undefined ? this.#core.ended.get(receipt) : this.#recordOf(found);
  }

  /** Takes a waiting or delayed job back. Answers the state it is in afterwards. */
  async cancel(receipt: string): Promise<JobState | undefined> {
    for (let looks = 1; ; looks++) {
      const found = await this.find(receipt);
      if (found?.kind !== 'job') return (await this.lookup(receipt))?.state;
      if (this.#core.leases.has(found.job.seq)) return 'running';
      const lane = this.#laneOf(found.job);
      if (lane === undefined) return undefined;
      if (await this.end(lane, found.job, 'cancelled')) return 'cancelled';
      // It moved while we looked: it runs, or it has ended.
      if (this.#core.leases.has(found.job.seq)) return 'running';
      await this.#core.store.read('load', []);
      const ended = this.#core.ended.get(receipt);
      if (ended !== undefined) return ended.state;
      // Its end is on its way to the disk, which may take its time.
      if (looks > 1) await this.#core.wait(LOOK_AGAIN_MS);
    }
  }

  /** Ends one job unless it runs or has ended. */
  end(lane: Lane, job: JobRow, state: JobState): Promise<boolean> {
    return this.#end(lane, job, state, job.size);
  }

  /** The handler answered after its lease had timed out. */
  async finishLate({ job, lane }: BuiltinLease): Promise<boolean> {
    if (this.#core.leases.has(job.seq)) return false;
    // What it waits for may be known to the store alone.
    const [row] = await this.#core.store.read<JobRow[]>('load', [job.seq]);
    return row !== undefined && this.#end(lane, row, 'done', row.size);
  }

  async #end(lane: Lane, job: JobRow, state: JobState, size: number): Promise<boolean> {
    const taken = await this.#take(lane, job);
    if (taken === undefined) return false;
    taken.lane.ending++;
    const { faults } = this.#core.gate;
    const ended = await this.#core.commitEnd<number[]>(taken.lane.line, 'endMany', [job.seq]);
    taken.lane.current.ending--;
    this.#delays.left(job.seq);
    void this.#settled(taken.lane, job.seq);
    // Of one that memory does not know only the store can say that it was there: it may be dead, or over.
    // (After a failure of the disk the answer may be that of a second try: then it is there no more, in any state.)
    const mayBeSecond = faults !== this.#core.gate.faults;
    if (!taken.inMemory && ended?.length === 0 && !(mayBeSecond && (await this.#isGone(job.receipt)))) {
      this.#core.wake(taken.lane);
      return false;
    }
    this.#core.record(taken.lane.line, job, state);
    this.#core.jobEnded(taken.lane, size);
    this.#core.wake(taken.lane);
    return true;
  }

  async #isGone(receipt: string): Promise<boolean> {
    return (await this.find(receipt)) === undefined && this.#core.ended.get(receipt) === undefined;
  }

  /** Drops what waits or is delayed. Answers how many jobs went. */
  async purge(line: BuiltinLine, what: Exclude<PurgeTarget, 'dead'>, state: JobState): Promise<number> {
    return what === 'delayed' ? this.#purgeDelayed(line, state) : this.dropOldest(line, Infinity, state);
  }

  /** Ends the oldest jobs of a line that do not run, up to `count`. */
  async dropOldest(line: BuiltinLine, count: number, state: JobState, countExpired = false): Promise<number> {
    let ended = 0;
    for (const lane of [...line.lanes.values()]) {
      while (ended < count) {
        await lane.loaded();
        const limit = Math.min(bounds.chunkJobs, count - ended);
        const dropped = lane.drop(limit);
        if (dropped.length > 0) {
          const seqs = dropped.map(({ seq }) => seq);
          lane.ending += dropped.length;
          for (const seq of seqs) this.#windows.withdrawn.add(seq); // a lane that is gathered meanwhile is read from its start
          if (countExpired) await this.#core.commitEnd(line, 'expire', line.id, seqs);
          else await this.#core.commitEnd(line, 'endMany', seqs);
          lane.current.ending -= dropped.length;
          for (const seq of seqs) void this.#settled(lane, seq);
          for (const job of dropped) {
            this.#core.record(line, job, state);
            this.#core.jobEnded(lane, job.data.length);
          }
          ended += dropped.length;
          this.#core.wake(lane);
          continue;
        }
        if (!lane.hasMoreStored || lane.merged) break;
        if (lane.knowsSome) {
          // Some of what is stored beyond the cursor may be running: a page knows which.
          await this.#windows.readPage(lane);
          continue;
        }
        // Nothing of the lane is in memory: what is stored beyond the cursor is nobody's yet.
        lane.startLoad();
        const rows = await this.#core
          .storeOf(line)
          .write<EndedRow[]>('endStored', lane.id, lane.cursor, limit, countExpired ? line.id : null)
          .finally(() => lane.endLoad());
        for (const row of rows) {
          this.#core.record(line, row, state);
          this.#core.jobEnded(lane, row.size);
        }
        ended += rows.length;
        const lastEnded = rows.at(-1)?.seq;
        if (lastEnded !== undefined) lane.cursor = Math.max(lane.cursor, lastEnded);
        if (rows.length < limit) {
          this.#core.wake(lane);
          break;
        }
      }
      if (ended >= count) break;
    }
    if (countExpired) line.expired += ended;
    return ended;
  }

  stop(): void {
    this.#expiries.stop();
  }

  async #purgeDelayed(line: BuiltinLine, state: JobState): Promise<number> {
    let ended = 0;
    for (const lane of [...line.lanes.values()]) {
      for (let after = -1; ;) {
        const due = await this.#core.store.read<DueRow[]>('postponed', lane.id, after, bounds.chunkJobs);
        if (due.length === 0) break;
        after = (due.at(-1) as DueRow).seq;
        // Read before they are taken: one that is damaged stays, until its time shows that it is gone.
        const found = await this.#core.store.read<JobRow[]>(
          'load',
          due.map(({ seq }) => seq),
        );
        const rows = found.filter((row) => this.#delays.removeStored(row, lane));
        const taken = rows.map(({ seq }) => seq);
        lane.current.ending += taken.length;
        await this.#core.commitEnd(line, 'endMany', taken);
        for (const seq of taken) this.#delays.left(seq);
        lane.current.ending -= taken.length;
        for (const row of rows) {
          this.#core.record(line, row, state);
          this.#core.jobEnded(lane, row.size);
        }
        this.#core.wake(lane);
        ended += rows.length;
      }
    }
    return ended;
  }

  async #expire(seqs: readonly number[]): Promise<void> {
    const rows = await this.#core.store.read<JobRow[]>('load', seqs);
    await Promise.all(
      rows.map(async (row) => {
        const lane = this.#laneOf(row);
        if (lane !== undefined) await this.end(lane, row, 'expired');
      }),
    );
  }

  /** Takes a job out of whatever it waits in. Answers its lane, or undefined when it runs or has ended. */
  async #take(from: Lane, row: JobRow): Promise<{ readonly lane: Lane; readonly inMemory: boolean } | undefined> {
    await from.current.loaded();
    const lane = from.current;
    const { seq } = row;
    if (this.#core.leases.has(seq)) return undefined;
    const { withdrawn } = this.#windows;
    if (withdrawn.has(seq)) return undefined;
    const inMemory = lane.remove(seq) !== undefined || this.#delays.removeStored(row, lane);
    if (!inMemory && (seq <= lane.cursor || seq > lane.last)) return undefined;
    // Also one from memory: if its lane lets go of the window before the commit, a page shows the job again.
    withdrawn.add(seq);
    return { lane, inMemory };
  }

  async #settled(lane: Lane, seq: number): Promise<void> {
    if (!this.#windows.withdrawn.has(seq)) return;
    await lane.current.loaded(); // a read that began before the commit
    this.#windows.withdrawn.delete(seq);
  }

  #laneOf(row: JobRow): Lane | undefined {
    return this.#delays.laneOf(row.seq) ?? this.#core.lanesById.get(row.lane)?.current;
  }

  #recordOf(found: Found): JobRecord | undefined {
    const nameOf = (id: number): Pick<JobRecord, 'kind' | 'name'> => {
      const line = this.#core.linesById.get(id);
      return { kind: line?.kind ?? 'queue', name: line?.name ?? '' };
    };
    if (found.kind === 'ended') {
      const { line, state, receipt, functionId, namespace, attempts, createdAt, endedAt, errors } = found.ended;
      return {
        ...nameOf(line),
        state: state as JobState,
        receipt,
        functionId,
        namespace,
        attempts,
        failures: failuresOf(errors),
        createdAt,
        endedAt,
      };
    }
    if (found.kind === 'dead') {
      const { line, receipt, functionId, namespace, attempts, createdAt, failedAt, error, errorCode, errors } =
        found.dead;
      return {
        ...nameOf(line),
        state: 'dead',
        receipt,
        functionId,
        namespace,
        attempts,
        failures: failuresOf(errors),
        createdAt,
        endedAt: failedAt,
        error,
        code: errorCode,
      };
    }
    const { job } = found;
    const leased = this.#core.leases.get(job.seq);
    if (leased !== undefined) return runningRecord(leased);
    const dueAt = this.#delays.dueAt(job);
    return {
      ...nameOf(job.line),
      state: dueAt === undefined ? 'waiting' : 'delayed',
      receipt: job.receipt,
      functionId: job.functionId,
      namespace: job.namespace,
      attempts: job.attempts,
      failures: job.errors === null ? NO_FAILURES : failuresOf(job.errors),
      createdAt: job.createdAt,
      dueAt,
    };
  }
}

function runningRecord({ job, line, startedAt }: BuiltinLease): JobRecord {
  return {
    state: 'running',
    receipt: job.receipt,
    kind: line.kind,
    name: line.name,
    functionId: job.functionId,
    namespace: job.namespace,
    attempts: job.attempts,
    failures: job.failures,
    createdAt: job.createdAt,
    startedAt,
  };
}
