/** What clients do to the queue, chosen by chance, and what they write down of the answers. */
import { toErrorBody } from '@trine/protocol';
import type { TriggerBinding } from '../../../core/worker-host.js';
import type { Chance } from './chance.js';
import type { Fate, Sent, SentOptions } from './fate.js';
import type { Ledger } from './ledger.js';
import { Violation } from './ledger.js';
import type { Process } from './process.js';
import type { QueueSetup, Setup, SubscriptionSetup } from './setup.js';
import type { Time } from './time.js';

const GROUPS = ['g1', 'g2', 'g3'];
const UNIQUE_KEYS = ['u1', 'u2'];
const RATE_KEYS = ['r1', 'r2'];
const MAX_DELAY_MS = 20_000;
const UNIQUE_MS = 30_000;
const EXPIRES_MS = 10_000;
const MAX_BATCH = 4;

/** What is known of a subscription: `sure` = it was made, and nobody began to end it. */
type SubscriptionState = 'none' | 'unsure' | 'sure';

export class Client {
  readonly #ledger: Ledger;
  readonly #chance: Chance;
  readonly #setup: Setup;
  readonly #time: Time;
  readonly #subscriptions = new Map<string, SubscriptionState>();
  readonly #bound = new Set<string>();
  readonly #resumes = new Map<string, number>();
  #batches = 0;
  process!: Process;
  /** Answers that are waited for. */
  open = 0;
  violation: unknown;
  note: ((text: string) => void) | undefined;

  constructor(ledger: Ledger, chance: Chance, setup: Setup, time: Time) {
    this.#ledger = ledger;
    this.#chance = chance;
    this.#setup = setup;
    this.#time = time;
  }

  /** The engine is gone: connections and answers are lost. */
  crashed(): void {
    this.#bound.clear();
    this.open = 0;
    if (this.#setup.topicDurability === 'memory') {
      this.#subscriptions.clear();
      return;
    }
    for (const [key, state] of this.#subscriptions) if (state === 'none') this.#subscriptions.set(key, 'unsure');
  }

  /** Calls a function; what comes of it is told while the engine that was asked lives. */
  #call(functionId: string, input: unknown, told: (answer: unknown) => void, failed?: (error: unknown) => void): void {
    this.note?.(`${functionId} ${JSON.stringify(input)}`);
    this.#tracked(
      this.process.call(functionId, input),
      (answer) => {
        this.note?.(`${functionId} answered ${JSON.stringify(answer)}`);
        told(answer);
      },
      failed,
    );
  }

  #tracked(promise: Promise<unknown>, told: (answer: unknown) => void, failed?: (error: unknown) => void): void {
    const asked = this.process;
    this.open++;
    const heard = (hear: () => void): void => {
      if (!asked.isAlive || asked !== this.process) return;
      this.open--;
      try {
        hear();
      } catch (error) {
        this.violation ??= error;
      }
    };
    promise.then(
      (answer) => heard(() => told(answer)),
      (error: unknown) => heard(() => failed?.(error)),
    );
  }

  enqueue(queue = this.#chance.pick(this.#setup.queues)): void {
    const { sent, input } = this.#job(queue, undefined);
    this.#call(
      'iii::queue::enqueue',
      input,
      (answer) => this.#accepted(sent, answer as { messageReceiptId: string; deduplicated?: boolean }),
      (error) => this.#ledger.refused(sent, isForCertain(error)),
    );
  }

  enqueueBatch(): void {
    const batch = this.#batches++;
    // One transaction: all on disk, or all in memory.
    const inMemory = this.#chance.pick(this.#setup.queues).durability === 'memory';
    const queues = this.#setup.queues.filter(({ durability }) => (durability === 'memory') === inMemory);
    const jobs = Array.from({ length: this.#chance.between(1, MAX_BATCH) }, () =>
      this.#job(this.#chance.pick(queues), batch),
    );
    this.#call(
      'iii::queue::enqueue_batch',
      { jobs: jobs.map(({ input }) => input) },
      (answer) => {
        const { receipts, deduplicated = [] } = answer as { receipts: string[]; deduplicated?: number[] };
        jobs.forEach(({ sent }, i) =>
          this.#accepted(sent, { messageReceiptId: receipts[i] as string, deduplicated: deduplicated.includes(i) }),
        );
      },
      (error) => {
        for (const { sent } of jobs) this.#ledger.refused(sent, isForCertain(error));
      },
    );
  }

  #accepted(
    sent: Sent,
    { messageReceiptId, deduplicated }: { messageReceiptId: string; deduplicated?: boolean },
  ): void {
    this.#ledger.acknowledged(sent, messageReceiptId, deduplicated === true);
  }

  #job(queue: QueueSetup, batch: number | undefined): { readonly sent: Sent; readonly input: object } {
    const chance = this.#chance;
    const isFifo = queue.type === 'fifo';
    const group = isFifo || queue.turning ? chance.pick(GROUPS) : undefined;
    const delayMs = !isFifo && chance.is(0.2) ? chance.between(1, MAX_DELAY_MS) : undefined;
    const runAtMs =
      !isFifo && delayMs === undefined && chance.is(0.05)
        ? this.#time.wallMs + chance.between(1, MAX_DELAY_MS)
        : undefined;
    const priority = !isFifo && chance.is(0.3) ? chance.between(0, 2) : undefined;
    const uniqueKey = chance.is(0.2) ? chance.pick(UNIQUE_KEYS) : undefined;
    const uniqueMs = uniqueKey !== undefined && chance.is(0.3) ? UNIQUE_MS : undefined;
    const rateKey = chance.is(queue.ratePerKey === undefined ? 0.05 : 0.7) ? chance.pick(RATE_KEYS) : undefined;
    const expiresInMs = chance.is(0.05) ? EXPIRES_MS : undefined;
    const maxRetries = chance.is(0.1) ? chance.between(1, 5) : undefined;
    const options: SentOptions = {
      maxAttempts: maxRetries ?? queue.maxRetries,
      ...(delayMs === undefined ? {} : { delayMs }),
      ...(runAtMs === undefined ? {} : { runAtMs }),
      ...(uniqueKey === undefined ? {} : { uniqueKey }),
      ...(uniqueMs === undefined ? {} : { uniqueMs }),
      ...(rateKey === undefined ? {} : { rateKey }),
      ...(expiresInMs === undefined ? {} : { expiresAtMs: this.#time.wallMs + expiresInMs }),
    };
    const functionId = chance.pick(this.#setup.functions);
    const sent = this.#ledger.sends({
      kind: 'job',
      place: queue.name,
      functionId,
      group,
      batch,
      options,
      owed: NOBODY,
      held: false,
    });
    const [payload] = sent.payloads;
    const input = {
      queue: queue.name,
      function_id: functionId,
      data: JSON.parse(payload as string) as unknown,
      ...(delayMs === undefined ? {} : { delay_ms: delayMs }),
      ...(runAtMs === undefined ? {} : { run_at: runAtMs }),
      ...(priority === undefined ? {} : { priority }),
      ...(uniqueKey === undefined ? {} : { unique_key: uniqueKey }),
      ...(uniqueMs === undefined ? {} : { unique_ms: uniqueMs }),
      ...(rateKey === undefined ? {} : { rate_key: rateKey }),
      ...(expiresInMs === undefined ? {} : { expires_in_ms: expiresInMs }),
      ...(maxRetries === undefined ? {} : { max_retries: maxRetries }),
      ...(chance.is(0.05) ? { messageReceiptId: `own-${sent.id}` } : {}),
    };
    return { sent, input };
  }

  publish(): void {
    const topic = 'news';
    const known = this.#setup.subscriptions.map(({ functionId }) => functionId);
    const owed = new Set(known.filter((functionId) => this.#subscriptions.get(functionId) === 'sure'));
    const held =
      known.length > 0 && known.every((functionId) => (this.#subscriptions.get(functionId) ?? 'none') === 'none');
    const sent = this.#ledger.sends({
      kind: 'message',
      place: topic,
      functionId: undefined,
      group: undefined,
      batch: undefined,
      options: { maxAttempts: 1 },
      owed,
      held,
    });
    const [payload] = sent.payloads;
    this.#call(
      'iii::durable::publish',
      { topic, data: JSON.parse(payload as string) as unknown },
      () => this.#ledger.acknowledged(sent, undefined, false),
      (error) => this.#ledger.refused(sent, isForCertain(error)),
    );
  }

  subscribe(setup: SubscriptionSetup): void {
    const { functionId } = setup;
    if (this.#bound.has(functionId)) return;
    this.#bound.add(functionId);
    const before = this.#subscriptions.get(functionId) ?? 'none';
    if (before === 'none') this.#subscriptions.set(functionId, 'unsure');
    this.#tracked(
      this.process.bind(triggerOf(setup)),
      () => void (this.#bound.has(functionId) && this.#subscriptions.set(functionId, 'sure')),
      () => void this.#bound.delete(functionId),
    );
  }

  unsubscribe(setup: SubscriptionSetup, reason: 'disconnected' | 'unregistered'): void {
    if (!this.#bound.delete(setup.functionId)) return;
    if (reason === 'unregistered' || this.#subscriptions.get(setup.functionId) !== 'sure')
      this.#subscriptions.set(setup.functionId, 'unsure');
    this.#tracked(this.process.unbind(triggerOf(setup), reason), () => undefined);
  }

  pause(place: string, isPause: boolean): void {
    const resumes = (this.#resumes.get(place) ?? 0) + (isPause ? 0 : 1);
    this.#resumes.set(place, resumes);
    const areMade = this.#setup.subscriptions.every(({ functionId }) => this.#subscriptions.get(functionId) === 'sure');
    if (!isPause) this.#ledger.paused.delete(place);
    this.#call(isPause ? 'iii::queue::pause' : 'iii::queue::resume', { queue: place }, () => {
      // A subscription that is made later is not paused.
      const isAll = place !== 'news' || areMade;
      if (isPause && isAll && this.#resumes.get(place) === resumes) this.#ledger.paused.add(place);
    });
  }

  lookUp(fate: Fate): void {
    const askedAt = ++this.#ledger.tick;
    this.#call('iii::queue::job', { receipt: fate.receipt }, (answer) => {
      this.#ledger.told(fate.receipt, (answer as { state: string }).state, askedAt);
    });
  }

  cancel(fate: Fate): void {
    const askedAt = ++this.#ledger.tick;
    fate.excuses.add(`cancel ${askedAt}`);
    this.#call('iii::queue::cancel', { receipt: fate.receipt }, (answer) => {
      const { cancelled, state } = answer as { cancelled: boolean; state: string };
      if (!cancelled) fate.excuses.delete(`cancel ${askedAt}`);
      this.#ledger.told(fate.receipt, state, askedAt);
    });
  }

  purge(place: string, what: 'waiting' | 'delayed' | 'dead'): void {
    this.#ledger.purged.add(place);
    for (const sent of this.#ledger.sent) this.#excuse(sent, place, 'purge');
    this.#ledger.purges.set(place, Infinity);
    this.#call('iii::queue::purge', { queue: place, what }, () => {
      this.#ledger.purges.set(place, ++this.#ledger.tick);
      for (const sent of this.#ledger.sent) this.#excuse(sent, place, 'purge');
    });
  }

  redrive(place: string): void {
    const span = { place, from: ++this.#ledger.tick, to: Infinity };
    this.#ledger.redrives.push(span);
    const done = (): void => void (span.to = ++this.#ledger.tick);
    this.#call('iii::queue::redrive', { queue: place, limit: this.#chance.between(1, 5) }, done);
  }

  /** Does something with one dead letter. */
  deadLetter(fate: Fate, what: 'redrive_message' | 'discard_message' | 'edit_message'): void {
    const place = fate.sent.place;
    const input: Record<string, unknown> = { queue: place, message_id: fate.receipt };
    const span = { place, from: ++this.#ledger.tick, to: Infinity };
    if (what === 'edit_message') {
      const edited = { ...(JSON.parse([...fate.sent.payloads][0] as string) as object), edited: this.#ledger.tick };
      fate.sent.payloads.add(JSON.stringify(edited));
      Object.assign(input, { data: edited, redrive: true });
    }
    if (what === 'discard_message') fate.excuses.add(`discard ${span.from}`);
    else this.#ledger.redrives.push(span);
    this.#call(`iii::queue::${what}`, input, (answer) => {
      span.to = ++this.#ledger.tick;
      const { redriven } = answer as { redriven: number };
      if (what === 'discard_message' && redriven === 0) fate.excuses.delete(`discard ${span.from}`);
    });
  }

  /** The handler of a job speaks about it. */
  reject(fate: Fate, retryInMs: number | undefined): void {
    this.#ledger.rejected(fate, retryInMs);
    const verdict = retryInMs === undefined ? { dead_letter: true } : { retry_in_ms: retryInMs };
    this.#call('iii::queue::reject', { receipt: fate.receipt, ...verdict }, () => undefined, fault);
  }

  heartbeat(fate: Fate): void {
    this.#call('iii::queue::heartbeat', { receipt: fate.receipt }, () => undefined, fault);
  }

  replay(setup: SubscriptionSetup): void {
    this.#ledger.replayed.add(setup.functionId);
    const since = this.#time.wallMs - this.#chance.between(0, MAX_DELAY_MS);
    this.#call(
      'iii::durable::replay',
      { topic: setup.topic, function_id: setup.functionId, since_ms: since },
      () => undefined,
    );
  }

  look(place: string): void {
    const functionId = this.#chance.pick([
      'engine::queue::topic_stats',
      'iii::queue::peek',
      'engine::queue::dlq_browse',
    ]);
    this.#call(functionId, { queue: place }, () => undefined);
  }

  #excuse(sent: Sent, place: string, why: string): void {
    if (sent.place !== place || this.#ledger.sent[sent.id] !== sent) return;
    for (const fate of this.#ledger.fates.values())
      if (fate.sent === sent && fate.doneIn !== this.#ledger.life) fate.excuses.add(why);
  }
}

const NOBODY: ReadonlySet<string> = new Set();

/** Nothing of it is kept: the commit was refused. */
function isForCertain(error: unknown): boolean {
  return toErrorBody(error).message.includes('nothing of it is kept');
}

function fault(error: unknown): never {
  throw new Violation(`the handler of a running job was told: ${toErrorBody(error).message}`);
}

function triggerOf(setup: SubscriptionSetup): TriggerBinding {
  const { topic, functionId, fifo, concurrency, maxAttempts, backoffMs, timeoutMs } = setup;
  return {
    id: `trigger-${functionId}`,
    type: 'durable:subscriber',
    functionId,
    namespace: 'default',
    config: {
      topic,
      queue_config: {
        type: fifo ? 'fifo' : 'standard',
        concurrency,
        max_retries: maxAttempts - 1,
        backoff_ms: backoffMs,
        timeout_ms: timeoutMs,
      },
    },
    metadata: undefined,
    workerId: 'worker',
    workerName: 'worker',
  };
}
