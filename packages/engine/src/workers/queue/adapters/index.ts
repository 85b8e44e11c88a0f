/**
 * The contract between the queue and what keeps its jobs. An adapter does the broker's part: it
 * stores, orders, leases and remembers. Concurrency, backoff and the meaning of a handler's answer
 * live above it.
 */
import type { Decision, Job } from '../job.js';

export { openBuiltin } from './builtin.js';

/** A stream of jobs with settings of its own: a named queue, or a durable subscription of a topic. */
export interface LineSpec {
  readonly kind: 'queue' | 'subscription';
  /** Name of the queue or topic. */
  readonly name: string;
  /** Of a subscription: whom it serves. Empty strings for a queue. */
  readonly namespace: string;
  readonly functionId: string;
}

export interface Line extends LineSpec {
  /** JSON text that the owner of the line keeps with it. */
  readonly settings: string;
  /** Jobs stand behind each other: per group in a queue, all of them in a subscription. */
  serial: boolean;
  /** Wall clock, milliseconds; set while no worker consumes a subscription. */
  readonly offlineSince: number | undefined;
  /** Wall clock, milliseconds; an ended subscription gets nothing new. */
  readonly endedAt: number | undefined;
  /** Jobs dropped since the line exists because its backlog was full. */
  readonly expired: number;
  readonly stats: LineStats;
}

/** Counts of jobs that have not ended, and of dead letters. */
export interface LineStats {
  /** Ready to run, those that wait for their function included. */
  readonly waiting: number;
  readonly delayed: number;
  readonly running: number;
  readonly waitingForFunction: number;
  readonly dead: number;
  /** Payload of all that has not ended, in UTF-16 units. */
  readonly bytes: number;
}

export interface NewJob {
  readonly receipt: string;
  readonly functionId: string;
  readonly namespace: string;
  readonly group: string | undefined;
  readonly data: string;
  readonly metadata: string | undefined;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
  readonly createdAt: number;
  readonly maxAttempts: number;
  readonly backoffMs: number;
}

export interface Message {
  readonly topic: string;
  readonly data: string;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
  readonly createdAt: number;
}

/** How often the jobs of a subscription are tried; stamped when they are made. */
export interface Attempts {
  readonly maxAttempts: number;
  readonly backoffMs: number;
}

/** A leased job: whoever reserved it says how it ended, once. */
export interface Lease {
  readonly job: Job;
  readonly line: Line;
}

export interface DeadLetter {
  readonly line: Line;
  readonly jobId: string;
  readonly receipt: string;
  readonly functionId: string;
  readonly data: string;
  readonly attempts: number;
  /** JSON text of the failures. */
  readonly failures: string;
  readonly error: string;
  readonly code: string;
  /** Wall clock, milliseconds. */
  readonly failedAt: number;
}

export interface BrokerEvents {
  /** `reserve` may find something in this line. Never called from within `reserve`. */
  ready(line: Line): void;
  /** The function that keeps a job of this line waiting, or undefined when it can run. */
  missing(
    line: Line,
    functionId: string,
    namespace: string,
  ): { readonly functionId: string; readonly namespace: string } | undefined;
}

export interface Broker {
  /** Lines that the store knew when it was opened, and those made since. */
  lines(): Iterable<Line>;
  find(spec: LineSpec): Line | undefined;
  /** Makes a named queue, or finds it. Resolves after the commit. */
  openQueue(name: string, serial: boolean): Promise<Line>;
  /** Makes or renews a subscription; what its topic held becomes its backlog. The line takes publishes at once. */
  subscribe(
    spec: LineSpec,
    settings: string,
    serial: boolean,
    attempts: Attempts,
  ): { readonly line: Line; readonly committed: Promise<void> };
  setSerial(line: Line, serial: boolean): void;
  setOffline(line: Line, since: number | undefined): Promise<void>;
  endSubscription(line: Line, at: number): Promise<void>;
  /** Drops a line with its jobs; its dead letters stay, and the line with them. Answers how many jobs went. */
  dropBacklog(line: Line): Promise<number>;
  removeLine(line: Line): Promise<void>;

  /** Stores a job. Resolves after the commit; only then can it be reserved. */
  accept(line: Line, job: NewJob): Promise<void>;
  /** Stores a message once, with a job for each line. Resolves after the commit. */
  publish(message: Message, lines: readonly { readonly line: Line; readonly attempts: Attempts }[]): Promise<void>;
  /** What a topic without subscribers holds. */
  held(topic: string): { readonly count: number; readonly bytes: number };
  heldTopics(): ReadonlyMap<string, { readonly count: number; readonly bytes: number }>;
  dropHeld(topic: string, before: number): Promise<number>;
  /** Expires the oldest jobs of a subscription that do not run. */
  expireOldest(line: Line, count: number): Promise<number>;

  /** Leases the next job that can run, or undefined; `ready` tells when to ask again. */
  reserve(line: Line): Lease | undefined;
  /** Carries out what was decided. Resolves after the commit where there is one; a failing disk is waited for. */
  settle(lease: Lease, decision: Decision): Promise<void>;
  /** A function became callable: jobs that waited for it can run. */
  functionAppeared(functionId: string, namespace: string): void;
  /** The owner of a line changed what `missing` says. */
  recheck(line: Line): void;

  /** Dead letters, newest first. */
  browseDead(lines: readonly Line[], offset: number, limit: number): Promise<readonly DeadLetter[]>;
  /** Moves all dead letters of a line back, oldest first, behind what waits. */
  redrive(line: Line): Promise<number>;
  /** @param id - job id or receipt */
  redriveOne(lines: readonly Line[], id: string): Promise<boolean>;
  discardOne(lines: readonly Line[], id: string): Promise<boolean>;

  /** Nothing is reserved any more. */
  drain(): void;
  /** Forgets all leases without a charge and closes the store. */
  stop(): Promise<void>;
}
