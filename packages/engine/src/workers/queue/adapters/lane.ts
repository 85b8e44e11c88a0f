/**
 * Jobs that stand behind each other: those of one function in a standard queue, of one group in a
 * fifo queue, all of a subscription. Only a bounded window of them is in memory.
 *
 *   ready jobs = `front` (came back: run next) + `window` (in order, up to `cursor`) + stored beyond `cursor`
 *
 * `cursor` is the highest sequence number that was taken into the window; `last` the highest whose
 * accepting commit was answered. While `last > cursor` there may be more on disk, and what is
 * accepted stays there until it is read. A serial lane runs one job at a time and waits for a
 * postponed one.
 */
import type { Job } from '../job.js';
import type { BuiltinLine } from './builtin-line.js';

/** Jobs per read from the store. */
export const PAGE_JOBS = 256;
const PAGE_JOBS_SERIAL = 16;

export class Lane {
  readonly id: number;
  readonly key: string;
  readonly line: BuiltinLine;
  readonly functionId: string;
  readonly namespace: string;
  readonly front: Job[] = [];
  #window: Job[] = [];
  #head = 0;
  cursor = 0;
  last = 0;
  /** A read from the store is under way. */
  loading = false;
  /** It stands in its line's round of lanes that may run. */
  queued = false;
  /** The function it waits for, as a key. */
  parkedOn: string | undefined;
  /** Jobs that have not ended: accepted or being accepted, waiting, delayed, running. */
  count = 0;
  running = 0;
  delayed = 0;
  /** Answered, the end not committed yet. */
  ending = 0;

  constructor(id: number, key: string, line: BuiltinLine, functionId: string, namespace: string) {
    this.id = id;
    this.key = key;
    this.line = line;
    this.functionId = functionId;
    this.namespace = namespace;
  }

  get windowSize(): number {
    return this.#window.length - this.#head;
  }

  get hasMoreStored(): boolean {
    return this.last > this.cursor;
  }

  /** Something could be taken now, or after a read. */
  get mayRun(): boolean {
    if (this.line.serial && (this.running > 0 || this.delayed > 0)) return false;
    return this.front.length > 0 || this.windowSize > 0 || this.hasMoreStored;
  }

  get pageSize(): number {
    return this.line.serial ? PAGE_JOBS_SERIAL : PAGE_JOBS;
  }

  peek(): Job | undefined {
    return this.front[0] ?? this.#window[this.#head];
  }

  append(job: Job): void {
    this.#window.push(job);
    this.cursor = job.seq;
    this.line.hold(job.data.length);
  }

  take(): Job | undefined {
    const again = this.front.shift();
    if (again !== undefined) return again;
    const job = this.#window[this.#head];
    if (job === undefined) return undefined;
    this.#head++;
    if (this.#head === this.#window.length) {
      this.#window = [];
      this.#head = 0;
    } else if (this.#head >= PAGE_JOBS * 4) {
      this.#window = this.#window.slice(this.#head);
      this.#head = 0;
    }
    this.line.letGo(job.data.length);
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
}
