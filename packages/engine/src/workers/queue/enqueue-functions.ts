/**
 * Enqueueing, one job or many.
 *
 * Hot path (`enqueue`): one scan of the input, the payload stays text, options are parsed only where
 * there are any.
 */
import { DEFAULT_NAMESPACE, Payload } from '@trine/protocol';
import { z } from 'zod';
import { deserializationError, RawInput } from '../../core/raw-input.js';
import type { FunctionDefinition, HandlerContext } from '../../core/worker-host.js';
import { forbidden } from './errors.js';
import { optionalString, type QueueParts } from './function-input.js';
import { jobOptionNames, jobOptions, optionsInMetadata, parseJobOptions, type JobOptions } from './job-options.js';
import type { EnqueueRequest } from './named-queue.js';

/** Jobs in one batch. */
export const MAX_BATCH = 1_000;
const BATCH_ID = 'iii::queue::enqueue_batch';

const enqueueRequest = z.object({
  queue: z.string(),
  function_id: z.string(),
  data: z.unknown().describe('What the function receives, as it is.'),
  namespace: z.string().nullish().describe('Where the function is looked up. Default `default`.'),
  metadata: z.unknown().optional().describe('Reaches the handler beside `queue`, which is the engine’s.'),
  ...jobOptions.shape,
  messageReceiptId: z.string().optional().describe('A receipt of your own; the engine makes one otherwise.'),
  traceparent: z.string().nullish(),
  baggage: z.string().nullish(),
});

const BASE_FIELDS = [
  'queue',
  'function_id',
  'data',
  'messageReceiptId',
  'traceparent',
  'baggage',
  'namespace',
  'metadata',
];
const FIELDS: ReadonlySet<string> = new Set([...BASE_FIELDS, ...jobOptionNames]);

export function enqueueFunctions(parts: QueueParts): FunctionDefinition[] {
  return [
    enqueueFunction('engine::queue::enqueue', 'Put a call on a named queue; what TriggerAction.Enqueue runs', parts),
    enqueueFunction('iii::queue::enqueue', 'Put a call on a named queue', parts),
    batchFunction(parts),
  ];
}

function enqueueFunction(id: string, description: string, { host, queues }: QueueParts): FunctionDefinition {
  return {
    id,
    description,
    raw: true,
    request: enqueueRequest,
    response: z.object({
      messageReceiptId: z.string(),
      deduplicated: z.boolean().optional().describe('The receipt is that of the job that has the unique key.'),
    }),
    handler(_input, context) {
      const input = new RawInput(id, context.payload);
      input.refuseUnknown(FIELDS);
      const request = requestFrom(id, input, context, host.clock.now());
      return queues.enqueue(input.string('queue'), request).then(({ receipt, deduplicated }) => {
        const text = JSON.stringify(receipt);
        return Payload.fromJson(
          deduplicated ? `{"messageReceiptId":${text},"deduplicated":true}` : `{"messageReceiptId":${text}}`,
        );
      });
    },
  };
}

function batchFunction({ host, queues }: QueueParts): FunctionDefinition {
  return {
    id: BATCH_ID,
    description: `Put up to ${MAX_BATCH} calls on named queues in one transaction: all of them or none`,
    raw: true,
    request: z.object({ jobs: z.array(enqueueRequest).min(1).max(MAX_BATCH) }),
    response: z.object({
      receipts: z.array(z.string()).describe('In the order of the jobs.'),
      deduplicated: z
        .array(z.number())
        .optional()
        .describe('Positions of jobs whose unique key was taken: their receipts are those of the jobs that have it.'),
    }),
    async handler(_input, context) {
      const input = new RawInput(BATCH_ID, context.payload);
      input.refuseUnknown(new Set(['jobs']));
      const now = host.clock.now();
      const jobs = elements(input.requiredText('jobs')).map((text, i) => {
        const job = new RawInput(`${BATCH_ID} (jobs.${i})`, Payload.fromJson(text));
        job.refuseUnknown(FIELDS);
        return { queue: job.string('queue'), request: requestFrom(BATCH_ID, job, context, now) };
      });
      const accepted = await queues.enqueueMany(jobs);
      const deduplicated = accepted.flatMap((each, i) => (each.deduplicated ? [i] : []));
      const receipts = accepted.map(({ receipt }) => receipt);
      return deduplicated.length === 0 ? { receipts } : { receipts, deduplicated };
    },
  };
}

/** @throws TrineError `FORBIDDEN` when the caller itself may not call the function */
function requestFrom(id: string, input: RawInput, context: HandlerContext, createdAt: number): EnqueueRequest {
  const functionId = input.string('function_id');
  const namespace = optionalString(id, input, 'namespace') ?? DEFAULT_NAMESPACE;
  if (!context.mayCall(functionId, namespace)) throw forbidden(functionId);
  const metadata = input.text('metadata');
  const inMetadata = metadata === undefined ? undefined : optionsInMetadata(id, metadata);
  const own = input.internal ? undefined : optionsOf(id, input);
  return {
    // The router proposes a receipt; ours tells where the job is.
    receipt: input.internal ? undefined : optionalString(id, input, 'messageReceiptId'),
    functionId,
    namespace,
    data: input.requiredText('data'),
    metadata: inMetadata?.rest ?? metadata,
    traceparent: optionalString(id, input, 'traceparent') ?? context.traceparent,
    baggage: optionalString(id, input, 'baggage') ?? context.baggage,
    createdAt,
    options: inMetadata === undefined ? own : { ...inMetadata.options, ...own },
  };
}

function optionsOf(id: string, input: RawInput): JobOptions | undefined {
  let options: Record<string, unknown> | undefined;
  for (const name of input.keys) {
    if (!jobOptionNames.has(name)) continue;
    const text = input.requiredText(name);
    if (text !== 'null') (options ??= {})[name] = JSON.parse(text);
  }
  return options === undefined ? undefined : parseJobOptions(id, options);
}

/** The raw texts of an array's elements. The text is valid JSON: only strings and depth matter. */
function elements(text: string): string[] {
  if (!text.startsWith('[')) throw deserializationError(BATCH_ID, 'expected an array at `jobs`');
  const texts: string[] = [];
  let depth = 0;
  let inString = false;
  let start = 1;
  for (let i = 1; i < text.length; i++) {
    const c = text[i];
    if (inString) {
      if (c === '\\') i++;
      else if (c === '"') inString = false;
    } else if (c === '"') inString = true;
    else if (c === '{' || c === '[') depth++;
    else if (depth > 0 && (c === '}' || c === ']')) depth--;
    else if (depth === 0 && (c === ',' || c === ']')) {
      const element = text.slice(start, i).trim();
      if (element !== '') texts.push(element);
      start = i + 1;
    }
  }
  if (texts.length === 0) throw deserializationError(BATCH_ID, '`jobs` is empty');
  if (texts.length > MAX_BATCH)
    throw deserializationError(BATCH_ID, `\`jobs\` has ${texts.length} entries, at most ${MAX_BATCH} are taken`);
  return texts;
}
