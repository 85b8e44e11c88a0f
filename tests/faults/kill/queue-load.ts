import type { Delivery, ReconnectingClient } from '../../support/reconnecting-client.js';
import type { SeededRandom } from '../../support/seeded-random.js';
import { JobLog, readDeadLetters, waitUntilEmpty, type Auditor } from '../audit/index.js';
import { engineOf, pause, type Timeline } from './timeline.js';

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
const MAX_FAILURES = 3;
const MAX_ORDERED_FAILURES = 5;

/** What config.yaml says about the two queues. */
export const queueConfigs = {
  [STANDARD]: { type: 'standard', max_retries: MAX_FAILURES, concurrency: 10, backoff_ms: 30 },
  [FIFO]: {
    type: 'fifo',
    max_retries: MAX_ORDERED_FAILURES,
    concurrency: GROUPS,
    backoff_ms: 30,
    message_group_field: 'group',
  },
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
  readonly #auditor: Auditor;
  readonly standard: JobLog;
  readonly ordered: JobLog;
  readonly #flaky = new Set<string>();
  readonly #poison = new Set<string>();

  constructor(parts: {
    producer: ReconnectingClient;
    worker: ReconnectingClient;
    random: SeededRandom;
    timeline: Timeline;
    auditor: Auditor;
  }) {
    this.#producer = parts.producer;
    this.#random = parts.random;
    this.#timeline = parts.timeline;
    this.#auditor = parts.auditor;
    this.standard = new JobLog(parts.auditor, { maxFailures: MAX_FAILURES });
    this.ordered = new JobLog(parts.auditor, { maxFailures: MAX_ORDERED_FAILURES, inOrder: true });
    parts.worker.serve(FUNCTION, (delivery) => this.#handle(this.standard, delivery));
    parts.worker.serve(ORDERED_FUNCTION, (delivery) => this.#handle(this.ordered, delivery));
  }

  get acknowledged(): number[] {
    return [this.standard.acknowledged, this.ordered.acknowledged];
  }

  /** Jobs that were delivered again because their engine or worker was gone. */
  get redelivered(): number {
    return this.standard.redelivered + this.ordered.redelivered;
  }

  get starts(): number {
    return this.standard.starts + this.ordered.starts;
  }

  /** There are jobs in their handlers, and jobs that wait behind them. */
  get isBusy(): boolean {
    const { standard, ordered } = this;
    return standard.running > 0 && ordered.running > 0 && standard.unfinished > standard.running;
  }

  /** The engine that serves now is gone, whatever it had handed out. */
  engineGone(): void {
    for (const log of [this.standard, this.ordered]) log.gone(engineOf(this.#timeline));
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
      const job = log.sent(data.id, data);
      const answer = await this.#producer.ask(functionId, data, { type: 'enqueue', queue });
      if (answer.kind === 'result')
        log.acknowledge(job, (answer.result as { messageReceiptId?: unknown } | null)?.messageReceiptId);
      if (answer.kind === 'error') this.#auditor.tell('refused', `${data.id}: ${answer.code}: ${answer.message}`);
    }
  }

  async #handle(log: JobLog, { data, metadata }: Delivery): Promise<null> {
    const { id } = data as JobData;
    const lease = log.started(id, engineOf(this.#timeline), metadata?.queue);
    if (lease === undefined) return null;
    await pause(this.#random.between(0, MAX_HANDLER_MS));
    if (this.#poison.has(id) || this.#flaky.delete(id)) {
      log.failed(lease);
      throw new Error('this handler fails on purpose');
    }
    log.succeeded(lease);
    return null;
  }

  /** Waits until both queues are empty, then compares the log with what is left. */
  async audit(client: ReconnectingClient, deadlineMs: number): Promise<void> {
    for (const [queue, log] of [
      [STANDARD, this.standard],
      [FIFO, this.ordered],
    ] as const) {
      await waitUntilEmpty(client, queue, deadlineMs);
      log.audit(await readDeadLetters(client, queue), (id) => this.#poison.has(id));
    }
  }
}
