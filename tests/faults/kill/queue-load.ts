import { waitFor } from '@trine/testing';
import type { Delivery, ReconnectingClient } from '../../support/reconnecting-client.js';
import type { SeededRandom } from '../../support/seeded-random.js';
import { JobLog } from './job-log.js';
import { pause, tell, type Timeline } from './timeline.js';

const STANDARD = 'audit-jobs';
const FIFO = 'audit-ordered';
const FUNCTION = 'audit::job';
const ORDERED_FUNCTION = 'audit::ordered';

/** Enqueues in flight for the standard queue. */
const PRODUCERS = 12;
const GROUPS = 8;
/** Enqueues in flight per group: more than one, so that a kill cuts a group in the middle of its order. */
const PER_GROUP = 2;
/** Producers rest above this many unfinished jobs, so that the end can be waited for. */
const MAX_UNFINISHED = 300;
const MAX_HANDLER_MS = 12;
/** Share of jobs whose handler fails once. */
const FLAKY = 0.06;
/** Share of jobs of the standard queue whose handler always fails. */
const POISON = 0.01;
const DEAD_LETTER_PAGE = 1_000;

/** What config.yaml says about the two queues. */
export const queueConfigs = {
  [STANDARD]: { type: 'standard', max_retries: 3, concurrency: 10, backoff_ms: 30 },
  [FIFO]: { type: 'fifo', max_retries: 5, concurrency: GROUPS, backoff_ms: 30, message_group_field: 'group' },
};

interface JobData {
  readonly id: string;
  readonly group: string;
  readonly number: number;
}

/** Enqueues on a standard and a fifo queue, handles both, and keeps the clients' own log. */
export class QueueLoad {
  readonly #producer: ReconnectingClient;
  readonly #random: SeededRandom;
  readonly #timeline: Timeline;
  readonly standard: JobLog;
  readonly ordered: JobLog;
  readonly #flaky = new Set<string>();
  readonly #poison = new Set<string>();
  readonly #lastStarted = new Map<string, number>();

  constructor(parts: {
    producer: ReconnectingClient;
    worker: ReconnectingClient;
    random: SeededRandom;
    timeline: Timeline;
  }) {
    this.#producer = parts.producer;
    this.#random = parts.random;
    this.#timeline = parts.timeline;
    this.standard = new JobLog(parts.timeline);
    this.ordered = new JobLog(parts.timeline);
    parts.worker.serve(FUNCTION, (delivery) => this.#handle(this.standard, delivery));
    parts.worker.serve(ORDERED_FUNCTION, (delivery) => {
      this.#checkOrder(delivery.data as JobData);
      return this.#handle(this.ordered, delivery);
    });
  }

  /** Resolves when producing has ended and every enqueue has an answer or was lost. */
  async run(): Promise<void> {
    const lanes: Promise<void>[] = [];
    for (let i = 0; i < PRODUCERS; i++) lanes.push(this.#produce(this.standard, STANDARD, FUNCTION, `s${i}`));
    for (let group = 0; group < GROUPS; group++) {
      const numbers = { last: 0 };
      for (let i = 0; i < PER_GROUP; i++)
        lanes.push(this.#produce(this.ordered, FIFO, ORDERED_FUNCTION, `g${group}`, numbers));
    }
    await Promise.all(lanes);
  }

  async #produce(log: JobLog, queue: string, functionId: string, group: string, numbers = { last: 0 }): Promise<void> {
    while (this.#timeline.producing) {
      await this.#producer.connected();
      if (log.unfinished > MAX_UNFINISHED) {
        await pause(2);
        continue;
      }
      if (!this.#producer.isOpen) continue;
      const data: JobData = { id: `${group}-${++numbers.last}`, group, number: numbers.last };
      if (this.#random.chance(FLAKY)) this.#flaky.add(data.id);
      else if (log === this.standard && this.#random.chance(POISON)) this.#poison.add(data.id);
      const job = log.sent(data.id);
      const answer = await this.#producer.ask(functionId, data, { type: 'enqueue', queue });
      if (answer.kind === 'result')
        log.acknowledge(job, (answer.result as { messageReceiptId?: unknown } | null)?.messageReceiptId);
      if (answer.kind === 'error') tell(log.faults, `${data.id}: refused with ${answer.code}: ${answer.message}`);
    }
  }

  /** A group never goes back: a start is the group's newest, or that one again. */
  #checkOrder({ id, group, number }: JobData): void {
    const last = this.#lastStarted.get(group) ?? 0;
    if (number < last) tell(this.ordered.faults, `order: ${id} started after ${group}-${last}`);
    this.#lastStarted.set(group, Math.max(last, number));
  }

  async #handle(log: JobLog, delivery: Delivery): Promise<null> {
    const { id } = delivery.data as JobData;
    const { incarnation } = this.#timeline;
    const job = log.started(id, delivery);
    if (job === undefined) return null;
    await pause(this.#random.between(0, MAX_HANDLER_MS));
    if (this.#poison.has(id) || this.#flaky.delete(id)) {
      log.failed(job, incarnation);
      throw new Error('this handler fails on purpose');
    }
    log.succeeded(job);
    return null;
  }

  /** Waits until both queues are empty, then compares the log with what is left. */
  async audit(client: ReconnectingClient, deadlineMs: number): Promise<string[]> {
    const faults: string[] = [];
    for (const [queue, log] of [
      [STANDARD, this.standard],
      [FIFO, this.ordered],
    ] as const) {
      await waitFor(
        async () => {
          const { depth, delayed } = await client.call<{ depth: number; delayed: number }>(
            'engine::queue::topic_stats',
            { topic: queue },
          );
          return depth === 0 && delayed === 0;
        },
        { timeoutMs: deadlineMs, what: `${queue} to become empty` },
      );
      faults.push(...log.audit(await deadReceipts(client, queue), (id) => this.#poison.has(id)));
    }
    return faults;
  }
}

async function deadReceipts(client: ReconnectingClient, topic: string): Promise<Set<string>> {
  const receipts = new Set<string>();
  for (let offset = 0; ; offset += DEAD_LETTER_PAGE) {
    const page = await client.call<{ message_receipt_id: string }[]>('engine::queue::dlq_messages', {
      topic,
      offset,
      limit: DEAD_LETTER_PAGE,
    });
    for (const { message_receipt_id } of page) receipts.add(message_receipt_id);
    if (page.length < DEAD_LETTER_PAGE) return receipts;
  }
}
