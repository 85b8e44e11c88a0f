/** Which `state` triggers an event is for. Delivery, its order and its bounds: `values/trigger-lanes.ts`. */
import type { TriggerBinding, WorkerHost } from '../../core/worker-host.js';
import { TriggerLanes, type Lane, type LaneDelivery } from '../../values/index.js';

export interface StateEvent {
  readonly type: 'state:created' | 'state:updated' | 'state:deleted';
  readonly scope: string;
  readonly key: string;
  /** Raw JSON text; undefined = there is none. */
  readonly oldValue: string | undefined;
  readonly newValue: string | undefined;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
}

/** Which events a trigger wants. Undefined = any. */
export interface StateFilter {
  readonly scope: string | undefined;
  readonly key: string | undefined;
  readonly conditionFunctionId: string | undefined;
}

interface Listener {
  readonly lane: Lane;
  readonly filter: StateFilter;
}

export class StateEvents {
  readonly #lanes: TriggerLanes;
  readonly #listeners = new Map<string, Listener>();
  /** Lanes by what they filter on, so that an event looks at four sets however many triggers there are. */
  readonly #byFilter = new Map<string, Set<Lane>>();

  constructor(host: WorkerHost) {
    this.#lanes = new TriggerLanes(host, 'state trigger');
  }

  /** Adds a trigger, or replaces the one of the same id. */
  add(binding: TriggerBinding, filter: StateFilter): void {
    this.remove(binding.id);
    const lane = this.#lanes.open(binding, filter.conditionFunctionId);
    this.#listeners.set(binding.id, { lane, filter });
    const id = filterId(filter.scope, filter.key);
    const set = this.#byFilter.get(id);
    if (set === undefined) this.#byFilter.set(id, new Set([lane]));
    else set.add(lane);
  }

  remove(triggerId: string): void {
    const listener = this.#listeners.get(triggerId);
    if (listener === undefined) return;
    this.#lanes.close(listener.lane);
    this.#listeners.delete(triggerId);
    const id = filterId(listener.filter.scope, listener.filter.key);
    const set = this.#byFilter.get(id);
    set?.delete(listener.lane);
    if (set?.size === 0) this.#byFilter.delete(id);
  }

  stop(): void {
    for (const id of [...this.#listeners.keys()]) this.remove(id);
  }

  emit(event: StateEvent): void {
    if (this.#listeners.size === 0) return;
    let delivery: LaneDelivery | undefined;
    const { scope, key } = event;
    for (const id of [
      filterId(scope, key),
      filterId(scope, undefined),
      filterId(undefined, key),
      filterId(undefined, undefined),
    ]) {
      const lanes = this.#byFilter.get(id);
      if (lanes === undefined) continue;
      delivery ??= { text: eventText(event), traceparent: event.traceparent, baggage: event.baggage };
      for (const lane of lanes) this.#lanes.take(lane, filterId(scope, key), delivery);
    }
  }
}

function filterId(scope: string | undefined, key: string | undefined): string {
  return scope === undefined
    ? `*:${key === undefined ? '*' : `=${key}`}`
    : `${scope.length}:${scope}${key === undefined ? '*' : `=${key}`}`;
}

/** All six members are always there; an absent value is null. */
function eventText(event: StateEvent): string {
  return (
    `{"type":"state","event_type":"${event.type}","scope":${JSON.stringify(event.scope)},"key":${JSON.stringify(event.key)}` +
    `,"old_value":${event.oldValue ?? 'null'},"new_value":${event.newValue ?? 'null'}}`
  );
}
