import { waitFor } from '@trine/testing';
import { Auditor, JobLog, type Invariant, readDeadLetters, waitUntilEmpty } from '../faults/audit/index.js';
import { pause } from '../faults/kill/timeline.js';
import type { Answer, Delivery } from '../support/reconnecting-client.js';
import type { SeededRandom } from '../support/seeded-random.js';
import type { Adapter } from './adapters.js';
import { SharedMember } from './shared-member.js';

const STANDARD = 'shared-jobs';
const FIFO = 'shared-ordered';
const FUNCTION = 'shared::job';
const ORDERED_FUNCTION = 'shared::ordered';
const MAX_FAILURES = 3;
/** Share of jobs whose handler fails once, and of those of the standard queue whose handler always fails. */
const FLAKY = 0.05;
const POISON = 0.01;
const MAX_HANDLER_MS = 25;
const GROUPS = 8;
const CONCURRENCY = 10;
/** Enqueues in flight of the standard queue, for each engine. */
const PRODUCERS = 4;
/** Producers rest above this many unfinished jobs. */
const MAX_UNFINISHED = 200;
const PROGRESS_DEADLINE_MS = 30_000;
const DRAIN_DEADLINE_MS = 60_000;

interface JobData {
  readonly id: string;
  readonly group: string;
  readonly number: number;
}

export interface SharedLoadOptions {
  readonly random: SeededRandom;
  readonly adapter: Adapter;
  readonly engines: number;
  /** Invariants that are counted only: what this broker may cause when it or an engine dies. Default: none. */
  readonly allowed?: readonly Invariant[];
}

class SharedAuditor extends Auditor {
  readonly #allowed: readonly Invariant[];
  /** What was allowed and came to pass. */
  tolerated = 0;

  constructor(allowed: readonly Invariant[]) {
    super();
    this.#allowed = allowed;
  }

  override tell(invariant: Invariant, what: string): void {
    if (this.#allowed.includes(invariant)) this.tolerated++;
    else super.tell(invariant, what);
  }
}

/**
 * Engines that share a broker, under load: each enqueues on a standard and a fifo queue and handles
 * what any of them enqueued. Its log is the clients' own, held against the promises by the auditor.
 */
export class SharedLoad {
  readonly auditor: SharedAuditor;
  readonly standard: JobLog;
  readonly ordered: JobLog;
  readonly members: SharedMember[] = [];
  /** Enqueues that were answered with an error. */
  refused = 0;
  /** Longest time an enqueue waited for its answer, in milliseconds. */
  slowest = 0;
  readonly #random: SeededRandom;
  /** Jobs that each engine started, by its name. */
  readonly #startsBy = new Map<string, number>();
  readonly #flaky = new Set<string>();
  readonly #poison = new Set<string>();
  #producing = true;
  #lanes: Promise<unknown> = Promise.resolve();

  private constructor({ random, allowed = [] }: SharedLoadOptions) {
    this.#random = random;
    this.auditor = new SharedAuditor(allowed);
    this.standard = new JobLog(this.auditor, { maxFailures: MAX_FAILURES });
    this.ordered = new JobLog(this.auditor, { maxFailures: MAX_FAILURES, inOrder: true });
  }

  static async start(options: SharedLoadOptions): Promise<SharedLoad> {
    const load = new SharedLoad(options);
    try {
      for (let i = 0; i < options.engines; i++)
        await load.#join(`engine ${String.fromCharCode(65 + i)}`, options.adapter);
      load.#lanes = load.#run();
      return load;
    } catch (error) {
      await load.stop();
      throw error;
    }
  }

  /** Resolves after every engine has started more jobs, while several run. */
  async underWay(more = 20): Promise<void> {
    const before = new Map(this.#startsBy);
    const ready = (): boolean =>
      this.members.every(({ name }) => (this.#startsBy.get(name) ?? 0) >= (before.get(name) ?? 0) + more);
    await waitFor(ready, { timeoutMs: PROGRESS_DEADLINE_MS, what: `${more} more jobs of each engine` });
    await waitFor(() => this.standard.running > 2 && this.ordered.running > 2, { everyMs: 1, what: 'jobs that run' });
  }

  /** Resolves after so many more jobs were acknowledged, and so many handled by whoever is there. */
  async goesOn(more = 40): Promise<void> {
    const { acknowledged } = this.standard;
    const handled = this.#handled;
    await waitFor(() => this.standard.acknowledged >= acknowledged + more && this.#handled >= handled + more, {
      timeoutMs: PROGRESS_DEADLINE_MS,
      what: `${more} more jobs`,
    });
  }

  /** Resolves when every engine says so of its broker. */
  async brokerIs(state: 'ready' | 'unreachable', timeoutMs: number): Promise<void> {
    for (const member of this.members)
      await waitFor(async () => (await member.queueState()) === state, {
        timeoutMs,
        what: `${member.name} to call its broker ${state}`,
      });
  }

  /** One enqueue beside those that are counted. */
  enqueue(member: SharedMember): Promise<Answer> {
    return member.producer.ask(FUNCTION, { id: 'beside' }, { type: 'enqueue', queue: STANDARD });
  }

  /** SIGKILL to one engine: whatever it had handed out is given up. */
  async kill(member: SharedMember): Promise<void> {
    const killed = member.kill();
    for (const log of [this.standard, this.ordered]) log.gone(member.holder);
    await killed;
  }

  /** Ends the load, waits until all is handled and holds the log against what is left. */
  async finish(): Promise<void> {
    this.#producing = false;
    await this.#lanes;
    const client = (this.members[0] as SharedMember).producer;
    await client.connected();
    const unfinished = (): number => this.standard.unfinished + this.ordered.unfinished;
    // If they do not end, the audit knows more about the reason.
    await waitFor(() => unfinished() === 0, { timeoutMs: DRAIN_DEADLINE_MS }).catch(() => undefined);
    for (const [queue, log] of [
      [STANDARD, this.standard],
      [FIFO, this.ordered],
    ] as const) {
      await waitUntilEmpty(client, queue, DRAIN_DEADLINE_MS);
      log.audit(await readDeadLetters(client, queue), (id) => this.#poison.has(id));
    }
    if (unfinished() > 0) this.auditor.tell('I1', `${unfinished()} acknowledged jobs did not end`);
  }

  async stop(): Promise<void> {
    this.#producing = false;
    for (const member of this.members) await member.stop();
    await this.#lanes;
  }

  get #handled(): number {
    return [this.standard, this.ordered].reduce((sum, log) => sum + log.acknowledged - log.unfinished, 0);
  }

  async #join(name: string, adapter: Adapter): Promise<void> {
    const member = await SharedMember.make(name, workersOn(adapter));
    this.members.push(member);
    member.worker.serve(FUNCTION, (delivery) => this.#handle(this.standard, member, delivery));
    member.worker.serve(ORDERED_FUNCTION, (delivery) => this.#handle(this.ordered, member, delivery));
    await member.start();
    await member.connect();
  }

  async #run(): Promise<void> {
    const lanes: Promise<void>[] = [];
    for (let i = 0; i < PRODUCERS * this.members.length; i++)
      lanes.push(this.#produce(this.standard, STANDARD, FUNCTION, `s${i}`, i));
    // A group has one producer: what it is answered for is in order.
    for (let i = 0; i < GROUPS; i++) lanes.push(this.#produce(this.ordered, FIFO, ORDERED_FUNCTION, `g${i}`, i));
    await Promise.all(lanes);
  }

  /** Enqueues one job after the other, through all engines in turn. */
  async #produce(log: JobLog, queue: string, functionId: string, group: string, lane: number): Promise<void> {
    for (let number = 0, turn = lane; this.#producing; turn++) {
      const { producer } = this.members[turn % this.members.length] as SharedMember;
      if (log.unfinished > MAX_UNFINISHED || !producer.isOpen) {
        await pause(5);
        continue;
      }
      const data: JobData = { id: `${group}-${++number}`, group, number };
      if (this.#random.chance(FLAKY)) this.#flaky.add(data.id);
      else if (log === this.standard && this.#random.chance(POISON)) this.#poison.add(data.id);
      const job = log.sent(data.id, data);
      const from = performance.now();
      const answer = await producer.ask(functionId, data, { type: 'enqueue', queue });
      this.slowest = Math.max(this.slowest, performance.now() - from);
      if (answer.kind === 'result')
        log.acknowledge(job, (answer.result as { messageReceiptId?: unknown } | null)?.messageReceiptId);
      if (answer.kind === 'error') {
        this.refused++;
        if (answer.code !== 'enqueue_error') this.auditor.tell('refused', `${data.id}: ${answer.code}`);
        await pause(20);
      }
    }
  }

  async #handle(log: JobLog, member: SharedMember, { data, metadata }: Delivery): Promise<null> {
    const { id } = data as JobData;
    this.#startsBy.set(member.name, (this.#startsBy.get(member.name) ?? 0) + 1);
    const lease = log.started(id, member.holder, metadata?.queue);
    if (lease === undefined) return null;
    await pause(this.#random.between(0, MAX_HANDLER_MS));
    if (this.#poison.has(id) || this.#flaky.delete(id)) {
      log.failed(lease);
      throw new Error('this handler fails on purpose');
    }
    log.succeeded(lease);
    return null;
  }
}

function workersOn(adapter: Adapter): readonly object[] {
  const rules = { max_retries: MAX_FAILURES, backoff_ms: 30 };
  const queues = {
    [STANDARD]: { ...rules, type: 'standard', concurrency: CONCURRENCY },
    [FIFO]: { ...rules, type: 'fifo', concurrency: GROUPS, message_group_field: 'group' },
  };
  return [{ name: 'iii-queue', config: { adapter, queue_configs: queues } }, { name: 'iii-observability' }];
}
