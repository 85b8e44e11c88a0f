/**
 * The contract between the queue and what keeps its jobs. An adapter does the broker's part: it
 * stores, orders, leases and remembers. Concurrency, backoff and the meaning of a handler's answer
 * live above it.
 *
 * A broker may be on another machine and shared by several engines, so everything that asks it
 * something is a promise, and it alone knows all lines: those of other engines, of earlier runs and
 * of workers that are away. One thing is not asked but told: `reserve` takes from what the broker has
 * at hand in this process (a window of its own store, or what it prefetched from a server up to the
 * demand given by `consume`), and `ready` says when there is more.
 *
 * What not every adapter has is a capability (`capabilities.ts`). Methods that belong to one are
 * called only if it is declared.
 */
import type { Decision, Failure, Job, JobExtras } from '../job.js';
import type { Durability } from '../../../core/store.js';
import type { AdapterName, Capability } from './capabilities.js';

export {
  adapterCapabilities,
  capabilities,
  needCapability,
  notSupported,
  type AdapterName,
  type Capability,
} from './capabilities.js';

/** A stream of jobs with settings of its own: a named queue, or a durable subscription of a topic. */
export interface LineSpec {
  readonly kind: 'queue' | 'subscription';
  /** Name of the queue or topic. */
  readonly name: string;
  /** Of a subscription: whom it serves. Empty strings for a queue. */
  readonly namespace: string;
  readonly functionId: string;
}

/** One line as this engine holds it: the same object for the same line while the broker is open. */
export interface Line extends LineSpec {
  /** Of a subscription: what its newest subscriber said. */
  readonly settings: SubscriptionSettings | undefined;
  /** Jobs stand behind each other: per group in a queue, all of them in a subscription. */
  readonly serial: boolean;
  /** Nothing of it is leased until it is resumed; kept over restarts. */
  readonly paused: boolean;
  /** Wall clock, milliseconds; set while no worker of any engine consumes a subscription. */
  readonly offlineSince: number | undefined;
  /** Wall clock, milliseconds; an ended subscription gets nothing new. */
  readonly endedAt: number | undefined;
  /** Jobs dropped since the line exists because its backlog was full. */
  readonly expired: number;
}

/** What a named queue asks of its broker. */
export interface QueueRules {
  /** Jobs of one group stand behind each other; stored jobs without a group form the group `""`. */
  readonly serial: boolean;
  /** Starts per time over the whole queue, and per value of `rateKey`. */
  readonly rate: Rate | undefined;
  readonly ratePerKey: Rate | undefined;
  /** Jobs that run at once on all engines together. */
  readonly globalConcurrency: number | undefined;
  /** Ended jobs on record beyond what memory holds; 0 = none. */
  readonly keepEndedMs: number;
  readonly keepEndedCount: number;
  /** Dead letters go after this time; 0 = they stay. */
  readonly keepDeadMs: number;
  /** Left out = `full`. For adapters that keep jobs on this machine; a server has promises of its own. */
  readonly durability?: Durability;
  /** Most jobs that wait; left out = no bound. */
  readonly maxWaiting?: number;
  /** Highest priority of its jobs, where the configuration speaks of priorities: some brokers must know beforehand. */
  readonly maxPriority?: number | undefined;
  /** A delivery without an answer after this long has failed; the runner sees to it. */
  readonly timeoutMs?: number | undefined;
  /** What a job gets that someone else than an engine enqueues, where an adapter lets them. */
  readonly defaults?: EnqueueDefaults | undefined;
}

/** What the queue's configuration stamps on a job that says nothing of its own. A JSON value. */
export interface EnqueueDefaults {
  readonly maxAttempts: number;
  readonly backoffMs: number;
  readonly backoffListMs?: readonly number[] | undefined;
  readonly groupField?: string | undefined;
  readonly priorityField?: string | undefined;
  readonly maxPriority: number;
}

export interface Rate {
  readonly max: number;
  readonly perMs: number;
}

/** What a subscriber says about its deliveries; the broker keeps it with the subscription. A JSON value. */
export interface SubscriptionSettings {
  readonly fifo: boolean;
  /** How often its jobs are tried; stamped when they are made. */
  readonly maxAttempts: number;
  readonly backoffMs: number;
  readonly backoffListMs?: readonly number[] | undefined;
  readonly maxBacklog: number;
  readonly maxBacklogBytes: number;
  /** 0 pauses. */
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly maxBackoffMs: number;
  readonly jitter: number;
  readonly consumers: 'newest' | 'replicas';
  readonly conditionFunctionId?: string | undefined;
  /** Raw JSON text of the trigger's metadata. */
  readonly metadata?: string | undefined;
}

/** Bounds and times of a topic. */
export interface TopicRules {
  /** A message stays this long after it was published, for `replay`; 0 = until it is delivered. */
  readonly replayRetentionMs: number;
  /** How long an offline subscription keeps receiving, and an ended one keeps its backlog. */
  readonly subscriptionRetentionMs: number;
  /** Of its messages; as for a queue. */
  readonly durability?: Durability;
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
  /** Chosen by the client; undefined = the broker makes one. */
  readonly receipt: string | undefined;
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
  readonly extras: NewJobExtras | undefined;
}

/** What an enqueue may ask for beside the job itself. */
export interface NewJobExtras extends JobExtras {
  /** Runs this much later (steady clock) or at that time (wall clock), in milliseconds. */
  readonly delayMs?: number | undefined;
  readonly runAt?: number | undefined;
  /** The key counts as taken for this long, whatever becomes of the job. */
  readonly uniqueMs?: number | undefined;
}

export interface Accepted {
  readonly receipt: string;
  /** A job with this unique key is there already: the receipt is that one's. */
  readonly deduplicated: boolean;
}

export interface Message {
  readonly topic: string;
  readonly data: string;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
  readonly createdAt: number;
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

export interface DeadQuery {
  readonly offset: number;
  readonly limit: number;
  /** The page ends before it is larger than this; it has at least one entry. In UTF-16 units. */
  readonly maxBytes: number;
  readonly filter?: DeadFilter | undefined;
}

export interface DeadFilter {
  readonly functionId?: string | undefined;
  readonly code?: string | undefined;
  /** Part of the error text. */
  readonly error?: string | undefined;
  /** Wall clock, milliseconds: failed at or after, and before. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
}

export interface DeadPage {
  /** Newest first. */
  readonly letters: readonly DeadLetter[];
  /** How many match, whatever the page. */
  readonly total: number;
  /** The page ended at `maxBytes`. */
  readonly cut: boolean;
}

export interface RedriveOptions {
  /** At most so many, oldest first. */
  readonly limit?: number | undefined;
  /** Retries and backoff of today instead of those stamped at the enqueue. */
  readonly restamp?: { readonly maxAttempts: number; readonly backoffMs: number } | undefined;
}

/** What is known of a receipt. */
export interface JobRecord {
  readonly state: JobState;
  readonly receipt: string;
  readonly kind: LineSpec['kind'];
  readonly name: string;
  readonly functionId: string;
  readonly namespace: string;
  readonly attempts: number;
  readonly failures: readonly Failure[];
  /** Wall clock, milliseconds. */
  readonly createdAt: number;
  readonly dueAt?: number | undefined;
  readonly startedAt?: number | undefined;
  readonly endedAt?: number | undefined;
  readonly error?: string | undefined;
  readonly code?: string | undefined;
}

export type JobState =
  'waiting' | 'delayed' | 'running' | 'done' | 'dead' | 'cancelled' | 'expired' | 'purged' | 'discarded';

export type PurgeTarget = 'waiting' | 'delayed' | 'dead';

export interface BrokerEvents {
  /** `reserve` may find something in this line. Never called from within `reserve`. */
  ready(line: Line): void;
  /** The function that keeps a job of this line waiting, or undefined when it can run. */
  missing(
    line: Line,
    functionId: string,
    namespace: string,
  ): { readonly functionId: string; readonly namespace: string } | undefined;
  /** So many of a subscription's oldest jobs were dropped, as its backlog was full. After the commit. */
  expired(line: Line, count: number): void;
  /** Bounds and times of a topic, as configured now. */
  topicRules(topic: string): TopicRules;
}

/** Can the broker be reached and written to? For `engine::health::check`. */
export interface BrokerHealth {
  readonly state: 'ready' | 'degraded' | 'unreachable';
  /** What is wrong, where, and what to do. */
  readonly detail?: string | undefined;
  /** `relaxed`: the broker's own settings let it forget what it has accepted; `detail` names them. Left out = full. */
  readonly durability?: 'full' | 'relaxed' | undefined;
}

export interface Broker {
  readonly adapter: AdapterName;
  readonly capabilities: ReadonlySet<Capability>;
  health(): BrokerHealth;

  /** Every line that the broker knows. */
  lines(filter?: { readonly kind?: LineSpec['kind']; readonly name?: string }): Promise<readonly Line[]>;
  /** Counts of one line or the sum of several. */
  stats(lines: readonly Line[]): Promise<LineStats>;
  /** Makes or changes named queues: all of them or none. Resolves after the commit. */
  openQueues(rules: ReadonlyMap<string, QueueRules>): Promise<ReadonlyMap<string, Line>>;
  /**
   * Makes or renews a subscription. Resolves after the commit; a publish that is ordered after it
   * reaches the line. What its topic held becomes its backlog.
   */
  subscribe(spec: LineSpec, settings: SubscriptionSettings): Promise<Line>;
  /** This engine has no trigger of a subscription any more: its worker went away, or it was ended. */
  leave(line: Line, how: 'offline' | 'ended'): Promise<void>;

  /** Stores a job. Resolves after the commit; only then can it be reserved. */
  accept(line: Line, job: NewJob): Promise<Accepted>;
  /**
   * Stores a message once, with a job for each subscription that is not ended. Resolves after the
   * commit.
   *
   * @throws TrineError `topic_backlog_full` when nobody subscribes and no more can be held
   */
  publish(message: Message): Promise<void>;
  /** Messages held by topics without subscriptions. */
  held(): Promise<ReadonlyMap<string, { readonly count: number; readonly bytes: number }>>;

  /**
   * This engine wants at most so many jobs of a line at once; 0 = none. What `missing` says about the
   * line may have changed. A broker that prefetches gives back what is too much.
   */
  consume(line: Line, concurrency: number): void;
  /** Leases the next job that can run, or undefined; `ready` tells when to ask again. */
  reserve(line: Line): Lease | undefined;
  /** Carries out what was decided. Resolves after the commit where there is one; a failing store is waited for. */
  settle(lease: Lease, decision: Decision): Promise<void>;
  /** A function became callable on this engine, or stopped being so. */
  functionChanged(functionId: string, namespace: string, available: boolean): void;

  /** Dead letters, newest first. */
  browseDead(lines: readonly Line[], query: DeadQuery): Promise<DeadPage>;
  /** Moves dead letters of a line back, oldest first, behind what waits. Answers how many. */
  redrive(line: Line, options?: RedriveOptions): Promise<number>;
  /** @param id - job id or receipt */
  redriveOne(lines: readonly Line[], id: string, options?: RedriveOptions): Promise<boolean>;

  /** Applies retention: of dead letters, ended jobs, held and replayable messages, offline subscriptions. */
  sweep(): Promise<void>;
  /** Nothing is reserved any more; what is accepted is still stored. */
  drain(): void;
  /** Forgets all leases without a charge and closes the store. */
  stop(): Promise<void>;

  /** `batch`: all or nothing, answers in order. */
  acceptMany?(jobs: readonly { readonly line: Line; readonly job: NewJob }[]): Promise<readonly Accepted[]>;
  /** `late_success`: ends a job whose lease timed out unless it runs again already. */
  finishLate?(lease: Lease): Promise<boolean>;
  /** `lookup` */
  lookup?(receipt: string): Promise<JobRecord | undefined>;
  /** `cancel`: answers the state that the job is in afterwards, undefined for an unknown receipt. */
  cancel?(receipt: string): Promise<JobState | undefined>;
  /** `pause` */
  setPaused?(line: Line, paused: boolean): Promise<void>;
  /** `purge`: answers how many. */
  purge?(line: Line, what: PurgeTarget): Promise<number>;
  /** `peek`: what runs next, in order, without a lease. */
  peek?(line: Line, limit: number): Promise<readonly Job[]>;
  /** `dead_discard` */
  discardOne?(lines: readonly Line[], id: string): Promise<boolean>;
  /** `dead_edit` */
  editDead?(
    lines: readonly Line[],
    id: string,
    change: { readonly data?: string | undefined; readonly functionId?: string | undefined },
  ): Promise<boolean>;
  /**
   * `replay`: messages since a time (wall clock) again for one subscription, as new jobs.
   *
   * @throws TrineError `replay_not_retained` naming the earliest time
   */
  replay?(line: Line, sinceMs: number): Promise<number>;
}
