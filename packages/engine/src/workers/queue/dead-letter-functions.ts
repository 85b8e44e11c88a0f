/** What can be done with dead letters. */
import { memberText, TrineError } from '@trine/protocol';
import { z } from 'zod';
import type { FunctionDefinition } from '../../core/worker-host.js';
import { needCapability } from './adapters/index.js';
import { forbidden, QueueCode } from './errors.js';
import { guarded, named, nameOf, type QueueParts } from './function-input.js';

/** Jobs per second that a redrive may ask for. */
const MAX_REDRIVE_RATE = 10_000;

const today = z
  .boolean()
  .default(false)
  .describe("Today's retries and backoff of the queue instead of those stamped at the enqueue.");
const redriveRequest = named.extend({
  apply_current_config: today,
  rate_per_second: z
    .number()
    .min(0.01)
    .max(MAX_REDRIVE_RATE)
    .optional()
    .describe('Move so many per second; the answer comes at once. Default: all at once.'),
  limit: z.number().int().min(1).optional().describe('At most so many, oldest first.'),
});
const message = named.extend({ message_id: z.string().describe('Id or receipt of the message.') });
const redriveMessage = message.extend({ apply_current_config: today });
const edit = message.extend({
  data: z.unknown().optional().describe('The new payload.'),
  function_id: z.string().min(1).optional().describe('The new function.'),
  redrive: z.boolean().default(false).describe('Run it again at once.'),
});

export function deadLetterFunctions(parts: QueueParts): FunctionDefinition[] {
  return [redrive(parts), redriveOne(parts), discardOne(parts), editOne(parts)];
}

function redrive({ deadLetters, redrives }: QueueParts): FunctionDefinition<z.infer<typeof redriveRequest>> {
  const id = 'iii::queue::redrive';
  return {
    id,
    description: 'Run the dead letters of a queue or topic again',
    request: redriveRequest,
    response: z.object({
      queue: z.string(),
      redriven: z.number(),
      scheduled: z.number().optional().describe('With `rate_per_second`: how many are being moved.'),
    }),
    async handler(input) {
      const queue = nameOf(id, input, 'queue');
      const { rate_per_second: rate, apply_current_config: applyToday, limit } = input;
      return guarded(QueueCode.redriveFailed, `Failed to redrive DLQ for queue '${queue}'`, async () => {
        if (rate !== undefined)
          return { queue, redriven: 0, scheduled: await redrives.start(queue, rate, applyToday, limit) };
        return { queue, redriven: await deadLetters.redrive(queue, applyToday, limit) };
      });
    },
  };
}

function oneResponse(): z.ZodType {
  return z.object({ queue: z.string(), message_id: z.string(), redriven: z.number() });
}

function redriveOne({ deadLetters }: QueueParts): FunctionDefinition<z.infer<typeof redriveMessage>> {
  const id = 'iii::queue::redrive_message';
  return {
    id,
    description: 'Run one dead letter again',
    request: redriveMessage,
    response: oneResponse(),
    async handler(input) {
      const queue = nameOf(id, input, 'queue');
      const messageId = messageIdOf(input);
      const done = await guarded(
        QueueCode.redriveMessageFailed,
        `Failed to redrive DLQ message '${messageId}' for queue '${queue}'`,
        () => deadLetters.redriveOne(queue, messageId, input.apply_current_config),
      );
      return { queue, message_id: messageId, redriven: done ? 1 : 0 };
    },
  };
}

function discardOne({ broker, deadLetters }: QueueParts): FunctionDefinition<z.infer<typeof message>> {
  const id = 'iii::queue::discard_message';
  return {
    id,
    description: 'Delete one dead letter',
    request: message,
    response: oneResponse(),
    async handler(input) {
      const queue = nameOf(id, input, 'queue');
      const messageId = messageIdOf(input);
      needCapability(broker, 'dead_discard', id);
      const done = await guarded(QueueCode.discardMessageFailed, 'Failed to discard DLQ message', async () =>
        broker.discardOne?.(await deadLetters.resolve(queue), messageId),
      );
      return { queue, message_id: messageId, redriven: done === true ? 1 : 0 };
    },
  };
}

function editOne({ broker, deadLetters }: QueueParts): FunctionDefinition<z.infer<typeof edit>> {
  const id = 'iii::queue::edit_message';
  return {
    id,
    description: 'Change the payload or the function of one dead letter, and run it again if asked to',
    request: edit,
    response: z.object({ queue: z.string(), message_id: z.string(), edited: z.number(), redriven: z.number() }),
    async handler(input, context) {
      const queue = nameOf(id, input, 'queue');
      const messageId = messageIdOf(input);
      needCapability(broker, 'dead_edit', id);
      const { function_id: functionId } = input;
      if (functionId !== undefined && !context.mayCall(functionId)) throw forbidden(functionId);
      // The raw text: numbers keep their form.
      const data = memberText(context.payload.json, 'data');
      const what = `Failed to edit DLQ message '${messageId}' of queue '${queue}'`;
      return guarded(QueueCode.editMessageFailed, what, async () => {
        const edited = await broker.editDead?.(await deadLetters.resolve(queue), messageId, { data, functionId });
        const again = edited === true && input.redrive && (await deadLetters.redriveOne(queue, messageId, false));
        return { queue, message_id: messageId, edited: edited === true ? 1 : 0, redriven: again ? 1 : 0 };
      });
    },
  };
}

function messageIdOf(input: { readonly message_id: string }): string {
  if (input.message_id === '') throw new TrineError(QueueCode.messageIdNotSet, 'Message ID is required');
  return input.message_id;
}
