/** What a handler can say about the job that it runs, by the receipt in its metadata. */
import { ErrorCode } from '@trine/protocol';
import { z } from 'zod';
import { MAX_TIMER_MS } from '../../core/clock.js';
import { deserializationError } from '../../core/raw-input.js';
import type { FunctionDefinition } from '../../core/worker-host.js';
import { jobNotRunning } from './errors.js';
import type { QueueParts } from './function-input.js';

const heartbeatRequest = z.object({ receipt: z.string().min(1) });
const rejectRequest = z.object({
  receipt: z.string().min(1),
  error: z.string().default('rejected by its handler').describe('Kept with the job.'),
  error_code: z.string().min(1).default(ErrorCode.invocationFailed),
  dead_letter: z.boolean().default(false).describe('No further attempt.'),
  retry_in_ms: z
    .number()
    .int()
    .min(0)
    .max(MAX_TIMER_MS)
    .optional()
    .describe('Run again after this time. Spends an attempt like any failure.'),
});

export function handlerFunctions(parts: QueueParts): FunctionDefinition[] {
  return [heartbeat(parts), reject(parts)];
}

function heartbeat({ runs }: QueueParts): FunctionDefinition<z.infer<typeof heartbeatRequest>> {
  return {
    id: 'iii::queue::heartbeat',
    description: 'The handler of a job needs longer: its timeout starts again',
    request: heartbeatRequest,
    response: z.object({ receipt: z.string(), timeout_ms: z.number() }),
    handler({ receipt }) {
      const run = runs.get(receipt);
      if (run?.call === undefined || !run.call.extend(run.timeoutMs)) throw jobNotRunning(receipt);
      return { receipt, timeout_ms: run.timeoutMs };
    },
  };
}

function reject({ runs }: QueueParts): FunctionDefinition<z.infer<typeof rejectRequest>> {
  const id = 'iii::queue::reject';
  return {
    id,
    description:
      'The handler of a job judges its own failure: dead letter, or again after a time. Its answer is ignored',
    request: rejectRequest,
    response: z.object({ receipt: z.string(), state: z.enum(['dead', 'delayed']) }),
    async handler({ receipt, error, error_code, dead_letter, retry_in_ms }) {
      if (dead_letter === (retry_in_ms !== undefined))
        throw deserializationError(id, 'say either `dead_letter: true` or `retry_in_ms`');
      const run = runs.get(receipt);
      if (run === undefined) throw jobNotRunning(receipt);
      const verdict = retry_in_ms === undefined ? ({ deadLetter: true } as const) : { retryInMs: retry_in_ms };
      const decision = await run.runner.reject(run, { code: error_code, message: error }, verdict);
      return { receipt, state: decision.kind === 'dead' ? 'dead' : 'delayed' };
    },
  };
}
