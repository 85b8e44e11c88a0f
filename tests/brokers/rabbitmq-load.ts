/** Two engines on one virtual host, a producer and a worker on each, and the log of what they saw. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { stringify } from 'yaml';
import { Auditor, JobLog, type Invariant, readDeadLetters, waitUntilEmpty } from '../faults/audit/index.js';
import { pause } from '../faults/kill/timeline.js';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { ReconnectingClient, type Delivery } from '../support/reconnecting-client.js';
import type { SeededRandom } from '../support/seeded-random.js';

const STANDARD = 'shared-jobs';
const ORDERED = 'shared-ordered';
const FUNCTION = 'shared::job';
const ORDERED_FUNCTION = 'shared::ordered';
const GROUPS = 8;
const PRODUCERS = 6;
const MAX_UNFINISHED = 200;
const MAX_HANDLER_MS = 25;
const MAX_FAILURES = 3;
/** Share of jobs of the standard queue whose handler fails once, and of those whose handler always fails. */
const FLAKY = 0.05;
const POISON = 0.01;
const DEADLINE_MS = 60_000;

interface JobData {
  readonly id: string;
  readonly group: string;
  readonly number: number;
}

/** One engine in a process of its own, with its clients. */
export class Member {
  readonly name: string;
  readonly port: number;
  readonly folder: TempFolder;
  readonly producer: ReconnectingClient;
  readonly worker: ReconnectingClient;
  engine!: EngineProcess;
  incarnation = 1;

  private constructor(name: string, port: number, folder: TempFolder) {
    this.name = name;
    this.port = port;
    this.folder = folder;
    this.producer = new ReconnectingClient(`ws://127.0.0.1:${port}`);
    this.worker = new ReconnectingClient(`ws://127.0.0.1:${port}`, 'shared');
  }

  static async make(name: string, amqpUrl: string): Promise<Member> {
    const [port, folder] = [await freePort(), await tempFolder(`trine-${name}-`)];
    const workers = [
      { name: 'iii-worker-manager', config: { port } },
      {
        name: 'iii-queue',
        config: {
          adapter: { name: 'rabbitmq', config: { amqp_url: amqpUrl } },
          queue_configs: {
            [STANDARD]: { type: 'standard', max_retries: MAX_FAILURES, concurrency: 10, backoff_ms: 30 },
            [ORDERED]: {
              type: 'fifo',
              max_retries: 5,
              concurrency: GROUPS,
              backoff_ms: 30,
              message_group_field: 'group',
            },
          },
        },
      },
      { name: 'iii-observability' },
    ];
    await writeFile(join(folder.path, 'config.yaml'), stringify({ workers }));
    return new Member(name, port, folder);
  }

  get holder(): string {
    return `${this.name} ${this.incarnation}`;
  }

  async start(): Promise<void> {
    this.engine = await EngineProcess.start({ cwd: this.folder.path, port: this.port });
  }

  async queueHealth(): Promise<string | undefined> {
    const health = await this.producer.call<{
      components: Record<string, { details?: { state?: string } } | undefined>;
    }>('engine::health::check', {});
    return health.components['queue']?.details?.state;
  }

  async stop(): Promise<void> {
    this.producer.stop();
    this.worker.stop();
    await this.engine.kill();
    await this.folder.remove();
  }
}

/** Counts what a broken server may cause instead of telling it: jobs that run once more. */
class SharedAuditor extends Auditor {
  readonly #allowed: readonly Invariant[];
  again = 0;

  constructor(allowed: readonly Invariant[]) {
    super();
    this.#allowed = allowed;
  }

  override tell(invariant: Invariant, what: string): void {
    if (this.#allowed.includes(invariant)) this.again++;
    else super.tell(invariant, what);
  }
}

export class SharedLoad {
  readonly auditor: SharedAuditor;
  readonly standard: JobLog;
  readonly ordered: JobLog;
  readonly members: readonly Member[];
  readonly #random: SeededRandom;
  readonly #flaky = new Set<string>();
  readonly #poison = new Set<string>();
  #lanes: Promise<unknown> = Promise.resolve();
  #producing = true;
  /** Enqueues that were answered with an error, by code; while the server is away they are expected. */
  readonly refused = new Map<string, number>();
  /** Longest time an enqueue waited for its answer, in milliseconds. */
  slowest = 0;

  private constructor(members: readonly Member[], random: SeededRandom, allowed: readonly Invariant[]) {
    this.members = members;
    this.#random = random;
    this.auditor = new SharedAuditor(allowed);
    this.standard = new JobLog(this.auditor, { maxFailures: MAX_FAILURES });
    this.ordered = new JobLog(this.auditor, { maxFailures: MAX_FAILURES, inOrder: true });
  }

  /** @param allowed - invariants that are counted only */
  static async start(amqpUrl: string, random: SeededRandom, allowed: readonly Invariant[] = []): Promise<SharedLoad> {
    const members = [await Member.make('left', amqpUrl), await Member.make('right', amqpUrl)];
    const load = new SharedLoad(members, random, allowed);
    for (const member of members) {
      await member.start();
      member.worker.serve(FUNCTION, (delivery) => load.#handle(load.standard, member, delivery));
      member.worker.serve(ORDERED_FUNCTION, (delivery) => load.#handle(load.ordered, member, delivery));
      for (const client of [member.producer, member.worker]) client.start();
      await Promise.all([member.producer, member.worker].map((client) => client.connected()));
    }
    load.#lanes = Promise.all([
      ...Array.from({ length: PRODUCERS }, (_, i) => load.#produce(load.standard, STANDARD, FUNCTION, `s${i}`, i)),
      // A group has one producer: what it is answered for is in order.
      ...Array.from({ length: GROUPS }, (_, i) => load.#produce(load.ordered, ORDERED, ORDERED_FUNCTION, `g${i}`, i)),
    ]);
    return load;
  }

  get handled(): number {
    return this.standard.acknowledged + this.ordered.acknowledged - this.standard.unfinished - this.ordered.unfinished;
  }

  /** Work goes on: that many more jobs have ended. */
  async moreDone(count: number): Promise<void> {
    const before = this.handled;
    await waitFor(() => this.handled >= before + count, { timeoutMs: DEADLINE_MS, what: `${count} more jobs` });
  }

  /** Whatever this engine had handed out is given up. */
  gone(member: Member): void {
    for (const log of [this.standard, this.ordered]) log.gone(member.holder);
    member.incarnation++;
  }

  /** It dies while it runs jobs of both queues. */
  async kill(member: Member): Promise<void> {
    await waitFor(() => this.standard.running > 2 && this.ordered.running > 2, {
      everyMs: 1,
      what: 'jobs in handlers',
    });
    const killed = member.engine.kill();
    this.gone(member);
    await killed;
  }

  async finish(): Promise<void> {
    this.#producing = false;
    await this.#lanes;
    const [{ producer }] = this.members as [Member, Member];
    await waitFor(() => this.standard.unfinished + this.ordered.unfinished === 0, {
      timeoutMs: DEADLINE_MS,
      what: 'all acknowledged jobs to end',
    });
    for (const [queue, log] of [
      [STANDARD, this.standard],
      [ORDERED, this.ordered],
    ] as const) {
      await waitUntilEmpty(producer, queue, DEADLINE_MS);
      log.audit(await readDeadLetters(producer, queue), (id) => this.#poison.has(id));
    }
  }

  async stop(): Promise<void> {
    this.#producing = false;
    await Promise.all(this.members.map((member) => member.stop()));
    await this.#lanes;
  }

  async #produce(log: JobLog, queue: string, functionId: string, group: string, lane: number): Promise<void> {
    for (let number = 1; this.#producing;) {
      // In turns on both engines.
      const { producer } = this.members[(number + lane) % this.members.length] as Member;
      if (log.unfinished > MAX_UNFINISHED || !producer.isOpen) {
        if (!producer.isOpen) number++;
        await pause(5);
        continue;
      }
      const data: JobData = { id: `${group}-${number}`, group, number };
      number++;
      if (log === this.standard && this.#random.chance(FLAKY)) this.#flaky.add(data.id);
      else if (log === this.standard && this.#random.chance(POISON)) this.#poison.add(data.id);
      const job = log.sent(data.id, data);
      const from = performance.now();
      const answer = await producer.ask(functionId, data, { type: 'enqueue', queue });
      this.slowest = Math.max(this.slowest, performance.now() - from);
      if (answer.kind === 'result')
        log.acknowledge(job, (answer.result as { messageReceiptId?: unknown } | null)?.messageReceiptId);
      if (answer.kind !== 'error') continue;
      this.refused.set(answer.code, (this.refused.get(answer.code) ?? 0) + 1);
      await pause(20);
    }
  }

  async #handle(log: JobLog, member: Member, { data, metadata }: Delivery): Promise<null> {
    const { id } = data as JobData;
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
