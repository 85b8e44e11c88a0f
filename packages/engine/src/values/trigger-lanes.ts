/**
 * Carries events to the functions of triggers: at most once.
 *
 * Every trigger has a lane per key: its events run one after the other, in the order in which they
 * were taken, each when the handler of the one before has ended. Lanes do not wait for each other.
 *
 *   event -> running                 the lane was idle
 *   event -> waiting -> running      the lane was busy
 *   event -> dropped                 a bound was met, or the trigger went away meanwhile
 */
import { Payload, type ErrorBody } from '@trine/protocol';
import type { TriggerBinding, WorkerHost } from '../core/worker-host.js';

/** Deliveries that wait or run, of all triggers of a worker. Above it new ones are dropped. */
export const MAX_DELIVERIES = 10_000;
/** Text that deliveries hold, in UTF-16 units. Above it new ones are dropped. */
export const MAX_DELIVERY_LENGTH = 64 * 1024 * 1024;
/** Deliveries that wait in one lane: a handler that hangs must not use up the bound of all. */
export const MAX_LANE = 1_000;

export interface LaneDelivery {
  /** What the function receives, as JSON. */
  readonly text: string;
  readonly traceparent: string | undefined;
  readonly baggage: string | undefined;
}

/** One trigger. */
export interface Lane {
  readonly binding: TriggerBinding;
  readonly conditionFunctionId: string | undefined;
  /** Waiting deliveries by key; a key that is in the map is running one. */
  readonly waiting: Map<string, LaneDelivery[]>;
  removed: boolean;
  /** Deliveries dropped since the last that was taken. */
  dropped: number;
}

export class TriggerLanes {
  readonly #host: WorkerHost;
  readonly #what: string;
  #deliveries = 0;
  #length = 0;

  /** @param what - names the triggers in the log, e.g. `state trigger` */
  constructor(host: WorkerHost, what: string) {
    this.#host = host;
    this.#what = what;
  }

  open(binding: TriggerBinding, conditionFunctionId: string | undefined): Lane {
    return { binding, conditionFunctionId, waiting: new Map(), removed: false, dropped: 0 };
  }

  /** What waits for this trigger is dropped. */
  close(lane: Lane): void {
    lane.removed = true;
  }

  /** @param key - events of one key keep their order */
  take(lane: Lane, key: string, delivery: LaneDelivery): void {
    const waiting = lane.waiting.get(key);
    const { length } = delivery.text;
    const full =
      this.#deliveries >= MAX_DELIVERIES ||
      (this.#deliveries > 0 && this.#length + length > MAX_DELIVERY_LENGTH) ||
      (waiting !== undefined && waiting.length >= MAX_LANE);
    if (full) {
      // One line at the start of a gap and one at its end, however many are lost.
      if (lane.dropped++ === 0) this.#log(lane, `${this.#what} is too slow: its events are dropped`, { key });
      return;
    }
    if (lane.dropped > 0) {
      this.#log(lane, `${this.#what} takes events again`, { dropped: lane.dropped });
      lane.dropped = 0;
    }
    this.#deliveries++;
    this.#length += length;
    if (waiting === undefined) void this.#run(lane, key, delivery);
    else waiting.push(delivery);
  }

  async #run(lane: Lane, key: string, first: LaneDelivery): Promise<void> {
    const waiting: LaneDelivery[] = [];
    lane.waiting.set(key, waiting);
    for (let delivery: LaneDelivery | undefined = first; delivery !== undefined; delivery = waiting.shift()) {
      if (!lane.removed) await this.#deliver(lane, delivery);
      this.#deliveries--;
      this.#length -= delivery.text.length;
    }
    lane.waiting.delete(key);
  }

  async #deliver(lane: Lane, { text, traceparent, baggage }: LaneDelivery): Promise<void> {
    const { binding, conditionFunctionId } = lane;
    const context = { namespace: binding.namespace, traceparent, baggage };
    if (conditionFunctionId !== undefined) {
      const answer = await this.#host.condition(conditionFunctionId, { ...context, payload: Payload.fromJson(text) });
      if (answer.verdict === 'skip') return;
      if (answer.verdict === 'error') {
        this.#log(lane, `condition of a ${this.#what} failed: the event is dropped`, {
          condition: conditionFunctionId,
          ...failure(answer.error),
        });
        return;
      }
      if (lane.removed) return;
    }
    const outcome = await this.#host.invoke({
      ...context,
      functionId: binding.functionId,
      payload: Payload.fromJson(text),
      metadata: binding.metadata?.fork(),
    });
    if (!outcome.ok) this.#log(lane, `function of a ${this.#what} failed`, failure(outcome.error));
  }

  #log({ binding }: Lane, message: string, fields: Readonly<Record<string, unknown>>): void {
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
