import { waitFor } from '@trine/testing';
import type { ReconnectingClient } from '../../support/reconnecting-client.js';
import type { SeededRandom } from '../../support/seeded-random.js';
import { waitUntilEmpty, type Auditor } from '../audit/index.js';
import { pause, type Timeline } from './timeline.js';

const TOPIC = 'audit.topic';
const PUBLISHERS = 8;
/** Publishing rests above this many messages that a subscriber has not seen. */
const MAX_UNSEEN = 400;
const MAX_HANDLER_MS = 8;
const SUBSCRIBERS = ['audit::on-always', 'audit::on-ordered', 'audit::on-sometimes'] as const;

/**
 * Publishes to a durable topic with three subscribers: one always there, one that wants order, one
 * whose worker comes and goes.
 */
export class TopicLoad {
  readonly #publisher: ReconnectingClient;
  readonly #timeline: Timeline;
  readonly #random: SeededRandom;
  readonly #acknowledged = new Set<number>();
  readonly #seen = new Map<string, Set<number>>(SUBSCRIBERS.map((id) => [id, new Set()]));
  #published = 0;
  #lastOrdered = 0;
  readonly #auditor: Auditor;

  constructor(parts: {
    publisher: ReconnectingClient;
    worker: ReconnectingClient;
    sometimes: ReconnectingClient;
    random: SeededRandom;
    timeline: Timeline;
    auditor: Auditor;
  }) {
    this.#publisher = parts.publisher;
    this.#random = parts.random;
    this.#timeline = parts.timeline;
    this.#auditor = parts.auditor;
    for (const id of SUBSCRIBERS) {
      const client = id === 'audit::on-sometimes' ? parts.sometimes : parts.worker;
      client.serve(id, ({ data }) => this.#receive(id, (data as { number: number }).number));
      const queueConfig = id === 'audit::on-ordered' ? { type: 'fifo' } : { concurrency: 20 };
      client.bind('durable:subscriber', id, { topic: TOPIC, queue_config: queueConfig });
    }
  }

  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  /** A publish reaches the subscriptions that exist: the load begins when all do. */
  async subscribed(client: ReconnectingClient): Promise<void> {
    await waitFor(
      async () =>
        (await client.call<unknown[]>('engine::queue::subscriptions', { topic: TOPIC })).length === SUBSCRIBERS.length,
      {
        what: 'three durable subscriptions',
      },
    );
  }

  async run(): Promise<void> {
    await Promise.all(Array.from({ length: PUBLISHERS }, () => this.#publish()));
  }

  async #publish(): Promise<void> {
    while (this.#timeline.producing) {
      await this.#publisher.connected();
      if (this.acknowledged - (this.#seen.get('audit::on-ordered')?.size ?? 0) > MAX_UNSEEN) {
        await pause(2);
        continue;
      }
      if (!this.#publisher.isOpen) continue;
      const number = ++this.#published;
      const answer = await this.#publisher.ask('iii::durable::publish', { topic: TOPIC, data: { number } });
      if (answer.kind === 'result') this.#acknowledged.add(number);
      if (answer.kind === 'error')
        this.#auditor.tell('refused', `publish ${number}: ${answer.code}: ${answer.message}`);
    }
  }

  async #receive(functionId: string, number: number): Promise<void> {
    if (!Number.isInteger(number) || number < 1 || number > this.#published)
      this.#auditor.tell('I1', `ghost: ${functionId} got ${number}`);
    this.#seen.get(functionId)?.add(number);
    if (functionId === 'audit::on-ordered') {
      if (number < this.#lastOrdered)
        this.#auditor.tell('I5', `${number} reached ${functionId} after ${this.#lastOrdered}`);
      this.#lastOrdered = Math.max(this.#lastOrdered, number);
    } else {
      await pause(this.#random.between(0, MAX_HANDLER_MS));
    }
  }

  /** Waits until all is delivered, then compares what was acknowledged with what the subscribers saw. */
  async audit(client: ReconnectingClient, deadlineMs: number): Promise<void> {
    await waitUntilEmpty(client, TOPIC, deadlineMs);
    for (const [functionId, seen] of this.#seen) {
      for (const number of this.#acknowledged) {
        if (!seen.has(number))
          this.#auditor.tell('I1', `lost: publish ${number} was acknowledged and never reached ${functionId}`);
      }
    }
  }
}
