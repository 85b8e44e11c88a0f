/**
 * A job and its life.
 *
 *   (accept) -> ready
 *   ready    -> leased      a slot is free, its function is there, and the accepting commit was answered
 *   leased   -> done        the handler answered
 *   leased   -> delayed     the handler failed or timed out, attempts are left: an attempt is spent
 *   leased   -> delayed     its worker was lost: no attempt is spent, `lost` counts
 *   leased   -> dead        no attempts left | lost `MAX_LOST_IN_A_ROW` times more than allowed | cannot be delivered at all
 *   leased   -> dead | delayed   the handler rejected it with `iii::queue::reject`
 *   delayed  -> done        the handler answered after its timeout, before the next run
 *   leased   -> ready       it did not run (function gone, worker busy, engine draining): nothing is spent
 *   delayed  -> ready       when due
 *   ready, delayed -> expired     its time is over, or the subscription's backlog is full and this is its oldest
 *   ready, delayed -> cancelled | purged
 *   dead     -> ready       redrive: attempts 0, redrives + 1
 *   dead     -> discarded
 *
 * done, expired, cancelled, purged and discarded are final. `decide` is the one place that says what the end of a
 * delivery means; the broker carries it out. Leases are in memory only: after a crash whatever is
 * stored is ready or delayed again.
 */
import { ErrorCode, type ErrorBody } from '@trine/protocol';
import type { Outcome } from '../../core/worker-host.js';

/** The `lost`-th loss in a row that dead-letters is the one after this many. */
export const MAX_LOST_IN_A_ROW = 10;
/** Longest wait after a lost worker, in milliseconds. */
export const MAX_LOST_DELAY_MS = 30_000;
/** Wait before a delivery that the engine could not make is tried again, in milliseconds. */
export const UNDELIVERED_DELAY_MS = 1_000;
/** Failures that are kept with a job; older ones are dropped. */
export const MAX_KEPT_FAILURES = 50;
/** Length of a kept error text, in UTF-16 units. */
export const MAX_ERROR_LENGTH = 4_096;
/** Backoff never grows beyond this, in milliseconds, unless configured. */
export const DEFAULT_MAX_BACKOFF_MS = 3_600_000;

/** More would only leave the numbers that are exact. */
const MAX_DOUBLINGS = 32;

export interface Job {
  /** Place in the order of acceptance; unique in the store. */
  readonly seq: number;
  readonly receipt: string;
  /** Set when the job was dead-lettered before: it keeps its id. */
  readonly jobId: string | undefined;
  readonly functionId: string;
  readonly namespace: string;
  readonly group: string | undefined;
  /** Raw JSON text, delivered as it is. */
  readonly data: string;
  /** Raw JSON text of the caller's metadata. */
  readonly metadata: string | undefined;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
  /** Wall clock, milliseconds. */
  readonly createdAt: number;
  readonly maxAttempts: number;
  readonly backoffMs: number;
  readonly extras: JobExtras | undefined;
  /** Failed deliveries so far. */
  attempts: number;
  /** Deliveries in a row that ended because the worker was lost. */
  lost: number;
  /** It may have been delivered before. */
  redelivered: boolean;
  failures: readonly Failure[];
}

/** What only some jobs ask for. A JSON value, stored with the job. */
export interface JobExtras {
  /** 0 to 255, higher first. */
  readonly priority?: number | undefined;
  /** Whose rate its start counts for. */
  readonly rateKey?: string | undefined;
  readonly uniqueKey?: string | undefined;
  /** Wall clock, milliseconds: a job that has not started by then is dropped. */
  readonly expiresAt?: number | undefined;
  /** Instead of the queue's. */
  readonly timeoutMs?: number | undefined;
  /** Waits after the 1st, 2nd, ... failure; the last one counts for all further ones. */
  readonly backoffListMs?: readonly number[] | undefined;
  /** A message of a topic that was delivered before, see `iii::durable::replay`. */
  readonly replayed?: boolean | undefined;
}

/** One failed delivery, as the dead-letter queue shows it. `at` in milliseconds since the epoch. */
export interface Failure {
  readonly at: number;
  readonly error: string;
}

/** What happens to a job whose delivery ended. */
export type Decision =
  | { readonly kind: 'done' }
  /** Not stored: nothing about the job changed. */
  | { readonly kind: 'release'; readonly delayMs: number }
  | {
      readonly kind: 'postpone';
      readonly delayMs: number;
      readonly attempts: number;
      readonly lost: number;
      readonly failures: readonly Failure[];
    }
  | {
      readonly kind: 'dead';
      readonly error: string;
      readonly code: string;
      readonly attempts: number;
      readonly lost: number;
      readonly failures: readonly Failure[];
    };

export interface RetryRules {
  readonly maxBackoffMs: number;
  /** Share of the backoff that is left to chance, 0 to 1. */
  readonly jitter: number;
  /** A failure whose code or message one of these matches is the last. */
  readonly noRetryOn?: readonly RegExp[] | undefined;
}

/**
 * @param now - wall clock, milliseconds
 * @param chance - a number in [0, 1), for the jitter
 * @param lostBy - the worker that served, as far as known, for the error text
 */
export function decide(
  job: Job,
  outcome: Outcome,
  rules: RetryRules,
  now: number,
  chance: number,
  lostBy?: string,
): Decision {
  if (outcome.ok) return { kind: 'done' };
  const { error, cause } = outcome;
  switch (cause) {
    case 'handler':
    case 'timeout':
      return failed(job, error, rules, now, chance);
    case 'lost':
      return lost(job, now, lostBy);
    case 'not_found':
      return { kind: 'release', delayMs: 0 };
    case 'refused':
      if (error.code !== ErrorCode.payloadTooLarge) return { kind: 'release', delayMs: UNDELIVERED_DELAY_MS };
      return {
        kind: 'dead',
        ...textOf(error),
        attempts: job.attempts,
        lost: job.lost,
        failures: withFailure(job, now, error.message),
      };
  }
}

/** A failed delivery, also that of a condition function. */
function failed(job: Job, error: ErrorBody, rules: RetryRules, now: number, chance: number): Decision {
  const attempts = job.attempts + 1;
  const failures = withFailure(job, now, error.message);
  if (attempts >= job.maxAttempts || isFinal(error, rules)) {
    return { kind: 'dead', ...textOf(error), attempts, lost: 0, failures };
  }
  const list = job.extras?.backoffListMs;
  const delayMs =
    list === undefined || list.length === 0
      ? backoff(job.backoffMs, attempts, rules, chance)
      : (list[Math.min(attempts, list.length) - 1] as number);
  return { kind: 'postpone', delayMs, attempts, lost: 0, failures };
}

/** What a handler says through `iii::queue::reject`: a failed attempt that it judges itself. */
export function rejected(
  job: Job,
  error: ErrorBody,
  verdict: { readonly deadLetter: true } | { readonly retryInMs: number },
  now: number,
): Decision {
  const attempts = job.attempts + 1;
  const failures = withFailure(job, now, error.message);
  if ('deadLetter' in verdict || attempts >= job.maxAttempts) {
    return { kind: 'dead', ...textOf(error), attempts, lost: 0, failures };
  }
  return { kind: 'postpone', delayMs: verdict.retryInMs, attempts, lost: 0, failures };
}

function isFinal({ code, message }: ErrorBody, { noRetryOn }: RetryRules): boolean {
  return noRetryOn?.some((pattern) => pattern.test(code) || pattern.test(message)) ?? false;
}

/** A pattern of `no_retry_on`: the whole code or message, `*` stands for anything. */
export function retryPattern(pattern: string): RegExp {
  const parts = pattern.split('*').map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}

function lost(job: Job, now: number, lostBy: string | undefined): Decision {
  const times = job.lost + 1;
  if (times <= MAX_LOST_IN_A_ROW) {
    return { kind: 'postpone', delayMs: lostDelay(times), attempts: job.attempts, lost: times, failures: job.failures };
  }
  const worker = lostBy === undefined ? 'the worker' : `worker '${lostBy}'`;
  const error = `${worker} was lost ${times} times in a row while it ran ${job.functionId}`;
  return {
    kind: 'dead',
    error,
    code: 'worker_lost',
    attempts: job.attempts,
    lost: times,
    failures: withFailure(job, now, error),
  };
}

/** `backoff * 2^(k-1)` after the k-th failure, capped; jitter takes off up to its share. In whole milliseconds. */
export function backoff(backoffMs: number, failures: number, rules: RetryRules, chance: number): number {
  const full = Math.min(backoffMs * 2 ** Math.min(failures - 1, MAX_DOUBLINGS), rules.maxBackoffMs);
  return Math.round(full * (1 - rules.jitter * chance));
}

/** 0, 1, 2, 4 ... 30 s after the 1st, 2nd, 3rd ... loss in a row. */
export function lostDelay(times: number): number {
  return times <= 1 ? 0 : Math.min(1_000 * 2 ** (times - 2), MAX_LOST_DELAY_MS);
}

function withFailure(job: Job, at: number, error: string): readonly Failure[] {
  return [...job.failures.slice(1 - MAX_KEPT_FAILURES), { at, error: error.slice(0, MAX_ERROR_LENGTH) }];
}

function textOf(error: ErrorBody): { readonly error: string; readonly code: string } {
  return { error: error.message.slice(0, MAX_ERROR_LENGTH), code: error.code };
}
