/**
 * Jobs that stand behind each other: those of one function in a standard queue (one lane for each
 * priority and rate key), of one group in a fifo queue, all of a subscription. Only a bounded window
 * of them is in memory, and none of a lane that waits for its function.
 *
 *   ready jobs = `front` (came back: run next) + window (in order, up to `cursor`) + stored beyond `cursor`
 *
 * `cursor` is the highest sequence number that was taken into the window; `last` the highest whose
 * accepting commit was answered. While `last > cursor` there may be more on disk, and what is
 * accepted stays there until it is read. A serial lane runs one job at a time, waits for a postponed
 * one, and goes on when the end of a job is committed: a crash must not bring back what had been passed.
 *
 *   idle    -> queued    something may run: it stands in its line's round
 *   queued  -> idle      its turn came
 *   idle    -> parked    its function is absent
 *   idle    -> blocked   the rate of its next job's key is used up
 *   parked, blocked -> queued
 *   any     -> merged    its queue became fifo: another lane has its jobs
 *   idle    -> dropped   its last job has ended: what is still read for it is not taken
 *   any     -> forgotten -> idle   the file had failed: what is not running is read again (see `rebuild.ts`)
 */
import type { Job } from '../../job.js';
import { bounds } from './bounds.js';
import { Fifo } from './fifo.js';
import type { BuiltinLine } from './line.js';

export interface LaneSpec {
  readonly key: string;
  readonly functionId: string;
  readonly namespace: string;
  /** 0 to 255, higher first. */
  readonly priority: number;
}

const NOBODY: readonly (() => void)[] = [];

export class Lane {
  readonly id: number;
  readonly line: BuiltinLine;
  readonly key: string;
  readonly functionId: string;
  readonly namespace: string;
  readonly priority: number;
  #front: Job[] | undefined;
  #window: Fifo<Job> | undefined;
  cursor = 0;
  last = 0;
  #loading = 0;
  #onLoaded: (() => void)[] | undefined;
  /** It stands in its line's round of lanes that may run. */
  queued = false;
  /** The function it waits for, as a key. */
  parkedOn: string | undefined;
  /** Its rate is used up for now. */
  blocked = false;
  /** Its last job has ended. Another lane may have its number, after a failure of the disk. */
  dropped = false;
  #count = 0;
  running = 0;
  delayed = 0;
  /** Answered or withdrawn, the end not committed yet. */
  ending = 0;
  /** Where its jobs are now. */
  #mergedInto: Lane | undefined;
  /** Jobs that are in memory already, though beyond the cursor: of lanes that were merged into this one, or running while it was read anew. */
  #known: Set<number> | undefined;

  constructor(id: number, line: BuiltinLine, spec: LaneSpec) {
    this.id = id;
    this.line = line;
    this.key = spec.key;
    this.functionId = spec.functionId;
    this.namespace = spec.namespace;
    this.priority = spec.priority;
  }

  /** Jobs that came back, and those that were due: they run next. */
  get front(): Job[] {
    return (this.#front ??= []);
  }

  /** Is a job in memory already, though beyond the cursor? */
  knows(seq: number): boolean {
    return this.#known?.has(seq) === true;
  }

  know(seq: number): void {
    (this.#known ??= new Set()).add(seq);
  }

  get knowsSome(): boolean {
    return this.#known !== undefined;
  }

  /** Jobs that have not ended: accepted or being accepted, waiting, delayed, running. */
  get count(): number {
    return this.#count;
  }

  set count(count: number) {
    this.line.jobs += count - this.#count;
    this.#count = count;
  }

  /** The lane that has this one's jobs. */
  get current(): Lane {
    return this.#mergedInto === undefined ? this : this.#mergedInto.current;
  }

  get merged(): boolean {
    return this.#mergedInto !== undefined;
  }

  /** A read from the store is under way. */
  get loading(): boolean {
    return this.#loading > 0;
  }

  startLoad(): void {
    this.#loading++;
  }

  endLoad(): void {
    if (--this.#loading > 0) return;
    const waiting = this.#onLoaded;
    this.#onLoaded = undefined;
    for (const go of waiting ?? NOBODY) go();
  }

  async loaded(): Promise<void> {
    while (this.loading) await new Promise<void>((go) => (this.#onLoaded ??= []).push(go));
  }

  get hasFront(): boolean {
    return this.#front !== undefined && this.#front.length > 0;
  }

  get windowSize(): number {
    return this.#window?.size ?? 0;
  }

  get hasMoreStored(): boolean {
    return this.last > this.cursor;
  }

  /** Something could be taken now, or after a read. */
  get mayRun(): boolean {
    if (this.dropped) return false;
    if (this.line.serial && (this.running > 0 || this.delayed > 0 || this.ending > 0)) return false;
    return this.hasFront || this.windowSize > 0 || this.last > this.cursor;
  }

  get pageSize(): number {
    return this.line.serial ? bounds.pageJobsSerial : bounds.pageJobs;
  }

  peek(): Job | undefined {
    return this.#front?.[0] ?? this.#window?.peek();
  }

  append(job: Job): void {
    (this.#window ??= new Fifo()).push(job);
    this.cursor = job.seq;
    this.line.hold(job.data.length);
  }

  take(): Job | undefined {
    const again = this.#front?.shift();
    if (again !== undefined) return again;
    const job = this.#window?.shift();
    if (job !== undefined) this.line.letGo(job.data.length);
    return job;
  }

  /** Takes a job out that is in memory and not running. */
  remove(seq: number): Job | undefined {
    const at = this.#front?.findIndex((job) => job.seq === seq) ?? -1;
    if (at >= 0) return this.front.splice(at, 1)[0];
    const job = this.#window?.take((each) => each.seq === seq);
    if (job !== undefined) this.line.letGo(job.data.length);
    return job;
  }

  /** Drops what is in memory and not running, up to `limit` jobs, oldest first. */
  drop(limit: number): Job[] {
    const dropped: Job[] = [];
    while (dropped.length < limit) {
      const job = this.take();
      if (job === undefined) break;
      dropped.push(job);
    }
    return dropped;
  }

  /** Lets the window go: what is in it is read from the store again when it can run. */
  unload(): void {
    const first = this.#window?.peek();
    if (first === undefined) return;
    for (const job of this.#window ?? []) this.line.letGo(job.data.length);
    this.#window = undefined;
    this.cursor = first.seq - 1;
  }

  /** As if nothing of it were known, not even how many jobs it has. Answers those that had come back. */
  forget(): readonly Job[] {
    const front = this.#front ?? [];
    this.unload();
    this.#front = undefined;
    this.#known = undefined;
    this.cursor = this.last = -1;
    this.count = this.running = this.delayed = this.ending = 0;
    return front;
  }

  /** The jobs of another lane are this one's; those of its window are read again. */
  absorb(other: Lane, running: Iterable<number>): void {
    other.unload();
    this.#known ??= new Set();
    for (const seq of running) this.#known.add(seq);
    for (const { seq } of other.front) this.#known.add(seq);
    for (const seq of other.#known ?? []) this.#known.add(seq);
    this.#front = [...this.front, ...other.front].sort((a, b) => a.seq - b.seq);
    other.#front = undefined;
    this.cursor = -1;
    this.last = Math.max(this.last, other.last);
    this.count += other.count;
    other.count = 0;
    this.running += other.running;
    this.delayed += other.delayed;
    this.ending += other.ending;
    other.#mergedInto = this;
  }
}
