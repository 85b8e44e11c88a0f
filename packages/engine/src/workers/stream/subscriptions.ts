/** Who hears of which group: the subscriptions of all connections. */
import type { StreamEvent } from './event.js';
import type { StreamListener } from './streams.js';

/** One subscription of a connection. */
export interface Subscription {
  readonly stream: string;
  readonly group: string;
  /** Undefined = the whole group. */
  readonly item: string | undefined;
  /** @param frame - the event's text as bytes, shared by all who get it */
  take(event: StreamEvent, frame: Buffer): void;
}

export class Subscriptions implements StreamListener {
  readonly #byGroup = new Map<string, Set<Subscription>>();

  add(subscription: Subscription): void {
    const id = groupId(subscription.stream, subscription.group);
    const set = this.#byGroup.get(id);
    if (set === undefined) this.#byGroup.set(id, new Set([subscription]));
    else set.add(subscription);
  }

  remove(subscription: Subscription): void {
    const id = groupId(subscription.stream, subscription.group);
    const set = this.#byGroup.get(id);
    set?.delete(subscription);
    if (set?.size === 0) this.#byGroup.delete(id);
  }

  emit(event: StreamEvent): void {
    const set = this.#byGroup.get(groupId(event.stream, event.group));
    if (set === undefined) return;
    const frame = Buffer.from(event.text);
    for (const subscription of set) {
      // A subscription of one item hears nothing that is about the group.
      if (subscription.item === undefined || subscription.item === event.item) subscription.take(event, frame);
    }
  }
}

/** No two pairs share one. */
function groupId(stream: string, group: string): string {
  return `${stream.length}:${stream}${group}`;
}
