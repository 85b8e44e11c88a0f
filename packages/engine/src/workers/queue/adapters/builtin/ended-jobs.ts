import type { Failure } from '../../job.js';
import type { JobRecord, JobState, Line } from '../index.js';

/** Ended jobs that memory remembers; older ones only where a queue keeps them on disk. */
export const MAX_ENDED_JOBS = 10_000;

/** What is remembered of an ended job: not its payload. */
export class EndedJob {
  constructor(
    readonly line: Line,
    readonly state: JobState,
    readonly receipt: string,
    readonly functionId: string,
    readonly namespace: string,
    readonly attempts: number,
    readonly failures: readonly Failure[],
    readonly createdAt: number,
    readonly startedAt: number | undefined,
    readonly endedAt: number,
  ) {}
}

/** The last jobs that ended, by receipt. Hot path: one per job, so it is a ring and not an ordered map. */
export class EndedJobs {
  readonly #byReceipt = new Map<string, EndedJob>();
  readonly #ring: string[] = [];
  #next = 0;

  add(job: EndedJob): void {
    const oldest = this.#ring[this.#next];
    if (oldest !== undefined) this.#byReceipt.delete(oldest);
    this.#ring[this.#next] = job.receipt;
    this.#next = (this.#next + 1) % MAX_ENDED_JOBS;
    this.#byReceipt.set(job.receipt, job);
  }

  get(receipt: string): JobRecord | undefined {
    const job = this.#byReceipt.get(receipt);
    if (job === undefined) return undefined;
    const { line, ...rest } = job;
    return { ...rest, kind: line.kind, name: line.name };
  }
}
