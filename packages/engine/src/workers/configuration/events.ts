import { Payload } from '@trine/protocol';
import type { JsonValue, TriggerBinding, WorkerHost } from '../../core/worker-host.js';

export type ConfigurationEventType = 'configuration:registered' | 'configuration:updated' | 'configuration:deleted';

/** What a trigger's function receives. Values are expanded. */
export interface ConfigurationEvent {
  readonly type: 'configuration';
  readonly event_type: ConfigurationEventType;
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly schema: JsonValue;
  readonly old_value: JsonValue;
  readonly new_value: JsonValue;
  readonly metadata?: JsonValue;
}

export interface TriggerFilter {
  readonly configurationId: string | undefined;
  /** Empty = all. */
  readonly eventTypes: ReadonlySet<string>;
  readonly conditionFunctionId: string | undefined;
}

/** Events that may wait for slow subscribers; more are dropped and logged, so that memory stays bounded. */
const MAX_WAITING_EVENTS = 1000;

/** Tells triggers of changes: in order, one after another, without keeping whoever made the change waiting. */
export class ConfigurationEvents {
  readonly #host: WorkerHost;
  readonly #triggers = new Map<string, { readonly trigger: TriggerBinding; readonly filter: TriggerFilter }>();
  #waiting = 0;
  #told: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(host: WorkerHost) {
    this.#host = host;
  }

  add(trigger: TriggerBinding, filter: TriggerFilter): void {
    this.#triggers.set(trigger.id, { trigger, filter });
  }

  remove(triggerId: string): void {
    this.#triggers.delete(triggerId);
  }

  emit(event: ConfigurationEvent): void {
    const concerned = [...this.#triggers.values()].filter(({ filter }) => matches(filter, event));
    if (concerned.length === 0 || this.#stopped) return;
    if (this.#waiting >= MAX_WAITING_EVENTS) {
      this.#host.log.error('configuration event dropped: subscribers are too slow', {
        id: event.id,
        event_type: event.event_type,
      });
      return;
    }
    this.#waiting++;
    this.#told = this.#told.then(async () => {
      for (const each of concerned) {
        if (!this.#stopped && this.#triggers.get(each.trigger.id) === each)
          await this.#tell(each.trigger, each.filter, event);
      }
      this.#waiting--;
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#triggers.clear();
  }

  async #tell(trigger: TriggerBinding, filter: TriggerFilter, event: ConfigurationEvent): Promise<void> {
    const { functionId, namespace, metadata } = trigger;
    const payload = Payload.fromForeign(event);
    if (filter.conditionFunctionId !== undefined) {
      const answer = await this.#host.condition(filter.conditionFunctionId, { payload, namespace });
      if (answer.verdict === 'error') {
        const fields = { trigger: trigger.id, condition: filter.conditionFunctionId, error: answer.error.message };
        this.#host.log.error('configuration trigger not fired: its condition failed', fields);
      }
      if (answer.verdict !== 'run') return;
    }
    const outcome = await this.#host.invoke({ functionId, namespace, metadata, payload: payload.fork() });
    if (!outcome.ok)
      this.#host.log.error('configuration trigger failed', {
        trigger: trigger.id,
        function: functionId,
        error: outcome.error.message,
      });
  }
}

function matches({ configurationId, eventTypes }: TriggerFilter, event: ConfigurationEvent): boolean {
  if (configurationId !== undefined && configurationId !== event.id) return false;
  return eventTypes.size === 0 || eventTypes.has(event.event_type);
}
