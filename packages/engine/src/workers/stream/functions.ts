/** The stream functions. Inputs are scanned, not parsed, and values stay raw text. */
import { Payload } from '@trine/protocol';
import { z } from 'zod';
import { deserializationError, jsonKind, RawInput } from '../../core/raw-input.js';
import type { FunctionDefinition } from '../../core/worker-host.js';
import { readUpdateOps, updateErrorsSchema, updateOpSchema } from '../../values/index.js';
import { readAddress, type Streams } from './streams.js';

const group = { stream_name: z.string(), group_id: z.string() };
const item = { ...group, item_id: z.string() };
const oldValue = z.unknown().describe('null when the item was new');

export function streamFunctions(streams: Streams): FunctionDefinition[] {
  return [
    {
      id: 'stream::set',
      description: 'Set a value in a stream',
      raw: true,
      request: z.object({ ...item, data: z.unknown().describe('Any JSON value.') }),
      response: z.object({ old_value: oldValue, new_value: z.unknown() }),
      handler(_input, context) {
        const input = new RawInput('stream::set', context.payload);
        const at = readAddress(input);
        return streams
          .set(at, input.requiredText('data'), context)
          .then(({ old, value }) => Payload.fromJson(`{"old_value":${old ?? 'null'},"new_value":${value}}`));
      },
    },
    {
      id: 'stream::get',
      description: 'Get a value from a stream',
      raw: true,
      request: z.object(item),
      handler: (_input, context) => streams.get(readAddress(new RawInput('stream::get', context.payload)), context),
    },
    {
      id: 'stream::delete',
      description: 'Delete a value from a stream',
      raw: true,
      request: z.object(item),
      response: z.object({ old_value: z.unknown().describe('null when there was no such item') }),
      handler(_input, context) {
        const at = readAddress(new RawInput('stream::delete', context.payload));
        return streams.delete(at, context).then(({ old }) => Payload.fromJson(`{"old_value":${old ?? 'null'}}`));
      },
    },
    {
      id: 'stream::list',
      description: 'List all items in a stream group',
      raw: true,
      request: z.object(group),
      response: z.array(z.unknown()),
      handler(_input, context) {
        const input = new RawInput('stream::list', context.payload);
        return streams.list(input.string('stream_name'), input.string('group_id'), context);
      },
    },
    {
      id: 'stream::list_groups',
      description: 'List all groups in a stream',
      raw: true,
      request: z.object({ stream_name: z.string() }),
      response: z.array(z.string()),
      handler(_input, context) {
        const input = new RawInput('stream::list_groups', context.payload);
        return streams.listGroups(input.string('stream_name'), context);
      },
    },
    {
      id: 'stream::list_all',
      description: 'List all available stream with metadata',
      raw: true,
      request: z.object({}),
      response: z.object({
        stream: z.array(z.object({ id: z.string(), groups: z.array(z.string()) })),
        count: z.number().int(),
      }),
      handler: (_input, context) => streams.listAll(context),
    },
    {
      id: 'stream::send',
      description: 'Send a custom event to stream subscribers',
      raw: true,
      request: z.object({
        ...group,
        type: z.string().describe('A type of your own; the event is not kept.'),
        data: z.unknown(),
        id: z.string().nullish().describe('Item that the event is about. Left out: the group.'),
      }),
      response: z.null(),
      async handler(_input, context) {
        const input = new RawInput('stream::send', context.payload);
        await streams.send(
          {
            stream: input.string('stream_name'),
            group: input.string('group_id'),
            type: JSON.stringify(input.string('type')),
            data: input.requiredText('data'),
            item: optionalString(input, 'id'),
          },
          context,
        );
        return null;
      },
    },
    {
      id: 'stream::update',
      description: 'Atomically update a stream value with multiple operations',
      raw: true,
      request: z.object({ ...item, ops: z.array(updateOpSchema) }),
      response: z.object({ old_value: oldValue, new_value: z.unknown(), errors: updateErrorsSchema }),
      handler(_input, context) {
        const input = new RawInput('stream::update', context.payload);
        const at = readAddress(input);
        const ops = readUpdateOps('stream::update', input.requiredText('ops'));
        return streams.update(at, ops, context).then(({ old, value, errors }) => {
          const skipped = errors.length === 0 ? '' : `,"errors":${JSON.stringify(errors)}`;
          return Payload.fromJson(`{"old_value":${old ?? 'null'},"new_value":${value}${skipped}}`);
        });
      },
    },
  ];
}

function optionalString(input: RawInput, field: string): string | undefined {
  const text = input.text(field);
  if (text === undefined || text === 'null') return undefined;
  if (jsonKind(text) !== 'string')
    throw deserializationError('stream::send', `invalid type: ${jsonKind(text)}, expected a string at \`${field}\``);
  return input.string(field);
}
