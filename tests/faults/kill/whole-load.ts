import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { stringify } from 'yaml';
import { EngineProcess, freePort } from '../../support/engine-process.js';
import { ReconnectingClient } from '../../support/reconnecting-client.js';
import type { SeededRandom } from '../../support/seeded-random.js';
import { Auditor } from '../audit/index.js';
import { QueueLoad, queueConfigs } from './queue-load.js';
import { pause, type Timeline } from './timeline.js';
import { TopicLoad } from './topic-load.js';
import { places, ValueLoad } from './value-load.js';

/** Acknowledged operations of each kind that a round waits for. */
const PER_ROUND = 40;
/** A round ends this long after that, at most, in milliseconds. */
const MAX_DELAY_MS = 250;
const ROUND_DEADLINE_MS = 30_000;
const DRAIN_DEADLINE_MS = 60_000;

/**
 * An engine in a process of its own, and clients that put everything durable to use: two queues, a
 * durable topic, state and streams.
 *
 * One round: `underWay` -> the engine ends (`kill`, or in order) -> `back`. After the last: `finish`.
 */
export class WholeLoad {
  readonly auditor = new Auditor();
  readonly queue: QueueLoad;
  readonly topic: TopicLoad;
  readonly state: ValueLoad;
  readonly stream: ValueLoad;
  readonly port: number;
  readonly #folder: TempFolder;
  readonly #random: SeededRandom;
  readonly #timeline: Timeline = { incarnation: 1, producing: true };
  readonly #producer: ReconnectingClient;
  readonly #reader: ReconnectingClient;
  /** A subscriber that is away from time to time. */
  readonly #sometimes: ReconnectingClient;
  readonly #clients: readonly ReconnectingClient[];
  #loads: Promise<unknown> = Promise.resolve();
  engine: EngineProcess | undefined;

  private constructor(folder: TempFolder, port: number, random: SeededRandom) {
    this.#folder = folder;
    this.#random = random;
    this.port = port;
    const client = (): ReconnectingClient => new ReconnectingClient(`ws://127.0.0.1:${port}`);
    const [producer, worker, sometimes, reader] = [client(), client(), client(), client()];
    this.#clients = [producer, worker, sometimes, reader];
    this.#producer = producer;
    this.#sometimes = sometimes;
    this.#reader = reader;
    const shared = { random, timeline: this.#timeline, auditor: this.auditor };
    this.queue = new QueueLoad({ ...shared, producer, worker });
    this.topic = new TopicLoad({ ...shared, publisher: producer, worker, sometimes });
    this.state = new ValueLoad(places.state, { ...shared, client: producer });
    this.stream = new ValueLoad(places.stream, { ...shared, client: producer });
  }

  static async start(random: SeededRandom): Promise<WholeLoad> {
    const folder = await tempFolder('trine-load-');
    const load = new WholeLoad(folder, await freePort(), random);
    try {
      await writeFile(join(folder.path, 'config.yaml'), stringify(configuration(load.port)));
      load.engine = await load.#startEngine();
      for (const client of load.#clients) client.start();
      await load.#reader.connected();
      await load.topic.subscribed(load.#reader);
      load.#loads = Promise.all([load.queue.run(), load.topic.run(), load.state.run(), load.stream.run()]);
      return load;
    } catch (error) {
      await load.stop();
      throw error;
    }
  }

  /** Acknowledged so far, by what it was. */
  get counts(): { jobs: number; orderedJobs: number; publishes: number; stateWrites: number; streamWrites: number } {
    const [jobs, orderedJobs] = this.queue.acknowledged as [number, number];
    return {
      jobs,
      orderedJobs,
      publishes: this.topic.acknowledged,
      stateWrites: this.state.acknowledged,
      streamWrites: this.stream.acknowledged,
    };
  }

  /** Resolves at a moment of chance after every load has shown effect, with jobs that wait and jobs that run. */
  async underWay(): Promise<void> {
    const before = Object.values(this.counts);
    const now = (): number[] => Object.values(this.counts);
    await waitFor(() => now().every((count, i) => count - (before[i] as number) >= PER_ROUND), {
      timeoutMs: ROUND_DEADLINE_MS,
      what: `${PER_ROUND} more acknowledged operations of each kind`,
    }).catch((error: unknown) => {
      throw new Error(`${now().join()} were acknowledged, after ${before.join()}`, { cause: error });
    });
    await pause(this.#random.between(0, MAX_DELAY_MS));
    await waitFor(() => this.queue.isBusy, { everyMs: 1, what: 'jobs that wait and jobs that run' });
  }

  /** SIGKILL: what it had handed out is lost, and so may be the last answers. */
  async kill(): Promise<void> {
    const killed = this.engine?.kill();
    this.queue.engineGone();
    await killed;
  }

  /** The engine has ended: starts another one and reads the values back. */
  async back(): Promise<void> {
    this.#timeline.incarnation++;
    if (this.#random.chance(0.5)) this.#sometimes.stop();
    else this.#sometimes.start();
    this.engine = await this.#startEngine();
    await this.#producer.connected();
    await this.#checkValues();
  }

  /**
   * Ends the load, waits until everything is handled, and holds all logs against what is left; then once
   * more after another restart, at which nothing may begin anew.
   */
  async finish(): Promise<void> {
    this.#timeline.producing = false;
    await this.#loads;
    this.#sometimes.start();
    await this.#reader.connected();
    await this.#audit();
    const { starts } = this.queue;
    await this.engine?.stop();
    await this.back();
    await this.#reader.connected();
    await this.topic.subscribed(this.#reader);
    await this.#audit();
    if (this.queue.starts !== starts)
      this.auditor.tell('I2', `${this.queue.starts - starts} jobs that had ended were delivered after a restart`);
    for (const client of this.#clients) this.auditor.checkAnswers(client);
  }

  async stop(): Promise<void> {
    this.#timeline.producing = false;
    for (const client of this.#clients) client.stop();
    await this.engine?.kill();
    await this.#folder.remove();
  }

  async #audit(): Promise<void> {
    await this.#checkValues();
    await this.queue.audit(this.#reader, DRAIN_DEADLINE_MS);
    await this.topic.audit(this.#reader, DRAIN_DEADLINE_MS);
  }

  async #checkValues(): Promise<void> {
    await Promise.all([this.state.check(), this.stream.check()]);
  }

  #startEngine(): Promise<EngineProcess> {
    return EngineProcess.start({ cwd: this.#folder.path, port: this.port });
  }
}

function configuration(port: number): unknown {
  return {
    workers: [
      { name: 'iii-worker-manager', config: { port } },
      { name: 'iii-observability', config: { level: 'warn' } },
      { name: 'iii-queue', config: { queue_configs: queueConfigs } },
      { name: 'iii-state' },
      { name: 'iii-stream', config: { port: 0 } },
    ],
  };
}
