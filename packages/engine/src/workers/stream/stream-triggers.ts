/** Which `stream` triggers an event is for. Delivery, its order and its bounds: `values/trigger-lanes.ts`. */
import { z } from 'zod';
import { describeInputFault } from '../../core/input-fault.js';
import type { Registration, TriggerTypeDefinition, WorkerHost } from '../../core/worker-host.js';
import { TriggerLanes, type Lane } from '../../values/index.js';
import type { StreamEvent } from './event.js';
import type { StreamListener } from './streams.js';

const configSchema = z.object({
  stream_name: z.string().min(1).describe('Events of this stream.'),
  group_id: z.string().nullish().describe('Only events of this group. Left out or empty: of every group.'),
  item_id: z.string().nullish().describe('Only events of this item. Left out or empty: of every item.'),
  condition_function_id: z
    .string()
    .nullish()
    .describe('Asked first with the same event; the trigger fires unless it answers false.'),
});

const change = z.object({ type: z.enum(['create', 'update', 'delete']), data: z.unknown() });

const requestSchema = z.object({
  type: z.literal('stream'),
  timestamp: z.int().describe('Milliseconds since 1970.'),
  streamName: z.string(),
  groupId: z.string(),
  id: z.string().nullable().describe('The item; null for an event about the group.'),
  event: z
    .union([change, z.object({ type: z.literal('event'), event: z.object({ type: z.string(), data: z.unknown() }) })])
    .describe('What happened. `event` is what `stream::send` sent.'),
});

interface Listener {
  readonly lane: Lane;
  readonly stream: string;
  /** Undefined = any. */
  readonly group: string | undefined;
  readonly item: string | undefined;
  readonly watch: Registration;
}

export class StreamTriggers implements StreamListener {
  readonly #lanes: TriggerLanes;
  readonly #byId = new Map<string, Listener>();
  readonly #byStream = new Map<string, Set<Listener>>();

  constructor(host: WorkerHost) {
    this.#lanes = new TriggerLanes(host, 'stream trigger');
  }

  emit({ stream, group, item, text, traceparent, baggage }: StreamEvent): void {
    const listeners = this.#byStream.get(stream);
    if (listeners === undefined) return;
    const key = `${group.length}:${group}${item === undefined ? '' : `=${item}`}`;
    for (const listener of listeners) {
      if (listener.group !== undefined && listener.group !== group) continue;
      if (listener.item !== undefined && listener.item !== item) continue;
      this.#lanes.take(listener.lane, key, { text, traceparent, baggage });
    }
  }

  /** @param watch - tells the storage that events of a stream are wanted */
  definition(watch: (stream: string) => Registration): TriggerTypeDefinition {
    return {
      id: 'stream',
      description: 'Stream trigger',
      configSchema,
      requestSchema,
      bind: (trigger) => {
        const config = trigger.config ?? {};
        const parsed = configSchema.safeParse(config);
        if (!parsed.success)
          throw new Error(`Failed to deserialize stream trigger: ${describeInputFault(parsed.error, config)}`);
        this.#remove(trigger.id);
        const { stream_name, group_id, item_id, condition_function_id } = parsed.data;
        const listener: Listener = {
          lane: this.#lanes.open(trigger, condition_function_id ?? undefined),
          stream: stream_name,
          group: group_id || undefined,
          item: item_id || undefined,
          watch: watch(stream_name),
        };
        this.#byId.set(trigger.id, listener);
        const listeners = this.#byStream.get(stream_name);
        if (listeners === undefined) this.#byStream.set(stream_name, new Set([listener]));
        else listeners.add(listener);
      },
      unbind: (trigger) => this.#remove(trigger.id),
    };
  }

  stop(): void {
    for (const id of [...this.#byId.keys()]) this.#remove(id);
  }

  #remove(triggerId: string): void {
    const listener = this.#byId.get(triggerId);
    if (listener === undefined) return;
    this.#byId.delete(triggerId);
    this.#lanes.close(listener.lane);
    listener.watch.remove();
    const listeners = this.#byStream.get(listener.stream);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.#byStream.delete(listener.stream);
  }
}
