/**
 * Carries state events to the functions of `state` triggers: at most once, after the commit.
 *
 * Every trigger has a lane per key: its events run one after the other, in the order of the commits,
 * each when the handler of the one before has ended. Lanes do not wait for each other.
 *
 *   event -> running                 the lane was idle
 *   event -> waiting -> running      the lane was busy
 *   event -> dropped                 a bound was met, or the trigger went away meanwhile
 */
import { Payload, type ErrorBody } from '@trine/protocol';
import type { TriggerBinding, WorkerHost } from '../../core/worker-host.js';

/** Deliveries that wait or run, of all triggers. Above it new ones are dropped. */
export const MAX_DELIVERIES = 10_000;
/** Text that deliveries hold, in UTF-16 units. Above it new ones are dropped. */
export const MAX_DELIVERY_LENGTH = 64 * 1024 * 1024;
/** Deliveries that wait in one lane: a handler that hangs must not use up the bound of all. */
export const MAX_LANE = 1_000;

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

interface Delivery {
  readonly text: string;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
}

interface Listener {
  readonly binding: TriggerBinding;
  readonly filter: StateFilter;
  /** Waiting deliveries by key; a lane that is in the map is running one. */
  readonly lanes: Map<string, Delivery[]>;
  removed: boolean;
  /** Deliveries dropped since the last that was taken. */
  dropped: number;
}

export class StateEvents {
  readonly #host: WorkerHost;
  readonly #listeners = new Map<string, Listener>();
  /** Listeners by what they filter on, so that an event looks at four sets however many triggers there are. */
  readonly #byFilter = new Map<string, Set<Listener>>();
  #deliveries = 0;
  #length = 0;

  constructor(host: WorkerHost) {
    this.#host = host;
  }

  /** Adds a trigger, or replaces the one of the same id. */
  add(binding: TriggerBinding, filter: StateFilter): void {
    this.remove(binding.id);
    const listener: Listener = { binding, filter, lanes: new Map(), removed: false, dropped: 0 };
    this.#listeners.set(binding.id, listener);
    const id = filterId(filter.scope, filter.key);
    const set = this.#byFilter.get(id);
    if (set === undefined) this.#byFilter.set(id, new Set([listener]));
    else set.add(listener);
  }

  remove(triggerId: string): void {
    const listener = this.#listeners.get(triggerId);
    if (listener === undefined) return;
    listener.removed = true;
    this.#listeners.delete(triggerId);
    const id = filterId(listener.filter.scope, listener.filter.key);
    const set = this.#byFilter.get(id);
    set?.delete(listener);
    if (set?.size === 0) this.#byFilter.delete(id);
  }

  stop(): void {
    for (const id of [...this.#listeners.keys()]) this.remove(id);
  }

  emit(event: StateEvent): void {
    if (this.#listeners.size === 0) return;
    let delivery: Delivery | undefined;
    const { scope, key } = event;
    for (const id of [
      filterId(scope, key),
      filterId(scope, undefined),
      filterId(undefined, key),
      filterId(undefined, undefined),
    ]) {
      const listeners = this.#byFilter.get(id);
      if (listeners === undefined) continue;
      delivery ??= { text: eventText(event), traceparent: event.traceparent, baggage: event.baggage };
      for (const listener of listeners) this.#take(listener, filterId(scope, key), delivery);
    }
  }

  #take(listener: Listener, laneId: string, delivery: Delivery): void {
    const lane = listener.lanes.get(laneId);
    const { length } = delivery.text;
    const full =
      this.#deliveries >= MAX_DELIVERIES ||
      (this.#deliveries > 0 && this.#length + length > MAX_DELIVERY_LENGTH) ||
      (lane !== undefined && lane.length >= MAX_LANE);
    if (full) {
      // One line at the start of a gap and one at its end, however many are lost.
      if (listener.dropped++ === 0)
        this.#log(listener, 'state trigger is too slow: its events are dropped', { scope_key: laneId });
      return;
    }
    if (listener.dropped > 0) {
      this.#log(listener, 'state trigger takes events again', { dropped: listener.dropped });
      listener.dropped = 0;
    }
    this.#deliveries++;
    this.#length += length;
    if (lane === undefined) void this.#runLane(listener, laneId, delivery);
    else lane.push(delivery);
  }

  async #runLane(listener: Listener, laneId: string, first: Delivery): Promise<void> {
    const waiting: Delivery[] = [];
    listener.lanes.set(laneId, waiting);
    for (let delivery: Delivery | undefined = first; delivery !== undefined; delivery = waiting.shift()) {
      if (!listener.removed) await this.#deliver(listener, delivery);
      this.#deliveries--;
      this.#length -= delivery.text.length;
    }
    listener.lanes.delete(laneId);
  }

  async #deliver(listener: Listener, { text, traceparent, baggage }: Delivery): Promise<void> {
    const { binding, filter } = listener;
    const context = { namespace: binding.namespace, traceparent, baggage };
    if (filter.conditionFunctionId !== undefined) {
      const answer = await this.#host.condition(filter.conditionFunctionId, {
        ...context,
        payload: Payload.fromJson(text),
      });
      if (answer.verdict === 'skip') return;
      if (answer.verdict === 'error') {
        this.#log(listener, 'condition of a state trigger failed: the event is dropped', {
          condition: filter.conditionFunctionId,
          ...failure(answer.error),
        });
        return;
      }
      if (listener.removed) return;
    }
    const outcome = await this.#host.invoke({
      ...context,
      functionId: binding.functionId,
      payload: Payload.fromJson(text),
      metadata: binding.metadata?.fork(),
    });
    if (!outcome.ok) this.#log(listener, 'function of a state trigger failed', failure(outcome.error));
  }

  #log({ binding }: Listener, message: string, fields: Readonly<Record<string, unknown>>): void {
    this.#host.log.warn(message, {
      function: binding.functionId,
      worker: binding.workerName,
      trigger: binding.id,
      ...fields,
    });
  }
}

function failure(error: ErrorBody): Readonly<Record<string, unknown>> {
  return { code: error.code, error: error.message };
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
