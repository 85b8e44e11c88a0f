import { createHash } from 'node:crypto';
import type { Timer } from '../../../../core/clock.js';
import type { Job } from '../../job.js';
import type { Lease, Line, LineSpec, QueueRules, SubscriptionSettings } from '../index.js';

/** A function that a line has jobs of. */
export interface LineFunction {
  readonly key: string;
  readonly functionId: string;
  readonly namespace: string;
}

export interface RedisLease extends Lease {
  readonly line: RedisLine;
  readonly id: string;
  /** Counts the leases of the job: an answer under an older one is ignored. */
  readonly number: number;
  readonly expiresAt: number | undefined;
  startedAt: number;
  /** Another engine may have the job. */
  lost: boolean;
}

/** Every engine gives a line the same id without asking. */
export function lineId({ kind, name, namespace, functionId }: LineSpec): string {
  return createHash('sha1').update([kind, name, namespace, functionId].join('\0')).digest('hex').slice(0, 16);
}

export function functionKey(functionId: string, namespace: string): string {
  return `${namespace}\0${functionId}`;
}

export function lineFunction(key: string): LineFunction {
  const at = key.indexOf('\0');
  return { key, namespace: key.slice(0, at), functionId: key.slice(at + 1) };
}

export class RedisLine implements Line {
  readonly id: string;
  readonly kind: LineSpec['kind'];
  readonly name: string;
  readonly namespace: string;
  readonly functionId: string;
  settings: SubscriptionSettings | undefined;
  serial = false;
  paused = false;
  offlineSince: number | undefined;
  endedAt: number | undefined;
  expired = 0;
  /** Place in the list of lines. */
  since = 0;
  /** Of a queue that is configured on this engine. */
  rules: QueueRules | undefined;
  /** A subscription that this engine has triggers of. */
  consumed = false;
  /** Most jobs at once on this engine. */
  concurrency = 0;
  /** Given out by `reserve` and not settled. */
  leased = 0;
  /** Leased for this engine, not given out yet. */
  atHand: RedisLease[] = [];
  /** `reserve` found nothing: whoever asked waits for `ready`. */
  wanting = false;
  /** The fetch under way. */
  fetching: Promise<void> | undefined;
  /** Something changed during the fetch. */
  again = false;
  scheduled = false;
  /** While it is not 0 nothing is fetched: what is at hand is being given back. */
  held = 0;
  timer: Timer | undefined;
  /** Functions that the line has jobs of, as of `version`. */
  functions: readonly LineFunction[] = [];
  version = '';
  warnedBacklog = false;
  warnedDead = false;

  constructor(spec: LineSpec) {
    this.id = lineId(spec);
    this.kind = spec.kind;
    this.name = spec.name;
    this.namespace = spec.namespace;
    this.functionId = spec.functionId;
  }
}

/** A job as `fetch` answers it: see `JOB_FIELDS`. */
export function jobFrom(id: string, f: readonly (string | null)[]): Job {
  const key = lineFunction(f[1] ?? '');
  const extras = f[10] === null ? undefined : (JSON.parse(f[10] as string) as object);
  const list = f[11] === null ? undefined : (JSON.parse(f[11] as string) as number[]);
  return {
    seq: Number(id),
    receipt: f[0] as string,
    jobId: f[16] ?? undefined,
    functionId: key.functionId,
    namespace: key.namespace,
    group: f[2] ?? undefined,
    data: f[3] as string,
    metadata: f[4] ?? undefined,
    traceparent: f[5] ?? undefined,
    baggage: f[6] ?? undefined,
    createdAt: Number(f[7]),
    maxAttempts: Number(f[8]),
    backoffMs: Number(f[9]),
    extras:
      extras === undefined && list === undefined ? undefined : { ...extras, ...(list && { backoffListMs: list }) },
    attempts: Number(f[12]),
    lost: Number(f[13] ?? 0),
    redelivered: f[14] === '1',
    failures: failuresFrom(f[15]),
  };
}

export function failuresFrom(text: string | null | undefined): Job['failures'] {
  return text === null || text === undefined || text === '' ? [] : (JSON.parse(text) as Job['failures']);
}
