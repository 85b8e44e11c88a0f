import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { stringify } from 'yaml';
import { Auditor, JobLog, readDeadLetters, waitUntilEmpty } from '../faults/audit/index.js';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { ReconnectingClient, type Delivery } from '../support/reconnecting-client.js';
import type { SeededRandom } from '../support/seeded-random.js';

const STANDARD = 'shared-jobs';
const FIFO = 'shared-ordered';
const FUNCTION = 'shared::job';
const ORDERED_FUNCTION = 'shared::ordered';
const MAX_FAILURES = 4;
const FLAKY = 0.05;
const MAX_HANDLER_MS = 10;
const GROUPS = 6;
/** Enqueues in flight of the standard queue, for each engine. */
const PRODUCERS = 4;
/** Producers rest above this many unfinished jobs. */
const MAX_UNFINISHED = 200;
const DRAIN_DEADLINE_MS = 60_000;

interface JobData {
  readonly id: string;
  readonly group: string;
  readonly number: number;
}

/** One of several engines on one broker, in a process of its own, with a producer and a worker. */
interface Member {
  readonly name: string;
  readonly folder: TempFolder;
  readonly port: number;
  readonly producer: ReconnectingClient;
  readonly worker: ReconnectingClient;
  engine: EngineProcess | undefined;
  incarnation: number;
}

/**
 * Engines that share a broker, under load: each enqueues on a standard and a fifo queue and handles
 * what any of them enqueued. Its log is the clients' own, held against the promises by the auditor.
 */
export class SharedLoad {
  readonly auditor = new Auditor();
  readonly standard = new JobLog(this.auditor, { maxFailures: MAX_FAILURES });
  readonly ordered = new JobLog(this.auditor, { maxFailures: MAX_FAILURES, inOrder: true });
  readonly members: Member[] = [];
  /** Jobs that each engine started, by its name. */
  readonly startsBy = new Map<string, number>();
  /** Enqueues that were answered with an error. */
  refused = 0;
  readonly #random: SeededRandom;
  readonly #adapter: object;
  readonly #flaky = new Set<string>();
  #producing = true;
  #lanes: Promise<unknown> = Promise.resolve();

  private constructor(random: SeededRandom, adapter: object) {
    this.#random = random;
    this.#adapter = adapter;
  }

  /** @param adapter - block of the queue worker */
  static async start(random: SeededRandom, adapter: object, engines: number): Promise<SharedLoad> {
    const load = new SharedLoad(random, adapter);
    try {
      for (let i = 0; i < engines; i++) await load.#join(`engine ${String.fromCharCode(65 + i)}`);
      load.#lanes = load.#run();
      return load;
    } catch (error) {
      await load.stop();
      throw error;
    }
  }

  /** Resolves after every engine has started more jobs, some are running and some wait. */
  async underWay(more = 20): Promise<void> {
    const before = new Map(this.startsBy);
    const ready = (): boolean =>
      this.members.every(({ name }) => (this.startsBy.get(name) ?? 0) >= (before.get(name) ?? 0) + more);
    await waitFor(ready, { timeoutMs: 30_000, what: `${more} more jobs of each engine` });
    await waitFor(() => this.standard.running > 0 && this.ordered.running > 0, { everyMs: 1, what: 'jobs that run' });
  }

  /** Resolves after so many more jobs were acknowledged and handled by whoever is there. */
  async goesOn(more = 40): Promise<void> {
    const { acknowledged } = this.standard;
    await waitFor(
      () => this.standard.acknowledged >= acknowledged + more && this.standard.unfinished < MAX_UNFINISHED,
      {
        timeoutMs: 30_000,
        what: 'jobs to go on',
      },
    );
  }

  /** SIGKILL to one engine. */
  async kill(member: Member): Promise<void> {
    const killed = member.engine?.kill();
    for (const log of [this.standard, this.ordered]) log.gone(holderOf(member));
    await killed;
  }

  async back(member: Member): Promise<void> {
    member.incarnation++;
    member.engine = await EngineProcess.start({ cwd: member.folder.path, port: member.port });
  }

  /** Ends the load, waits until all is handled and holds the log against what is left. */
  async finish(): Promise<void> {
    this.#producing = false;
    await this.#lanes;
    const client = (this.members[0] as Member).producer;
    await client.connected();
    for (const [queue, log] of [
      [STANDARD, this.standard],
      [FIFO, this.ordered],
    ] as const) {
      await waitUntilEmpty(client, queue, DRAIN_DEADLINE_MS);
      log.audit(await readDeadLetters(client, queue), () => false);
    }
  }

  async stop(): Promise<void> {
    this.#producing = false;
    for (const { producer, worker } of this.members) {
      producer.stop();
      worker.stop();
    }
    for (const { engine, folder } of this.members) {
      await engine?.kill();
      await folder.remove();
    }
  }

  async #join(name: string): Promise<void> {
    const folder = await tempFolder('trine-shared-');
    const port = await freePort();
    const url = `ws://127.0.0.1:${port}`;
    const member: Member = {
      name,
      folder,
      port,
      producer: new ReconnectingClient(url),
      worker: new ReconnectingClient(url),
      engine: undefined,
      incarnation: 0,
    };
    this.members.push(member);
    await writeFile(join(folder.path, 'config.yaml'), stringify(configuration(port, this.#adapter)));
    member.worker.serve(FUNCTION, (delivery) => this.#handle(this.standard, member, delivery));
    member.worker.serve(ORDERED_FUNCTION, (delivery) => this.#handle(this.ordered, member, delivery));
    await this.back(member);
    member.producer.start();
    member.worker.start();
    await member.producer.connected();
    await member.worker.connected();
  }

  async #run(): Promise<void> {
    const lanes: Promise<void>[] = [];
    for (const member of this.members) {
      for (let i = 0; i < PRODUCERS; i++)
        lanes.push(this.#produce(this.standard, STANDARD, FUNCTION, `${member.name}-${i}`, () => member));
    }
    // The jobs of a group come through all engines in turn.
    for (let i = 0; i < GROUPS; i++) {
      let turn = i;
      lanes.push(
        this.#produce(this.ordered, FIFO, ORDERED_FUNCTION, `g${i}`, () => {
          return this.members[turn++ % this.members.length] as Member;
        }),
      );
    }
    await Promise.all(lanes);
  }

  async #produce(log: JobLog, queue: string, functionId: string, group: string, next: () => Member): Promise<void> {
    for (let number = 0; this.#producing;) {
      const { producer } = next();
      if (log.unfinished > MAX_UNFINISHED || !producer.isOpen) {
        await pause(5);
        continue;
      }
      const data: JobData = { id: `${group}-${++number}`, group, number };
      if (this.#random.chance(FLAKY)) this.#flaky.add(data.id);
      const job = log.sent(data.id, data);
      const answer = await producer.ask(functionId, data, { type: 'enqueue', queue });
      if (answer.kind === 'result')
        log.acknowledge(job, (answer.result as { messageReceiptId?: unknown } | null)?.messageReceiptId);
      if (answer.kind === 'error') {
        this.refused++;
        if (answer.code !== 'enqueue_error') this.auditor.tell('refused', `${data.id}: ${answer.code}`);
        await pause(20);
      }
    }
  }

  async #handle(log: JobLog, member: Member, { data, metadata }: Delivery): Promise<null> {
    const { id } = data as JobData;
    this.startsBy.set(member.name, (this.startsBy.get(member.name) ?? 0) + 1);
    const lease = log.started(id, holderOf(member), metadata?.queue);
    if (lease === undefined) return null;
    await pause(this.#random.between(0, MAX_HANDLER_MS));
    if (this.#flaky.delete(id)) {
      log.failed(lease);
      throw new Error('this handler fails on purpose');
    }
    log.succeeded(lease);
    return null;
  }
}

function holderOf({ name, incarnation }: Member): string {
  return `${name}#${incarnation}`;
}

function configuration(port: number, adapter: object): object {
  const rules = { max_retries: MAX_FAILURES, backoff_ms: 30 };
  return {
    workers: [
      { name: 'iii-worker-manager', config: { port } },
      {
        name: 'queue',
        config: {
          adapter,
          queue_configs: {
            [STANDARD]: { ...rules, type: 'standard', concurrency: 8 },
            [FIFO]: { ...rules, type: 'fifo', concurrency: GROUPS, message_group_field: 'group' },
          },
        },
      },
    ],
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
