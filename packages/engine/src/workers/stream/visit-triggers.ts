/**
 * The trigger types `stream:join` and `stream:leave`: functions that hear of clients on the socket. A
 * join waits for its functions and fails closed: one that refuses, fails, gives no answer in time or
 * answers with something that cannot be read keeps the client out.
 */
import { memberText, Payload } from '@trine/protocol';
import { z } from 'zod';
import { describeInputFault } from '../../core/input-fault.js';
import type { TriggerBinding, TriggerTypeDefinition, WorkerHost } from '../../core/worker-host.js';
import { TriggerLanes, type Lane } from '../../values/index.js';

/** Time for each function of a join, and for its condition, in milliseconds. */
export const JOIN_TIMEOUT_MS = 10_000;

const configSchema = z.object({
  stream_name: z.string().nullish().describe('Only clients of this stream. Left out or empty: of every stream.'),
  condition_function_id: z
    .string()
    .nullish()
    .describe('Asked first with the same visit; the function is not asked when it answers false.'),
});

const requestSchema = z.object({
  subscription_id: z.string(),
  stream_name: z.string(),
  group_id: z.string(),
  id: z.string().nullable().describe('The item; null for the whole group.'),
  context: z.unknown().describe('What the auth function answered with; null without one.'),
});

/** A client that comes or goes. */
export interface Visit {
  readonly subscriptionId: string;
  readonly stream: string;
  readonly group: string;
  readonly item: string | undefined;
  /** Raw JSON. */
  readonly context: string;
}

interface Bound {
  readonly binding: TriggerBinding;
  /** Undefined = any. */
  readonly stream: string | undefined;
  readonly conditionFunctionId: string | undefined;
  readonly lane: Lane;
}

class VisitTriggers {
  readonly #bound = new Map<string, Bound>();
  protected readonly lanes: TriggerLanes;

  constructor(
    protected readonly host: WorkerHost,
    private readonly kind: 'join' | 'leave',
  ) {
    this.lanes = new TriggerLanes(host, `stream:${kind} trigger`);
  }

  definition(): TriggerTypeDefinition {
    return {
      id: `stream:${this.kind}`,
      description: `Stream ${this.kind} trigger`,
      configSchema,
      requestSchema,
      ...(this.kind === 'join'
        ? {
            responseSchema: z.object({
              unauthorized: z.boolean().nullish().describe('true refuses the client. Left out = false.'),
            }),
          }
        : {}),
      bind: (trigger) => {
        const config = trigger.config ?? {};
        const parsed = configSchema.safeParse(config);
        if (!parsed.success)
          throw new Error(
            `Failed to deserialize stream:${this.kind} trigger: ${describeInputFault(parsed.error, config)}`,
          );
        this.#remove(trigger.id);
        const { stream_name, condition_function_id } = parsed.data;
        const conditionFunctionId = condition_function_id ?? undefined;
        this.#bound.set(trigger.id, {
          binding: trigger,
          stream: stream_name || undefined,
          conditionFunctionId,
          lane: this.lanes.open(trigger, conditionFunctionId),
        });
      },
      unbind: ({ id }) => this.#remove(id),
    };
  }

  stop(): void {
    for (const id of [...this.#bound.keys()]) this.#remove(id);
  }

  protected of(stream: string): Bound[] {
    return [...this.#bound.values()].filter((bound) => bound.stream === undefined || bound.stream === stream);
  }

  #remove(triggerId: string): void {
    const bound = this.#bound.get(triggerId);
    if (bound === undefined) return;
    this.lanes.close(bound.lane);
    this.#bound.delete(triggerId);
  }
}

export class JoinTriggers extends VisitTriggers {
  constructor(host: WorkerHost) {
    super(host, 'join');
  }

  /** Asks all functions, one after the other, until one says no. */
  async mayJoin(visit: Visit): Promise<boolean> {
    for (const bound of this.of(visit.stream)) {
      const refusal = await this.#refusalOf(bound, visitText(visit));
      if (refusal === undefined) continue;
      if (refusal !== REFUSED) {
        this.host.log.warn('client of a stream was kept out: a join function gave no usable answer', {
          stream: visit.stream,
          function: bound.binding.functionId,
          worker: bound.binding.workerName,
          error: refusal,
        });
      }
      return false;
    }
    return true;
  }

  async #refusalOf({ binding, conditionFunctionId }: Bound, text: string): Promise<string | undefined> {
    const request = { namespace: binding.namespace, timeoutMs: JOIN_TIMEOUT_MS };
    if (conditionFunctionId !== undefined) {
      const answer = await this.host.condition(conditionFunctionId, { ...request, payload: Payload.fromJson(text) });
      if (answer.verdict === 'skip') return undefined;
      if (answer.verdict === 'error') return `its condition ${conditionFunctionId}: ${answer.error.message}`;
    }
    const outcome = await this.host.invoke({
      ...request,
      functionId: binding.functionId,
      payload: Payload.fromJson(text),
      metadata: binding.metadata?.fork(),
    });
    if (!outcome.ok) return outcome.error.message;
    const result = outcome.result?.json.trim() ?? 'null';
    if (result === 'null') return undefined;
    if (!result.startsWith('{')) return 'its answer is no object';
    switch (memberText(result, 'unauthorized') ?? 'null') {
      case 'false':
      case 'null':
        return undefined;
      case 'true':
        return REFUSED;
      default:
        return 'its answer has something else than a boolean at `unauthorized`';
    }
  }
}

/** A plain no, as against a failure. */
const REFUSED = '';

export class LeaveTriggers extends VisitTriggers {
  constructor(host: WorkerHost) {
    super(host, 'leave');
  }

  /** Tells all functions; nobody waits for them. */
  left(connectionId: string, visit: Visit): void {
    for (const { lane } of this.of(visit.stream))
      this.lanes.take(lane, connectionId, { text: visitText(visit), traceparent: undefined, baggage: undefined });
  }
}

function visitText({ subscriptionId, stream, group, item, context }: Visit): string {
  return (
    `{"subscription_id":${JSON.stringify(subscriptionId)},"stream_name":${JSON.stringify(stream)}` +
    `,"group_id":${JSON.stringify(group)},"id":${item === undefined ? 'null' : JSON.stringify(item)},"context":${context}}`
  );
}
