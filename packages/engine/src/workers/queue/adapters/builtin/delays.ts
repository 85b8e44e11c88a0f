/**
 * Jobs that run later. Relative delays are measured by the steady clock, `run_at` by the wall clock.
 *
 *   stored  -> delayed   its time comes into view: memory holds the next ones of each clock
 *   delayed -> ready     when due
 *   delayed -> reading   due, its payload is on disk only
 *   reading -> ready
 *   stored, delayed, reading -> dropped   withdrawn meanwhile
 */
import { toErrorBody } from '@trine/protocol';
import type { Job } from '../../job.js';
import type { JobRow } from '../../store.js';
import type { Entry } from './alarm.js';
import { bounds } from './bounds.js';
import { isClosed, STORE_AGAIN_MS, type BuiltinCore } from './core.js';
import { DueWindow } from './due-window.js';
import type { Lane } from './lane.js';
import type { BuiltinLine } from './line.js';

export interface Delayed extends Entry {
  readonly lane: Lane;
  job: Job | undefined;
  /** `due` is a time of the wall clock. */
  readonly wall: boolean;
  /** The store knows its time. If not, it stays in memory. */
  readonly stored: boolean;
}

export class Delays {
  readonly #core: BuiltinCore;
  readonly #steady: DueWindow;
  readonly #wall: DueWindow;
  readonly #kept = new Map<BuiltinLine, number>();
  /** Withdrawn, and still on disk: a read that shows them is not to be believed. */
  readonly #leaving = new Set<number>();

  constructor(core: BuiltinCore) {
    this.#core = core;
    const run = (due: readonly Delayed[]): void => this.#promote(due);
    const evict = (entry: Delayed): void => this.#let(entry);
    const isHeld = (seq: number): boolean => this.#get(seq) !== undefined || this.#leaving.has(seq);
    this.#steady = new DueWindow(core, false, core.now, run, evict, isHeld);
    this.#wall = new DueWindow(core, true, () => core.host.clock.now(), run, evict, isHeld);
  }

  /** Looks at the first of those that the store has. Lanes have counted theirs. */
  async start(): Promise<void> {
    await Promise.all([this.#steady.start(), this.#wall.start()]);
  }

  /** A job runs when it is due; it counts as delayed in its lane from here on. The store has its time. */
  add(lane: Lane, seq: number, due: number, wall: boolean, job: Job | undefined, stored = true): void {
    lane.delayed++;
    const kept = job === undefined ? bounds.keptDelayed : (this.#kept.get(lane.line) ?? 0);
    const keep = !stored || kept < bounds.keptDelayed;
    const entry: Delayed = { due, seq, lane, job: keep ? job : undefined, wall, stored, dropped: false };
    if (!(wall ? this.#wall : this.#steady).add(entry)) return;
    if (entry.job !== undefined) this.#kept.set(lane.line, (this.#kept.get(lane.line) ?? 0) + 1);
  }

  /** A job that is not running any more runs again at a time of the steady clock. @param stored - the store has its time */
  postpone(lane: Lane, job: Job, due: number, stored: boolean): void {
    // One whose time has come while it was stored, but is not in view yet, waits for its turn as well.
    if (due > this.#core.now() || (stored && this.#steady.isBeyond(due, job.seq)))
      this.add(lane, job.seq, due, false, job, stored);
    else {
      if (stored) this.#steady.pass(due);
      lane.front.push(job);
    }
    this.#core.wake(lane);
  }

  /** When a job is due: one in memory, or a stored one that is told as it is on disk. */
  dueAt({ seq, due, delay }: Pick<JobRow, 'seq' | 'due' | 'delay'>): number | undefined {
    const entry = this.#get(seq);
    if (entry !== undefined) return entry.due;
    const window = delay === null ? this.#wall : this.#steady;
    return due !== null && window.isBeyond(due, seq) ? due : undefined;
  }

  laneOf(seq: number): Lane | undefined {
    return this.#get(seq)?.lane.current;
  }

  /** Takes a delayed job out. */
  remove(seq: number): boolean {
    const entry = this.#get(seq);
    if (entry === undefined) return false;
    this.#let(entry);
    (entry.wall ? this.#wall : this.#steady).remove(entry);
    entry.lane.current.delayed--;
    return true;
  }

  /** Takes a delayed job out that may be in the store alone; `left` says when it is gone from there. */
  removeStored(
    row: { readonly seq: number; readonly due: number | null; readonly delay: number | null },
    lane: Lane,
  ): boolean {
    if (this.#leaving.has(row.seq)) return false;
    if (!this.remove(row.seq)) {
      const window = row.delay === null ? this.#wall : this.#steady;
      if (row.due === null || !window.isBeyond(row.due, row.seq)) return false;
      lane.current.delayed--;
    }
    this.#leaving.add(row.seq);
    return true;
  }

  /** The end of one that was taken out is committed. */
  left(seq: number): void {
    if (!this.#leaving.delete(seq)) return;
    this.#steady.left(seq);
    this.#wall.left(seq);
  }

  /** Jobs whose wait only memory knows: of all lanes, or of one. */
  unstored(of?: Lane): readonly number[] {
    const entries = this.#steady.unstored();
    return entries.filter(({ lane }) => of === undefined || lane.current === of).map(({ seq }) => seq);
  }

  /** Lets go of all whose times the store has; `start` reads them again. */
  forget(): void {
    this.#kept.clear();
    this.#leaving.clear();
    this.#steady.forgetStored();
    this.#wall.forgetStored();
  }

  /** Lanes were counted anew: jobs whose wait only memory knows are delayed in theirs, if they are on disk. */
  keepUnstored(stored: ReadonlyMap<number, { readonly due: number | null }>): void {
    for (const entry of this.#steady.unstored()) {
      const row = stored.get(entry.seq);
      const lane = entry.lane.current;
      if (row === undefined) {
        this.#steady.remove(entry);
        continue;
      }
      lane.know(entry.seq);
      // One that has an older time on disk was counted by it.
      if (row.due === null) lane.delayed++;
      this.#kept.set(lane.line, (this.#kept.get(lane.line) ?? 0) + 1);
    }
  }

  stop(): void {
    this.#steady.stop();
    this.#wall.stop();
  }

  #get(seq: number): Delayed | undefined {
    return this.#steady.get(seq) ?? this.#wall.get(seq);
  }

  #let(entry: Delayed): void {
    if (entry.job === undefined) return;
    entry.job = undefined;
    const { line } = entry.lane;
    const kept = (this.#kept.get(line) ?? 1) - 1;
    if (kept > 0) this.#kept.set(line, kept);
    else this.#kept.delete(line);
  }

  #promote(due: readonly Delayed[]): void {
    const unread: Delayed[] = [];
    for (const entry of due) {
      const { job } = entry;
      this.#let(entry);
      if (job === undefined) unread.push(entry);
      else this.#due(entry, job);
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
        this.#done(entry);
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
    this.#done(entry);
    const lane = entry.lane.current;
    lane.front.push(job);
    this.#core.wake(lane);
  }

  #done(entry: Delayed): void {
    (entry.wall ? this.#wall : this.#steady).done(entry);
    entry.lane.current.delayed--;
  }
}
