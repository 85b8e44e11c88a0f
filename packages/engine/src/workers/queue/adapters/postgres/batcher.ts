/**
 * Group commit: operations that come while a batch is under way are the next batch, one statement and
 * one commit for all. Batches follow one another, so operations are stored in the order of the calls.
 *
 * An operation:
 *
 *   waiting -> running    the batch before it is through
 *   running -> answered
 *   running -> waiting    the connection was lost: again, until its deadline (`run` sees to it that nothing is stored twice)
 *   running -> failed     refused, its deadline is over, or nobody knows whether it was stored
 *
 * When one row of a batch is to blame, the batch is repeated one by one, and that row fails alone.
 */
import { TrineError } from '@trine/protocol';
import type { Timer } from '../../../../core/clock.js';
import type { WorkerHost } from '../../../../core/worker-host.js';
import { isAgain, isOfOneRow, isUnreachable } from './failures.js';
import { Undecided } from './writer.js';

/** Operations in one batch, and their payload in UTF-16 units. */
const MAX_BATCH = 1_000;
const MAX_BATCH_LENGTH = 8 * 1024 * 1024;
/** Payload that waits for the server, in UTF-16 units, and operations; above it they are refused. */
const MAX_PENDING_LENGTH = 64 * 1024 * 1024;
const MAX_PENDING = 100_000;
/** Wait before a batch is tried again, in milliseconds. */
const AGAIN_MS = 50;

interface Pending<Operation, Answer> {
  readonly operation: Operation;
  readonly length: number;
  /** Steady clock, milliseconds: later it fails. */
  readonly deadline: number;
  /** It was on its way when a connection was lost: the server being away does not end it before its deadline. */
  sent: boolean;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

export interface BatchRules {
  /** How long an operation is tried, in milliseconds; Infinity = until it succeeds or the broker stops. */
  readonly tryForMs: number;
  /** Are refusals (a full disk, rights) waited for as well? */
  readonly patient: boolean;
}

export class Batcher<Operation, Answer> {
  readonly #host: WorkerHost;
  readonly #rules: BatchRules;
  readonly #run: (operations: readonly Operation[]) => Promise<readonly Answer[]>;
  #waiting: Pending<Operation, Answer>[] = [];
  #pendingLength = 0;
  #running = false;
  #timer: Timer | undefined;
  #stopped = false;
  #idle: (() => void)[] = [];

  /**
   * @param run - stores a batch and answers each operation; called again with what a lost connection left open
   */
  constructor(
    host: WorkerHost,
    rules: BatchRules,
    run: (operations: readonly Operation[]) => Promise<readonly Answer[]>,
  ) {
    this.#host = host;
    this.#rules = rules;
    this.#run = run;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** @throws TrineError `storage_busy` through the promise, when too much waits */
  add(operation: Operation, length: number): Promise<Answer> {
    if (this.#stopped) return Promise.reject(stopped());
    if (
      !this.#rules.patient &&
      (this.#waiting.length >= MAX_PENDING || this.#pendingLength + length > MAX_PENDING_LENGTH)
    ) {
      const message = 'too much waits for PostgreSQL already: enqueue more slowly, or look why it is slow';
      return Promise.reject(new TrineError('storage_busy', message, { retryable: true }));
    }
    return new Promise((resolve, reject) => {
      const deadline = this.#host.clock.monotonic() + this.#rules.tryForMs;
      this.#waiting.push({ operation, length, deadline, sent: false, resolve, reject });
      this.#pendingLength += length;
      if (!this.#running) this.#start();
    });
  }

  /** The server is back: what waits for it goes on. */
  wake(): void {
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#timer = undefined;
    this.#start();
  }

  /** Resolves when nothing waits and nothing runs. */
  async idle(): Promise<void> {
    if (this.#running || this.#waiting.length > 0) await new Promise<void>((go) => this.#idle.push(go));
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    for (const { reject } of this.#waiting.splice(0)) reject(stopped());
    this.#settled();
  }

  #start(): void {
    this.#running = true;
    // What is added in this turn belongs to the batch.
    setImmediate(() => void this.#next());
  }

  async #next(): Promise<void> {
    while (!this.#stopped && this.#waiting.length > 0) {
      const again = await this.#attempt(this.#take());
      if (again.length === 0) continue;
      this.#waiting = [...again, ...this.#waiting];
      for (const { length } of again) this.#pendingLength += length;
      if (this.#stopped) return this.stop();
      this.#timer = this.#host.clock.setTimer(() => {
        this.#timer = undefined;
        this.#start();
      }, AGAIN_MS);
      return;
    }
    this.#running = false;
    this.#settled();
  }

  #take(): Pending<Operation, Answer>[] {
    let count = 0;
    let length = 0;
    for (const each of this.#waiting) {
      if (count > 0 && (count === MAX_BATCH || length + each.length > MAX_BATCH_LENGTH)) break;
      count++;
      length += each.length;
    }
    this.#pendingLength -= length;
    return this.#waiting.splice(0, count);
  }

  /** Answers those that wait for another attempt. */
  async #attempt(batch: readonly Pending<Operation, Answer>[]): Promise<readonly Pending<Operation, Answer>[]> {
    const again = batch.some(({ sent }) => sent);
    try {
      const operations = batch.map(({ operation }) => operation);
      const answers = await this.#run(operations);
      batch.forEach(({ resolve }, i) => resolve(answers[i] as Answer));
      return [];
    } catch (error) {
      if (isOfOneRow(error) && batch.length > 1) {
        const left: Pending<Operation, Answer>[] = [];
        // Behind one that waits the others wait too, or they would overtake it.
        for (const each of batch) left.push(...(left.length > 0 ? [each] : await this.#attempt([each])));
        return left;
      }
      const wasLost = again || (isUnreachable(error) && !isNotSent(error));
      const mayWait = this.#rules.patient ? !isOfOneRow(error) : wasLost || isAgain(error);
      const waits = mayWait && !(error instanceof Undecided);
      const now = this.#host.clock.monotonic();
      return batch.filter((each) => {
        each.sent ||= wasLost;
        if (waits && each.deadline > now) return true;
        each.reject(error);
        return false;
      });
    }
  }

  #settled(): void {
    const waiting = this.#idle;
    this.#idle = [];
    for (const go of waiting) go();
  }
}

/** It failed before anything was sent. */
function isNotSent(error: unknown): boolean {
  return error instanceof TrineError && error.cause === undefined;
}

function stopped(): TrineError {
  return new TrineError('storage_closed', 'the engine stops: nothing is accepted any more');
}
