/**
 * Jobs that run later. Relative delays are measured by the steady clock, `run_at` by the wall clock.
 *
 *   delayed -> ready     when due
 *   delayed -> reading   due, its payload is on disk only
 *   reading -> ready
 *   delayed, reading -> dropped   withdrawn meanwhile
 */
import { toErrorBody } from '@trine/protocol';
import type { Job } from '../../job.js';
import type { JobRow } from '../../store.js';
import { Alarm, type Entry } from './alarm.js';
import { bounds } from './bounds.js';
import { isClosed, STORE_AGAIN_MS, type BuiltinCore } from './core.js';
import type { Lane } from './lane.js';
import type { BuiltinLine } from './line.js';

export interface Delayed extends Entry {
  readonly lane: Lane;
  job: Job | undefined;
  /** `due` is a time of the wall clock. */
  readonly wall: boolean;
}

export class Delays {
  readonly #core: BuiltinCore;
  readonly #steady: Alarm<Delayed>;
  readonly #wall: Alarm<Delayed>;
  readonly #bySeq = new Map<number, Delayed>();
  readonly #kept = new Map<BuiltinLine, number>();

  constructor(core: BuiltinCore) {
    this.#core = core;
    const run = (due: readonly Delayed[]): void => this.#promote(due);
    this.#steady = new Alarm(core.host.clock, core.now, run);
    this.#wall = new Alarm(core.host.clock, () => core.host.clock.now(), run);
  }

  /** A job runs when it is due; it counts as delayed in its lane from here on. */
  add(lane: Lane, seq: number, due: number, wall: boolean, job: Job | undefined): void {
    const kept = job === undefined ? bounds.keptDelayed : (this.#kept.get(lane.line) ?? 0);
    const keep = kept < bounds.keptDelayed;
    if (keep) this.#kept.set(lane.line, kept + 1);
    lane.delayed++;
    const entry: Delayed = { due, seq, lane, job: keep ? job : undefined, wall, dropped: false };
    this.#bySeq.set(seq, entry);
    (wall ? this.#wall : this.#steady).push(entry);
  }

  /** A job that is not running any more runs again after a delay. */
  postpone(lane: Lane, job: Job, delayMs: number): void {
    if (delayMs > 0) this.add(lane, job.seq, this.#core.now() + delayMs, false, job);
    else lane.front.push(job);
    this.#core.wake(lane);
  }

  get(seq: number): Delayed | undefined {
    return this.#bySeq.get(seq);
  }

  /** Takes a delayed job out. */
  remove(seq: number): boolean {
    const entry = this.#bySeq.get(seq);
    if (entry === undefined) return false;
    this.#bySeq.delete(seq);
    this.#let(entry);
    (entry.wall ? this.#wall : this.#steady).drop(entry);
    entry.lane.current.delayed--;
    return true;
  }

  /** The delayed jobs of a line, in no order. */
  of(line: BuiltinLine): number[] {
    const seqs: number[] = [];
    for (const { seq, lane } of this.#bySeq.values()) if (lane.line === line) seqs.push(seq);
    return seqs;
  }

  stop(): void {
    this.#steady.stop();
    this.#wall.stop();
  }

  #let(entry: Delayed): void {
    if (entry.job === undefined) return;
    const { line } = entry.lane;
    const kept = (this.#kept.get(line) ?? 1) - 1;
    if (kept > 0) this.#kept.set(line, kept);
    else this.#kept.delete(line);
  }

  #promote(due: readonly Delayed[]): void {
    const unread: Delayed[] = [];
    for (const entry of due) {
      this.#let(entry);
      if (entry.job === undefined) unread.push(entry);
      else this.#due(entry, entry.job);
    }
    for (let i = 0; i < unread.length; i += bounds.chunkJobs) void this.#read(unread.slice(i, i + bounds.chunkJobs));
  }

  async #read(entries: readonly Delayed[]): Promise<void> {
    try {
      const rows = await this.#core.store.read<JobRow[]>(
        'load',
        entries.map((entry) => entry.seq),
      );
      const bySeq = new Map(rows.map((row) => [row.seq, row]));
      for (const entry of entries) {
        if (entry.dropped) continue;
        const row = bySeq.get(entry.seq);
        if (row !== undefined) {
          this.#due(entry, this.#core.jobOf(row));
          continue;
        }
        const lane = entry.lane.current;
        this.#core.host.log.error('a postponed job is missing in the store', { queue: lane.line.name, seq: entry.seq });
        this.#bySeq.delete(entry.seq);
        lane.delayed--;
        this.#core.uncount(lane);
        this.#core.wake(lane);
      }
    } catch (error) {
      if (isClosed(error)) return;
      this.#core.host.log.error('postponed jobs could not be read from the store: trying again', {
        error: toErrorBody(error).message,
      });
      this.#core.setTimer(() => void this.#read(entries), STORE_AGAIN_MS);
    }
  }

  #due(entry: Delayed, job: Job): void {
    this.#bySeq.delete(entry.seq);
    const lane = entry.lane.current;
    lane.delayed--;
    lane.front.push(job);
    this.#core.wake(lane);
  }
}
