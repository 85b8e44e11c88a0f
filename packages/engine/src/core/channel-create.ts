/** `engine::channels::create`: a channel that belongs to the calling session. */
import { ErrorCode, TrineError } from '@trine/protocol';
import { z } from 'zod';
import type { BuiltInHost } from './built-in-host.js';
import { MAX_BUFFER_UNITS } from './channels.js';
import type { Core } from './core.js';

const request = z.object({
  buffer_size: z
    .number()
    .nullish()
    .describe(`Buffer in units of 64 KiB, brought into 1 to ${MAX_BUFFER_UNITS}. Default 64 (4 MiB).`),
});

const refOf = (direction: 'read' | 'write'): z.ZodType =>
  z.object({ channel_id: z.string(), access_key: z.string(), direction: z.literal(direction) });

const response = z.object({
  writer: refOf('write').describe('Goes into a payload to whoever shall write.'),
  reader: refOf('read').describe('Goes into a payload to whoever shall read.'),
});

export function registerChannelFunction(core: Core, host: BuiltInHost): void {
  host.registerFunction({
    id: 'engine::channels::create',
    description: 'Make a channel between two workers; it ends when the calling worker leaves',
    request,
    response,
    handler(input, context) {
      const session = core.session(context.caller.workerId);
      if (session === undefined) throw new TrineError(ErrorCode.notFound, 'the calling worker has left');
      const channel = core.channels.create(session, { bufferUnits: input.buffer_size ?? undefined });
      return { writer: { ...channel.ref('write') }, reader: { ...channel.ref('read') } };
    },
  });
}
