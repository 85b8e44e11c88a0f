/** What can be asked and done about jobs that have not run yet, and about whole queues. */
import { Payload } from '@trine/protocol';
import { z } from 'zod';
import type { FunctionDefinition } from '../../core/worker-host.js';
import { needCapability, type Capability } from './adapters/index.js';
import { QueueCode } from './errors.js';
import { guarded, linesOf, named, nameOf, type QueueErrorCode, type QueueParts } from './function-input.js';

/** Jobs in one look at a queue. */
export const MAX_PEEK = 100;
/** Payload in one look, in UTF-16 units; it shows at least one job. */
export const MAX_PEEK_LENGTH = 1024 * 1024;
const DEFAULT_PEEK = 10;

const receiptRequest = z.object({ receipt: z.string().min(1).describe('The `messageReceiptId` of an enqueue.') });
const purgeRequest = named.extend({ what: z.enum(['waiting', 'delayed', 'dead']) });
const peekRequest = named.extend({ limit: z.number().int().min(1).max(MAX_PEEK).default(DEFAULT_PEEK) });

export function jobFunctions(parts: QueueParts): FunctionDefinition[] {
  return [job(parts), cancel(parts), pause(parts, true), pause(parts, false), purge(parts), peek(parts)];
}

function job({ broker }: QueueParts): FunctionDefinition<z.infer<typeof receiptRequest>> {
  const id = 'iii::queue::job';
  return {
    id,
    description: 'What became of a job: its state, attempts, errors and times',
    request: receiptRequest,
    response: z.object({
      receipt: z.string(),
      state: z
        .enum([
          'waiting',
          'delayed',
          'running',
          'done',
          'dead',
          'cancelled',
          'expired',
          'purged',
          'discarded',
          'unknown',
        ])
        .describe('`unknown`: never accepted, or ended too long ago to be on record.'),
    }),
    async handler({ receipt }) {
      needCapability(broker, 'lookup', id);
      const record = await guarded(QueueCode.jobFailed, `Failed to look up job '${receipt}'`, async () =>
        broker.lookup?.(receipt),
      );
      if (record === undefined) return { receipt, state: 'unknown' };
      return {
        receipt,
        state: record.state,
        [record.kind === 'queue' ? 'queue' : 'topic']: record.name,
        function_id: record.functionId,
        namespace: record.namespace,
        failed_attempts: record.attempts,
        errors: record.failures.map(({ at, error }) => ({ at_ms: at, error })),
        enqueued_at_ms: record.createdAt,
        due_at_ms: record.dueAt,
        started_at_ms: record.startedAt,
        ended_at_ms: record.endedAt,
        error: record.error,
        error_code: record.code,
      };
    },
  };
}

function cancel({ broker }: QueueParts): FunctionDefinition<z.infer<typeof receiptRequest>> {
  const id = 'iii::queue::cancel';
  return {
    id,
    description: 'Take back a job that waits or is delayed',
    request: receiptRequest,
    response: z.object({
      receipt: z.string(),
      cancelled: z.boolean(),
      state: z.string().describe('The state it is in now; `unknown` for an unknown receipt.'),
    }),
    async handler({ receipt }) {
      needCapability(broker, 'cancel', id);
      const state = await guarded(QueueCode.cancelFailed, `Failed to cancel job '${receipt}'`, async () =>
        broker.cancel?.(receipt),
      );
      return { receipt, cancelled: state === 'cancelled', state: state ?? 'unknown' };
    },
  };
}

function pause(parts: QueueParts, paused: boolean): FunctionDefinition<z.infer<typeof named>> {
  const id = paused ? 'iii::queue::pause' : 'iii::queue::resume';
  return {
    id,
    description: paused
      ? 'Start no more jobs of a queue or topic until it is resumed; kept over restarts'
      : 'Start jobs of a paused queue or topic again',
    request: named,
    response: z.object({ queue: z.string(), paused: z.boolean() }),
    async handler(input) {
      const queue = nameOf(id, input, 'queue');
      const { broker } = parts;
      await forAll(parts, 'pause', id, QueueCode.pauseFailed, queue, (line) => broker.setPaused?.(line, paused));
      return { queue, paused };
    },
  };
}

function purge(parts: QueueParts): FunctionDefinition<z.infer<typeof purgeRequest>> {
  const id = 'iii::queue::purge';
  return {
    id,
    description: 'Drop what waits, what is delayed, or the dead letters of a queue or topic',
    request: purgeRequest,
    response: z.object({ queue: z.string(), what: z.string(), purged: z.number() }),
    async handler(input) {
      const queue = nameOf(id, input, 'queue');
      const { broker } = parts;
      let purged = 0;
      await forAll(parts, 'purge', id, QueueCode.purgeFailed, queue, async (line) => {
        purged += (await broker.purge?.(line, input.what)) ?? 0;
      });
      return { queue, what: input.what, purged };
    },
  };
}

function peek(parts: QueueParts): FunctionDefinition<z.infer<typeof peekRequest>> {
  const id = 'iii::queue::peek';
  return {
    id,
    description: 'Look at the jobs that run next, without running them',
    request: peekRequest,
    async handler(input) {
      const queue = nameOf(id, input, 'queue');
      const { broker } = parts;
      const entries: string[] = [];
      let length = 0;
      await forAll(parts, 'peek', id, QueueCode.peekFailed, queue, async (line) => {
        for (const each of (await broker.peek?.(line, input.limit - entries.length)) ?? []) {
          length += each.data.length;
          if (entries.length > 0 && (length > MAX_PEEK_LENGTH || entries.length >= input.limit)) return;
          entries.push(
            `{"receipt":${JSON.stringify(each.receipt)},"function_id":${JSON.stringify(each.functionId)},` +
              `"namespace":${JSON.stringify(each.namespace)},"failed_attempts":${each.attempts},` +
              `"priority":${each.extras?.priority ?? 0},"enqueued_at_ms":${each.createdAt},"data":${each.data}}`,
          );
        }
      });
      return Payload.fromJson(`{"queue":${JSON.stringify(queue)},"jobs":[${entries.join(',')}]}`);
    },
  };
}

async function forAll(
  parts: QueueParts,
  capability: Capability,
  id: string,
  code: QueueErrorCode,
  name: string,
  run: (line: Awaited<ReturnType<typeof linesOf>>[number]) => Promise<unknown> | undefined,
): Promise<void> {
  needCapability(parts.broker, capability, id);
  const lines = await linesOf(parts, name);
  await guarded(code, `${id} failed for '${name}'`, async () => {
    for (const line of lines) await run(line);
  });
}
