import { describe, expect, it } from 'vitest';
import type { FailureCause, Outcome } from '../../core/worker-host.js';
import { backoff, decide, lostDelay, MAX_KEPT_FAILURES, MAX_LOST_IN_A_ROW, type Job, type RetryRules } from './job.js';

const RULES: RetryRules = { maxBackoffMs: 3_600_000, jitter: 0 };

function job(changes: Partial<Job> = {}): Job {
  return {
    seq: 1,
    receipt: 'r',
    jobId: undefined,
    functionId: 'a::b',
    namespace: 'default',
    group: undefined,
    data: '{}',
    metadata: undefined,
    traceparent: undefined,
    baggage: undefined,
    createdAt: 0,
    maxAttempts: 3,
    backoffMs: 1_000,
    extras: undefined,
    attempts: 0,
    lost: 0,
    redelivered: false,
    failures: [],
    ...changes,
  };
}

function failure(cause: FailureCause, code = 'invocation_failed', message = 'broken'): Outcome {
  return { ok: false, cause, error: { code, message } };
}

describe('the end of a delivery', () => {
  it('spends an attempt on a failure and on a timeout, and resets the losses', () => {
    for (const cause of ['handler', 'timeout'] as const) {
      expect(decide(job({ attempts: 1, lost: 4 }), failure(cause), RULES, 7, 0)).toEqual({
        kind: 'postpone',
        delayMs: 2_000,
        attempts: 2,
        lost: 0,
        failures: [{ at: 7, error: 'broken' }],
      });
    }
  });

  it('dead-letters the last attempt with its error', () => {
    expect(decide(job({ attempts: 2 }), failure('handler', 'db_error', 'no table'), RULES, 7, 0)).toMatchObject({
      kind: 'dead',
      attempts: 3,
      error: 'no table',
      code: 'db_error',
    });
  });

  it('spends no attempt on a lost worker, until it is lost once too often in a row', () => {
    let current = job();
    const delays: number[] = [];
    for (let i = 0; i < MAX_LOST_IN_A_ROW; i++) {
      const decision = decide(current, failure('lost', 'invocation_stopped'), RULES, 7, 0);
      if (decision.kind !== 'postpone') throw new Error(`${decision.kind} after ${i + 1}`);
      expect(decision.attempts).toBe(0);
      delays.push(decision.delayMs);
      current = job({ lost: decision.lost });
    }
    expect(delays).toEqual([0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000]);
    const last = decide(current, failure('lost', 'invocation_stopped'), RULES, 7, 0, 'crasher');
    expect(last).toMatchObject({ kind: 'dead', code: 'worker_lost', attempts: 0 });
    expect(last).toHaveProperty('error', "worker 'crasher' was lost 11 times in a row while it ran a::b");
  });

  it('charges nothing when the job did not run, and dead-letters what can never be delivered', () => {
    expect(decide(job(), failure('not_found'), RULES, 7, 0)).toEqual({ kind: 'release', delayMs: 0 });
    expect(decide(job(), failure('refused', 'channel_send_failed'), RULES, 7, 0)).toEqual({
      kind: 'release',
      delayMs: 1_000,
    });
    expect(decide(job(), failure('refused', 'payload_too_large', 'too large'), RULES, 7, 0)).toMatchObject({
      kind: 'dead',
      attempts: 0,
      code: 'payload_too_large',
    });
  });

  it('keeps a bounded number of failures', () => {
    const failures = Array.from({ length: MAX_KEPT_FAILURES }, (_, at) => ({ at, error: 'e' }));
    const decision = decide(job({ failures, maxAttempts: 1_000 }), failure('handler'), RULES, 99, 0);
    if (decision.kind !== 'postpone') throw new Error(decision.kind);
    expect(decision.failures).toHaveLength(MAX_KEPT_FAILURES);
    expect(decision.failures.at(-1)).toEqual({ at: 99, error: 'broken' });
  });
});

describe('waits', () => {
  it('doubles the backoff up to its cap, however often it failed', () => {
    expect([1, 2, 3, 4].map((k) => backoff(1_000, k, RULES, 0))).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect(backoff(1_000, 5_000, RULES, 0)).toBe(3_600_000);
    expect(backoff(0, 5_000, RULES, 0)).toBe(0);
  });

  it('leaves the share of jitter to chance', () => {
    expect(backoff(10_000, 1, { maxBackoffMs: 60_000, jitter: 0.5 }, 0)).toBe(10_000);
    expect(backoff(10_000, 1, { maxBackoffMs: 60_000, jitter: 0.5 }, 0.5)).toBe(7_500);
  });

  it('waits 0, 1, 2, 4 ... 30 s after losses', () => {
    expect([1, 2, 3, 4, 7].map(lostDelay)).toEqual([0, 1_000, 2_000, 4_000, 30_000]);
  });
});
