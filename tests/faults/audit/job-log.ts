/**
 * The log of the producer and the handlers of one queue.
 *
 * One delivery: `open` -> `succeeded` | `failed` (its handler answered on a connection that lived) |
 * `lost` (its worker or its engine went before that). The same words end the auditor's view of a lease.
 */
import type { Auditor } from './auditor.js';

/** What the queue tells a handler about its delivery. */
export interface DeliveryFacts {
  readonly receipt: string;
  readonly attempt: number;
}

/** One delivery, as its handler sees it. */
export interface Lease {
  readonly job: JobRecord;
  /** The connection, process or engine that it hangs on. A name that is used once: what is gone does not come back. */
  readonly holder: string;
  readonly attempt: number;
  state: 'open' | 'succeeded' | 'failed' | 'lost';
}

/** A dead letter, as `engine::queue::dlq_messages` shows it. */
export interface DeadLetter {
  readonly message_receipt_id: string;
  readonly error_code: string;
  readonly retries: number;
}

/** Losses in a row after which a job is dead-lettered as `worker_lost`. */
export const LOSSES_THAT_END = 11;

export interface JobRecord {
  readonly id: string;
  readonly group: string | undefined;
  /** Place in its group, from 1. */
  readonly number: number;
  /** The receipt of an acknowledged enqueue. */
  receipt: string | undefined;
  /** Handlers answered without an error, heard by the engine or not. */
  succeeded: number;
  failed: number;
  /** Of these, answers that the engine should have heard. */
  heardFailures: number;
  lost: number;
  /** The attempt that the last delivery named. */
  lastAttempt: number;
  /** The last delivery that was answered. */
  last: Lease | undefined;
  readonly open: Set<Lease>;
  /** Receipts that it was delivered under: more than one would be a ghost. */
  readonly receipts: Set<string>;
  /** Steps of the log. */
  firstStart: number | undefined;
  ended: number | undefined;
}

export interface JobRules {
  /** Failures that end a job, see `max_retries`. */
  readonly maxFailures: number;
  /** Starts of one group never go back, and wait for the end of what is before them. */
  readonly inOrder?: boolean;
}

export class JobLog {
  readonly #auditor: Auditor;
  readonly #rules: JobRules;
  readonly #jobs = new Map<string, JobRecord>();
  readonly #newestStart = new Map<string, number>();
  readonly #open = new Set<Lease>();
  readonly #gone = new Set<string>();
  #step = 0;
  acknowledged = 0;
  /** Acknowledged and not yet handled to an end. */
  unfinished = 0;
  /** Deliveries that a handler works on now. */
  running = 0;
  /** Deliveries that followed a lost one. */
  redelivered = 0;
  starts = 0;
  failures = 0;
  /** Deliveries that went with their worker or engine. */
  lost = 0;

  constructor(auditor: Auditor, rules: JobRules) {
    this.#auditor = auditor;
    this.#rules = rules;
  }

  get size(): number {
    return this.#jobs.size;
  }

  /** About to be sent. */
  sent(id: string, place?: { readonly group: string; readonly number: number }): JobRecord {
    const job: JobRecord = {
      id,
      group: place?.group,
      number: place?.number ?? 0,
      receipt: undefined,
      succeeded: 0,
      failed: 0,
      heardFailures: 0,
      lost: 0,
      lastAttempt: 0,
      last: undefined,
      open: new Set(),
      receipts: new Set(),
      firstStart: undefined,
      ended: undefined,
    };
    this.#jobs.set(id, job);
    return job;
  }

  acknowledge(job: JobRecord, receipt: unknown): void {
    if (typeof receipt !== 'string') {
      this.#auditor.tell('I6', `${job.id}: acknowledged without a receipt: ${JSON.stringify(receipt)}`);
      return;
    }
    job.receipt = receipt;
    this.acknowledged++;
    if (job.ended === undefined) this.unfinished++;
  }

  /** A handler got it. */
  started(id: string, holder: string, facts: DeliveryFacts | undefined): Lease | undefined {
    const job = this.#jobs.get(id);
    if (job === undefined) {
      this.#auditor.tell('I1', `ghost: ${id} was delivered and never sent`);
      return undefined;
    }
    this.starts++;
    job.firstStart ??= ++this.#step;
    if (facts === undefined) this.#auditor.tell('I4', `${id}: delivered without a receipt`);
    else this.#checkFacts(job, facts);
    if (job.open.size > 0) {
      const others = [...job.open].map((lease) => lease.holder).join();
      this.#auditor.tell('I3', `${id}: delivered to ${holder} while ${others} has it`);
    }
    const answered = this.#heardOf(job);
    if (answered?.state === 'succeeded')
      this.#auditor.tell('I2', `${id}: delivered again after it succeeded on ${answered.holder}`);
    this.#checkOrder(job);
    if (job.lost > 0) this.redelivered++;
    const lease: Lease = { job, holder, attempt: facts?.attempt ?? 0, state: 'open' };
    // It was on its way when the one who sent it went.
    if (this.#gone.has(holder)) this.#lose(lease);
    else {
      this.running++;
      job.open.add(lease);
      this.#open.add(lease);
    }
    return lease;
  }

  /** Its handler answers without an error. */
  succeeded(lease: Lease): void {
    lease.job.succeeded++;
    if (this.#close(lease, 'succeeded')) this.#end(lease.job);
  }

  /** Its handler answers with an error. */
  failed(lease: Lease): void {
    lease.job.failed++;
    this.failures++;
    if (this.#close(lease, 'failed') && ++lease.job.heardFailures >= this.#rules.maxFailures) this.#end(lease.job);
  }

  /**
   * A connection, process or engine is gone: what hung on it ends without an answer, and its last answers
   * may not have been heard.
   */
  gone(holder: string): void {
    this.#gone.add(holder);
    for (const lease of this.#open) {
      if (lease.holder !== holder) continue;
      this.#open.delete(lease);
      lease.job.open.delete(lease);
      this.running--;
      this.#lose(lease);
    }
  }

  /**
   * The end: everything acknowledged was handled or lies in the dead letters, nothing exists twice.
   *
   * @param deadLetters - all of the queue
   * @param mayDie - may this job be there, for the failures of its handler?
   */
  audit(deadLetters: readonly DeadLetter[], mayDie: (id: string) => boolean): void {
    const dead = new Map(deadLetters.map((letter) => [letter.message_receipt_id, letter]));
    if (dead.size < deadLetters.length) this.#auditor.tell('I2', 'a receipt is dead-lettered twice');
    const known = new Set<string>();
    for (const job of this.#jobs.values()) {
      if (job.receipt !== undefined) job.receipts.add(job.receipt);
      for (const receipt of job.receipts) known.add(receipt);
      if (job.receipts.size > 1)
        this.#auditor.tell('I1', `ghost: ${job.id} exists under ${job.receipts.size} receipts`);
      const letter = [...job.receipts].map((receipt) => dead.get(receipt)).find((each) => each !== undefined);
      if (job.receipt !== undefined && job.succeeded === 0 && letter === undefined)
        this.#auditor.tell('I1', `lost: ${job.id} (receipt ${job.receipt}) was acknowledged and is gone`);
      if (letter === undefined) continue;
      const isLost = letter.error_code === 'worker_lost';
      if (isLost && job.lost < LOSSES_THAT_END)
        this.#auditor.tell('I4', `${job.id} is dead-lettered as lost after ${job.lost} losses`);
      if (!isLost && !mayDie(job.id))
        this.#auditor.tell('I4', `${job.id} is dead-lettered (${letter.error_code}) without a reason`);
      if (letter.retries > job.failed)
        this.#auditor.tell('I4', `${job.id}: ${letter.retries} attempts after ${job.failed} failures`);
      const answered = this.#heardOf(job);
      if (answered?.state === 'succeeded')
        this.#auditor.tell('I2', `${job.id} is dead-lettered, and was handled by ${answered.holder} as well`);
    }
    for (const receipt of dead.keys())
      if (!known.has(receipt)) this.#auditor.tell('I1', `ghost: dead letter ${receipt} was never sent`);
    this.#auditOrder();
  }

  #checkFacts(job: JobRecord, { receipt, attempt }: DeliveryFacts): void {
    job.receipts.add(receipt);
    // A failure whose answer did not arrive is not charged; one that was charged once stays so.
    if (attempt > job.failed + 1)
      this.#auditor.tell(
        'I4',
        `${job.id}: attempt ${attempt} after ${job.failed} failures: something else was charged`,
      );
    if (attempt < job.lastAttempt)
      this.#auditor.tell(
        'I4',
        `${job.id}: attempt ${attempt} after attempt ${job.lastAttempt}: a failure was forgotten`,
      );
    const answered = this.#heardOf(job);
    if (answered?.state === 'failed' && attempt <= answered.attempt)
      this.#auditor.tell('I4', `${job.id}: attempt ${attempt} again, though it failed: a failure was not charged`);
    job.lastAttempt = attempt;
  }

  /** A group never goes back: a start is the group's newest, or that one again. */
  #checkOrder({ id, group, number }: JobRecord): void {
    if (this.#rules.inOrder !== true || group === undefined) return;
    const newest = this.#newestStart.get(group) ?? 0;
    if (number < newest) this.#auditor.tell('I5', `${id} started after number ${newest} of its group`);
    this.#newestStart.set(group, Math.max(newest, number));
  }

  /** Nothing started before all that was acknowledged before it had ended. */
  #auditOrder(): void {
    if (this.#rules.inOrder !== true) return;
    const groups = new Map<string, JobRecord[]>();
    for (const job of this.#jobs.values()) {
      if (job.group === undefined || job.firstStart === undefined) continue;
      const jobs = groups.get(job.group);
      if (jobs === undefined) groups.set(job.group, [job]);
      else jobs.push(job);
    }
    for (const jobs of groups.values()) {
      jobs.sort((a, b) => a.number - b.number);
      for (const [at, job] of jobs.entries()) {
        const before = jobs[at - 1];
        if (before !== undefined && (before.ended ?? Infinity) > (job.firstStart as number))
          this.#auditor.tell('I5', `${job.id} started before ${before.id} had ended`);
      }
    }
  }

  /** The last answer, if the engine that runs now must have heard it. */
  #heardOf({ last }: JobRecord): Lease | undefined {
    return last === undefined || this.#gone.has(last.holder) ? undefined : last;
  }

  #lose(lease: Lease): void {
    lease.state = 'lost';
    lease.job.lost++;
    this.lost++;
  }

  /** @returns whether the engine may have heard it */
  #close(lease: Lease, state: 'succeeded' | 'failed'): boolean {
    if (lease.state === 'lost') return false;
    this.running--;
    lease.state = state;
    this.#open.delete(lease);
    lease.job.open.delete(lease);
    lease.job.last = lease;
    return true;
  }

  #end(job: JobRecord): void {
    if (job.ended !== undefined) return;
    job.ended = ++this.#step;
    if (job.receipt !== undefined) this.unfinished--;
  }
}
