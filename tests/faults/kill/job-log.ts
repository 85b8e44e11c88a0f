import type { Delivery } from '../../support/reconnecting-client.js';
import { tell, type Timeline } from './timeline.js';

/** What the clients know about one job: what they sent, what was acknowledged, what its handler saw. */
export interface JobRecord {
  readonly id: string;
  /** The receipt of an acknowledged enqueue. */
  receipt: string | undefined;
  /** Handlers answered it without an error this often. */
  succeeded: number;
  failed: number;
  /** Receipts that it was delivered under: more than one would be a ghost. */
  readonly receipts: Set<string>;
  /** Deliveries that may still be answered or had no failure, by incarnation of the engine. */
  readonly openStarts: Map<number, number>;
}

/** The log of one queue's producer and handlers, and the invariants that hold at each delivery. */
export class JobLog {
  readonly #jobs = new Map<string, JobRecord>();
  readonly #timeline: Timeline;
  readonly faults: string[] = [];
  acknowledged = 0;
  /** Acknowledged and not yet handled to an end. */
  unfinished = 0;
  /** Deliveries that a handler works on now. */
  running = 0;
  redelivered = 0;

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  get size(): number {
    return this.#jobs.size;
  }

  sent(id: string): JobRecord {
    const job: JobRecord = {
      id,
      receipt: undefined,
      succeeded: 0,
      failed: 0,
      receipts: new Set(),
      openStarts: new Map(),
    };
    this.#jobs.set(id, job);
    return job;
  }

  acknowledge(job: JobRecord, receipt: unknown): void {
    if (typeof receipt !== 'string')
      return tell(this.faults, `${job.id}: acknowledged without a receipt: ${JSON.stringify(receipt)}`);
    job.receipt = receipt;
    this.acknowledged++;
    if (job.succeeded === 0) this.unfinished++;
  }

  started(id: string, { metadata }: Delivery): JobRecord | undefined {
    const job = this.#jobs.get(id);
    if (job === undefined) {
      tell(this.faults, `ghost: ${id} was delivered and never sent`);
      return undefined;
    }
    this.running++;
    const told = metadata?.queue;
    if (told === undefined) {
      tell(this.faults, `${id}: delivered without a receipt`);
    } else {
      job.receipts.add(told.receipt);
      if (told.attempt < 1 || told.attempt > job.failed + 1) {
        tell(this.faults, `${id}: attempt ${told.attempt} after ${job.failed} failures: something else was charged`);
      }
    }
    const { incarnation } = this.#timeline;
    const open = (job.openStarts.get(incarnation) ?? 0) + 1;
    job.openStarts.set(incarnation, open);
    // One engine hands a job out again only when its handler has failed.
    if (open > 1) tell(this.faults, `${id}: delivered ${open} times by one engine without a failure between`);
    if (job.openStarts.size > 1) this.redelivered++;
    return job;
  }

  succeeded(job: JobRecord): void {
    this.running--;
    if (job.succeeded++ === 0 && job.receipt !== undefined) this.unfinished--;
  }

  /** @param incarnation - the engine that delivered it */
  failed(job: JobRecord, incarnation: number): void {
    this.running--;
    job.failed++;
    job.openStarts.set(incarnation, (job.openStarts.get(incarnation) ?? 1) - 1);
  }

  /**
   * The end: everything acknowledged was handled or lies in the dead letters, nothing exists twice.
   *
   * @param deadReceipts - receipts of the dead letters
   * @param mayDie - whether a job's handler always fails
   */
  audit(deadReceipts: ReadonlySet<string>, mayDie: (id: string) => boolean): string[] {
    const faults = [...this.faults];
    const known = new Set<string>();
    for (const job of this.#jobs.values()) {
      if (job.receipt !== undefined) job.receipts.add(job.receipt);
      for (const receipt of job.receipts) known.add(receipt);
      if (job.receipts.size > 1) tell(faults, `ghost: ${job.id} exists under ${job.receipts.size} receipts`);
      if (job.receipt === undefined) continue;
      const dead = deadReceipts.has(job.receipt);
      if (job.succeeded === 0 && !dead)
        tell(faults, `lost: ${job.id} (receipt ${job.receipt}) was acknowledged and is gone`);
      if (dead && !mayDie(job.id)) tell(faults, `${job.id} is dead-lettered, though its handler recovers`);
      if (dead && job.succeeded > 0) tell(faults, `${job.id} is dead-lettered and was handled as well`);
    }
    for (const receipt of deadReceipts)
      if (!known.has(receipt)) tell(faults, `ghost: dead letter ${receipt} was never sent`);
    return faults;
  }
}
