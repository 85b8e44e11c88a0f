/** `bridge.invoke`, `bridge.invoke_async` and the functions of the other engine that this one offers. */
import { memberText, Payload } from '@trine/protocol';
import { z } from 'zod';
import { describeInputFault } from '../../core/input-fault.js';
import type { FunctionDefinition, HandlerContext } from '../../core/worker-host.js';
import { DEFAULT_REMOTE_TIMEOUT_MS, type RemoteContext, type RemoteEngine } from '../../remote/index.js';
import { MAX_TIMEOUT_MS, type BridgeSettings } from './config.js';
import { badInvokeInput, bridgeError } from './errors.js';

const asyncInput = z.object({
  function_id: z.string().min(1).describe('Function of the other engine.'),
  data: z.unknown().optional().describe('Its input. Default null.'),
});

const invokeInput = asyncInput.extend({
  timeout_ms: z
    .int()
    .min(1)
    .max(MAX_TIMEOUT_MS)
    .nullish()
    .describe(`Milliseconds until the call fails. Default ${DEFAULT_REMOTE_TIMEOUT_MS}.`),
});

export function invokeFunctions(remote: RemoteEngine): FunctionDefinition[] {
  return [
    {
      id: 'bridge.invoke',
      description: 'Call a function of another engine',
      raw: true,
      request: invokeInput,
      async handler(_input, context) {
        const { function_id, timeout_ms } = read(invokeInput, context);
        const outcome = await remote.invoke({
          functionId: function_id,
          payload: dataOf(context),
          context: along(context),
          timeoutMs: timeout_ms ?? undefined,
        });
        if (!outcome.ok) throw bridgeError(outcome.error);
        return outcome.result;
      },
    },
    {
      id: 'bridge.invoke_async',
      description: 'Call a function of another engine without waiting for it',
      raw: true,
      request: asyncInput,
      handler(_input, context) {
        const { function_id } = read(asyncInput, context);
        remote.send({ functionId: function_id, payload: dataOf(context), context: along(context) });
        return undefined;
      },
    },
  ];
}

export function forwardFunction(
  remote: RemoteEngine,
  { local_function, remote_function, timeout_ms }: BridgeSettings['forward'][number],
): FunctionDefinition {
  return {
    id: local_function,
    description: `Forward to remote function ${remote_function}`,
    raw: true,
    async handler(_input, context) {
      const outcome = await remote.invoke({
        functionId: remote_function,
        payload: context.payload,
        context: along(context),
        timeoutMs: timeout_ms,
      });
      if (!outcome.ok) throw bridgeError(outcome.error);
      return outcome.result ?? Payload.null;
    },
  };
}

function read<T extends z.ZodType>(schema: T, { payload }: HandlerContext): z.output<T> {
  const parsed = schema.safeParse(payload.value);
  if (!parsed.success) throw badInvokeInput(describeInputFault(parsed.error, payload.value));
  return parsed.data;
}

/** The text of `data` as it came. */
function dataOf({ payload }: HandlerContext): Payload {
  return Payload.fromJson(memberText(payload.json, 'data') ?? 'null');
}

function along({ traceparent, baggage, metadata }: HandlerContext): RemoteContext {
  return { traceparent, baggage, metadata };
}
