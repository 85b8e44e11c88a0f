/** What travels between the queue's SQL and the main thread. */

/** A stored job as it travels to the main thread. */
export type JobRow = {
  readonly seq: number;
  readonly receipt: string;
  readonly jobId: string | null;
  readonly functionId: string;
  readonly namespace: string;
  readonly group: string | null;
  readonly message: number | null;
  readonly data: string;
  readonly size: number;
  readonly metadata: string | null;
  readonly traceparent: string | null;
  readonly baggage: string | null;
  readonly createdAt: number;
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly backoffMs: number;
  readonly lost: number;
  readonly redrives: number;
  readonly errors: string | null;
  readonly due: number | null;
  /** Null where `due` is a time of the wall clock. */
  readonly delay: number | null;
  /** JSON text of `JobExtras`. */
  readonly options: string | null;
  readonly line: number;
  readonly lane: number;
  /** Not 0: it is on its way to the quarantine, and `data` may be null. */
  readonly damaged: number;
};

/** What is left of a job that ended without running, for those who ask for its receipt. */
export type EndedRow = Pick<JobRow, 'seq' | 'receipt' | 'functionId' | 'namespace' | 'createdAt' | 'attempts'> & {
  readonly size: number;
};

/** An ended job on record. */
export type KeptRow = Pick<JobRow, 'receipt' | 'functionId' | 'namespace' | 'createdAt' | 'attempts' | 'errors'> & {
  readonly line: number;
  readonly state: string;
  readonly endedAt: number;
};

export type Found =
  | { readonly kind: 'job'; readonly job: JobRow }
  | { readonly kind: 'dead'; readonly dead: DeadRow }
  | { readonly kind: 'ended'; readonly ended: KeptRow };

export type DeadRow = {
  readonly seq: number;
  readonly line: number;
  readonly jobId: string;
  readonly receipt: string;
  readonly functionId: string;
  readonly namespace: string;
  readonly group: string | null;
  readonly data: string;
  readonly attempts: number;
  readonly errors: string | null;
  readonly error: string;
  readonly errorCode: string;
  readonly failedAt: number;
  readonly size: number;
  readonly createdAt: number;
  readonly damaged: number;
};

/** What `redrive` needs of a dead letter to find its lane. */
export type DeadKey = EndedRow & Pick<DeadRow, 'line' | 'group'> & { readonly options: string | null };

export type LineRow = {
  readonly id: number;
  readonly isTopic: number;
  readonly name: string;
  readonly namespace: string;
  readonly functionId: string;
  readonly settings: string;
  readonly offlineSince: number | null;
  readonly endedAt: number | null;
  readonly expired: number;
  readonly paused: number;
};

export type LaneRow = {
  readonly lane: number;
  readonly line: number;
  readonly functionId: string;
  readonly namespace: string;
  readonly group: string | null;
  readonly count: number;
  readonly bytes: number;
  readonly last: number;
  /** How many of `count` are postponed. */
  readonly delayed: number;
  readonly options: string | null;
};

/** When a postponed job is due; `delay` is null where that is a time of the wall clock. */
export type DueRow = {
  readonly seq: number;
  readonly lane: number;
  readonly due: number;
  readonly delay: number | null;
};

/** When a job expires, wall clock. */
export type ExpiryRow = {
  readonly seq: number;
  readonly at: number;
};

export type Snapshot = {
  readonly lastSeq: number;
  readonly lastLane: number;
  readonly lines: readonly LineRow[];
  readonly lanes: readonly LaneRow[];
  /** When the first job expires, wall clock. */
  readonly firstExpiry: number | null;
  /** Since when messages of a topic are kept for a replay, wall clock. */
  readonly kept: readonly { readonly topic: string; readonly since: number }[];
  readonly dead: readonly { readonly line: number; readonly count: number }[];
  readonly held: readonly { readonly topic: string; readonly count: number; readonly bytes: number }[];
};

/** A job with more than the usual fields, as it travels to the storage thread. */
export type OptionsJob = {
  readonly seq: number;
  readonly line: number;
  readonly lane: number;
  readonly receipt: string;
  readonly functionId: string;
  readonly namespace: string;
  readonly group: string | null;
  readonly data: string;
  readonly metadata: string | null;
  readonly traceparent: string | null;
  readonly baggage: string | null;
  readonly createdAt: number;
  readonly maxAttempts: number;
  readonly backoffMs: number;
  readonly due: number | null;
  readonly delay: number | null;
  readonly options: string | null;
  readonly expiresAt: number | null;
  readonly lookup: string | null;
  readonly uniqueKey: string | null;
  readonly uniqueUntil: number | null;
};

export type DeadConditions = {
  readonly functionId?: string | undefined;
  readonly code?: string | undefined;
  readonly error?: string | undefined;
  readonly since?: number | undefined;
  readonly until?: number | undefined;
};
