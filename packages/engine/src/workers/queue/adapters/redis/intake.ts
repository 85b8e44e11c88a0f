/**
 * Accepts jobs: one script for one job or a batch, all or nothing. The answer of Redis is the receipt.
 *
 * Hot path (`accept`): one call, no parse of a payload.
 */
import { RedisFailure } from '../../../../redis/index.js';
import type { Accepted, NewJob } from '../index.js';
import type { RedisCore } from './core.js';
import { functionKey, type RedisLine } from './line.js';

/** Payload on its way to Redis, in UTF-16 units; above it jobs are refused. */
export const MAX_PENDING_LENGTH = 64 * 1024 * 1024;

export class Intake {
  readonly #core: RedisCore;
  #pending = 0;

  constructor(core: RedisCore) {
    this.#core = core;
  }

  async acceptMany(jobs: readonly { readonly line: RedisLine; readonly job: NewJob }[]): Promise<Accepted[]> {
    const core = this.#core;
    const length = jobs.reduce((sum, { job }) => sum + job.data.length, 0);
    if (this.#pending > 0 && this.#pending + length > MAX_PENDING_LENGTH) {
      throw new RedisFailure(
        'away',
        `Redis is slow: ${this.#pending} bytes of jobs wait for its answer, enqueue again later`,
      );
    }
    const args = jobs.flatMap(({ line, job }) => this.#argsOf(line, job));
    this.#pending += length;
    try {
      const answers = (await core.withLines(() => core.run(core.scripts.accept, args))) as [string, number][];
      return answers.map(([receipt, taken]) => ({ receipt, deduplicated: taken === 1 }));
    } finally {
      this.#pending -= length;
    }
  }

  /** In the order of the script's fields. */
  #argsOf(line: RedisLine, job: NewJob): (string | number)[] {
    const { extras } = job;
    const kept =
      extras === undefined
        ? {}
        : {
            ...(extras.priority ? { priority: extras.priority } : {}),
            ...(extras.rateKey === undefined ? {} : { rateKey: extras.rateKey }),
            ...(extras.timeoutMs === undefined ? {} : { timeoutMs: extras.timeoutMs }),
          };
    const delayMs = extras?.delayMs;
    const due = delayMs ? `+${Math.round(delayMs)}` : (extras?.runAt ?? '');
    return [
      line.id,
      job.receipt === undefined ? this.#core.receiptHead() : '',
      job.receipt ?? '',
      functionKey(job.functionId, job.namespace),
      optional(job.group),
      job.data,
      job.metadata ?? '',
      job.traceparent ?? '',
      job.baggage ?? '',
      job.createdAt,
      job.maxAttempts,
      job.backoffMs,
      extras === undefined || Object.keys(kept).length === 0 ? '' : JSON.stringify(kept),
      extras?.backoffListMs === undefined ? '' : JSON.stringify(extras.backoffListMs),
      extras?.priority ?? 0,
      optional(extras?.rateKey),
      optional(extras?.uniqueKey),
      extras?.uniqueMs ?? '',
      extras?.expiresAt ?? '',
      due,
      job.data.length,
    ];
  }
}

/** Absent is '', and a text that may be empty has a sign before it. */
export function optional(text: string | undefined): string {
  return text === undefined ? '' : `=${text}`;
}
