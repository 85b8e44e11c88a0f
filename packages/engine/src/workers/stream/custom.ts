/**
 * Custom streams: a worker that registers `stream::<operation>(<stream>)` serves that operation of that
 * stream instead of the storage. Operations it leaves out stay with the storage.
 */
import { memberText, type Payload } from '@trine/protocol';
import type { HandlerContext, WorkerHost } from '../../core/worker-host.js';
import type { RemoteContext } from '../../remote/index.js';
import type { UpdateOpError } from '../../values/index.js';
import type { Change, UpdateChange } from './adapters/index.js';
import { badResult } from './errors.js';

export type CustomOperation = 'get' | 'set' | 'delete' | 'list' | 'list_groups' | 'update';

/** The function that serves an operation of a stream; undefined = the storage does. */
export function customFunction(host: WorkerHost, operation: CustomOperation, stream: string): string | undefined {
  const id = `stream::${operation}(${stream})`;
  return host.registry.hasFunction(id) ? id : undefined;
}

/**
 * Asks the function of a custom stream.
 *
 * @param timeoutMs - undefined = the engine's ceiling
 * @returns its result; undefined = none
 * @throws Error when it fails
 */
export async function askCustom(
  host: WorkerHost,
  functionId: string,
  payload: Payload,
  context: RemoteContext,
  timeoutMs?: number,
): Promise<Payload | undefined> {
  const { traceparent, baggage, metadata } = context;
  const outcome = await host.invoke({
    functionId,
    payload: payload.fork(),
    metadata,
    traceparent,
    baggage,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  if (!outcome.ok) throw new Error(`Failed to invoke function: ${outcome.error.message}`);
  return outcome.result;
}

/** The answer of a custom set, update or delete, in the shapes of the storage. */
export async function writeCustom(
  host: WorkerHost,
  functionId: string,
  context: HandlerContext,
  operation: 'set' | 'update' | 'delete',
): Promise<Change | UpdateChange> {
  const result = await askCustom(host, functionId, context.payload, context);
  if (result === undefined) throw new Error('Function returned no result');
  const text = result.json;
  if (!text.startsWith('{')) throw badResult(functionId, 'expected an object');
  const old = notNull(memberText(text, 'old_value'));
  if (operation === 'delete') return { old, revision: undefined };
  const value = memberText(text, 'new_value');
  if (value === undefined) throw badResult(functionId, 'missing field `new_value`');
  const errors = notNull(memberText(text, 'errors'));
  if (errors !== undefined && !errors.startsWith('[')) throw badResult(functionId, 'expected an array at `errors`');
  return {
    old,
    value,
    errors: errors === undefined ? [] : (JSON.parse(errors) as UpdateOpError[]),
    revision: undefined,
  };
}

function notNull(text: string | undefined): string | undefined {
  return text === 'null' ? undefined : text;
}
