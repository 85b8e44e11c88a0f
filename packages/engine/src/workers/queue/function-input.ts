/** What the queue's functions share: their parts, names of queues and topics, and failures. */
import { ErrorCode, TrineError } from '@trine/protocol';
import { z } from 'zod';
import type { RawInput } from '../../core/raw-input.js';
import { deserializationError } from '../../core/raw-input.js';
import type { WorkerHost } from '../../core/worker-host.js';
import type { Broker, Line } from './adapters/index.js';
import type { DeadLetters } from './dead-letters.js';
import { nameNotFound, QueueCode, storeFailure } from './errors.js';
import type { Runs } from './line-runner.js';
import type { Queues } from './queues.js';
import type { Redrives } from './redrives.js';
import type { Topics } from './topics.js';

export interface QueueParts {
  readonly host: WorkerHost;
  readonly broker: Broker;
  readonly queues: Queues;
  readonly topics: Topics;
  readonly deadLetters: DeadLetters;
  readonly redrives: Redrives;
  readonly runs: Runs;
}

export type QueueErrorCode = (typeof QueueCode)[keyof typeof QueueCode];

/** `topic` and `queue` name the same thing everywhere. */
export const named = z.object({
  queue: z.string().optional().describe('Name of a queue or topic; `topic` is the same.'),
  topic: z.string().optional(),
});

/** With both, `topic` counts. */
export function nameOf(id: string, input: z.infer<typeof named>, expected: 'queue' | 'topic'): string {
  const name = input.topic ?? input.queue;
  if (name === undefined) throw deserializationError(id, `missing field \`${expected}\``);
  if (name !== '') return name;
  throw expected === 'queue'
    ? new TrineError(QueueCode.queueNotSet, 'Queue name is required')
    : new TrineError(QueueCode.topicRequired, 'topic is required');
}

/** @throws TrineError `queue_not_found` when nothing has this name */
export async function linesOf({ deadLetters }: QueueParts, name: string): Promise<readonly Line[]> {
  const lines = await deadLetters.resolve(name);
  if (lines.length === 0) throw nameNotFound(name);
  return lines;
}

export function optionalString(id: string, input: RawInput, field: string): string | undefined {
  const text = input.text(field);
  if (text === undefined || text === 'null') return undefined;
  const value = input.string(field);
  if (field === 'namespace' && value.trim() === '')
    throw new TrineError(ErrorCode.invalidNamespace, `${id}: namespace must not be blank`);
  return value;
}

/** A failure that has no code of its own gets the function's; what already says what happened stays. */
export async function guarded<T>(code: QueueErrorCode, what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof TrineError && OWN_CODES.has(error.code)) throw error;
    throw storeFailure(code, what, error);
  }
}

const OWN_CODES: ReadonlySet<string> = new Set([
  QueueCode.topicBacklogFull,
  QueueCode.replayNotRetained,
  QueueCode.notSupportedByAdapter,
  QueueCode.queueNotFound,
  QueueCode.subscriptionNotFound,
]);
