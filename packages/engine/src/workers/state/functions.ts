/**
 * The state functions. Hot path: inputs are scanned, not parsed, values stay raw text, and `get`
 * answers in the same turn when the value is in memory. Guarded by the state rows of the benchmarks.
 *
 * Events keep the order of the commits: every write emits in the first step after its adapter's answer.
 */
import { Payload } from '@trine/protocol';
import { z } from 'zod';
import { RawInput } from '../../core/raw-input.js';
import type { FunctionDefinition, HandlerContext } from '../../core/worker-host.js';
import { compactBytes, readUpdateOps, updateErrorsSchema, updateOpSchema } from '../../values/index.js';
import type { StateAdapter } from './adapters/index.js';
import { storeError, valueTooLarge } from './errors.js';
import type { StateEvent, StateEvents } from './events.js';

/** What the functions work on; its members change with the configuration. */
export interface StateService {
  adapter: StateAdapter;
  triggersEnabled: boolean;
  /** Undefined = no limit. */
  maxValueBytes: number | undefined;
  readonly events: StateEvents;
}

const address = { scope: z.string(), key: z.string() };
const change = z.object({ old_value: z.unknown().describe('null when the key was new'), new_value: z.unknown() });
export function stateFunctions(service: StateService): FunctionDefinition[] {
  const emit = (
    type: StateEvent['type'],
    scope: string,
    key: string,
    oldValue: string | undefined,
    newValue: string | undefined,
    { traceparent, baggage }: HandlerContext,
  ): void => {
    if (service.triggersEnabled) service.events.emit({ type, scope, key, oldValue, newValue, traceparent, baggage });
  };

  return [
    {
      id: 'state::set',
      description: 'Set a value in state',
      raw: true,
      request: z.object({ ...address, value: z.unknown().describe('Any JSON value. `data` is another name for it.') }),
      response: change,
      handler(_input, context) {
        const input = new RawInput('state::set', context.payload);
        const scope = input.string('scope');
        const key = input.string('key');
        const value = input.text('value') ?? input.text('data') ?? input.requiredText('value');
        checkSize(value, service.maxValueBytes);
        return service.adapter.set(scope, key, value, context).then(
          (old) => {
            emit(old === undefined ? 'state:created' : 'state:updated', scope, key, old, value, context);
            return Payload.fromJson(`{"old_value":${old ?? 'null'},"new_value":${value}}`);
          },
          (error: unknown) => {
            throw storeError('set', error);
          },
        );
      },
    },
    {
      id: 'state::get',
      description: 'Get a value from state',
      raw: true,
      request: z.object(address),
      handler(_input, context) {
        const input = new RawInput('state::get', context.payload);
        const value = service.adapter.get(input.string('scope'), input.string('key'), context);
        if (typeof value === 'string') return Payload.fromJson(value);
        return value?.then(result, (error: unknown) => {
          throw storeError('get', error);
        });
      },
    },
    {
      id: 'state::delete',
      description: 'Delete a value from state',
      raw: true,
      request: z.object(address),
      handler(_input, context) {
        const input = new RawInput('state::delete', context.payload);
        const scope = input.string('scope');
        const key = input.string('key');
        return service.adapter.delete(scope, key, context).then(
          (old) => {
            emit('state:deleted', scope, key, old, undefined, context);
            return result(old);
          },
          (error: unknown) => {
            throw storeError('delete', error);
          },
        );
      },
    },
    {
      id: 'state::update',
      description: 'Update a value in state',
      raw: true,
      request: z.object({ ...address, ops: z.array(updateOpSchema) }),
      response: change.extend({ errors: updateErrorsSchema }),
      handler(_input, context) {
        const input = new RawInput('state::update', context.payload);
        const scope = input.string('scope');
        const key = input.string('key');
        const ops = readUpdateOps('state::update', input.requiredText('ops'));
        const limit = service.maxValueBytes;
        return service.adapter.update(scope, key, ops, limit, context).then(
          (answer) => {
            if ('tooLarge' in answer) throw valueTooLarge(answer.tooLarge, limit ?? 0);
            const { old, value, errors } = answer;
            emit(old === undefined ? 'state:created' : 'state:updated', scope, key, old, value, context);
            const skipped = errors.length === 0 ? '' : `,"errors":${JSON.stringify(errors)}`;
            return Payload.fromJson(`{"old_value":${old ?? 'null'},"new_value":${value}${skipped}}`);
          },
          (error: unknown) => {
            throw storeError('update', error);
          },
        );
      },
    },
    {
      id: 'state::list',
      description: 'Get a group from state',
      raw: true,
      request: z.object({ scope: address.scope }),
      response: z.array(z.unknown()),
      async handler(_input, context) {
        const scope = new RawInput('state::list', context.payload).string('scope');
        const values = await service.adapter.list(scope, context).catch((error: unknown) => {
          throw storeError('list', error);
        });
        return Payload.fromJson(values);
      },
    },
    {
      id: 'state::list_groups',
      description: 'List all state groups',
      raw: true,
      request: z.object({}),
      response: z.object({ groups: z.array(z.string()) }),
      async handler(_input, context) {
        const groups = await service.adapter.listScopes(context).catch((error: unknown) => {
          throw storeError('listGroups', error);
        });
        return { groups };
      },
    },
  ];
}

function result(text: string | undefined): Payload | undefined {
  return text === undefined ? undefined : Payload.fromJson(text);
}

function checkSize(value: string, limit: number | undefined): void {
  // As it was sent it can only be larger than as compact JSON.
  if (limit === undefined || Buffer.byteLength(value) <= limit) return;
  const bytes = compactBytes(value);
  if (bytes > limit) throw valueTooLarge(bytes, limit);
}
