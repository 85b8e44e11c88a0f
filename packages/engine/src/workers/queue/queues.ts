/**
 * The named queues: which are configured, and the runner of each line. A queue that leaves the
 * configuration keeps its jobs; they wait until it is back.
 */
import { toErrorBody } from '@trine/protocol';
import { nearestName } from '../../core/input-fault.js';
import type { WorkerHost } from '../../core/worker-host.js';
import { needCapability, type Accepted, type Broker, type Line, type NewJob } from './adapters/index.js';
import type { NamedQueueConfig } from './config.js';
import { enqueueError, isQueueFull, queueNotFound } from './errors.js';
import type { LineRunner } from './line-runner.js';
import { jobFor, policyOf, rulesOf, type EnqueueRequest } from './named-queue.js';

export interface NamedQueue {
  readonly line: Line;
  readonly config: NamedQueueConfig;
}

export class Queues {
  readonly #host: WorkerHost;
  readonly #broker: Broker;
  readonly #runnerOf: (line: Line) => LineRunner;
  #configured = new Map<string, NamedQueue>();

  constructor(host: WorkerHost, broker: Broker, runnerOf: (line: Line) => LineRunner) {
    this.#host = host;
    this.#broker = broker;
    this.#runnerOf = runnerOf;
  }

  /** Puts a configuration in force: all of it or nothing. Running jobs are untouched, nothing is charged. */
  async configure(configs: ReadonlyMap<string, NamedQueueConfig>): Promise<void> {
    for (const [name, config] of configs) this.#check(name, config);
    const lines = await this.#broker.openQueues(new Map([...configs].map(([name, config]) => [name, rulesOf(config)])));
    const before = this.#configured;
    const next = new Map<string, NamedQueue>();
    for (const [name, config] of configs) next.set(name, { line: lines.get(name) as Line, config });
    this.#configured = next;
    for (const [name, { line }] of before) {
      if (next.has(name)) continue;
      this.#runnerOf(line).setPolicy(undefined);
      await this.#tellRemoved(line);
    }
    for (const [name, { line, config }] of next) {
      if (JSON.stringify(before.get(name)?.config) !== JSON.stringify(config))
        this.#runnerOf(line).setPolicy(policyOf(name, config));
    }
  }

  get(name: string): NamedQueue | undefined {
    return this.#configured.get(name);
  }

  /** The line of a queue that is configured, or that has something left. */
  async line(name: string): Promise<Line | undefined> {
    return this.#configured.get(name)?.line ?? (await this.#broker.lines({ kind: 'queue', name }))[0];
  }

  /** Configured queues, and those that were and have jobs or dead letters; in order. */
  async names(): Promise<string[]> {
    const names = new Set(this.#configured.keys());
    for (const line of await this.#broker.lines({ kind: 'queue' })) {
      if (names.has(line.name)) continue;
      const { waiting, delayed, running, dead } = await this.#broker.stats([line]);
      if (waiting + delayed + running + dead > 0) names.add(line.name);
    }
    return [...names].sort();
  }

  /**
   * Stores a job. Resolves after the commit.
   *
   * @throws TrineError `enqueue_error` or `queue_full`, at once or through the promise
   */
  enqueue(queue: string, request: EnqueueRequest): Promise<Accepted> {
    const { line, config } = this.#need(queue);
    const job = jobFor(queue, config, request);
    if (job.extras !== undefined) this.#checkExtras(job);
    return this.#broker.accept(line, job).catch((error: unknown) => {
      if (isQueueFull(error)) throw error;
      throw enqueueError(`Queue '${queue}' could not store the job: ${toErrorBody(error).message}`, error);
    });
  }

  /** Stores several jobs, or none of them. Resolves after the commit. */
  async enqueueMany(
    jobs: readonly { readonly queue: string; readonly request: EnqueueRequest }[],
  ): Promise<readonly Accepted[]> {
    needCapability(this.#broker, 'batch', 'iii::queue::enqueue_batch');
    const made = jobs.map(({ queue, request }) => {
      const { line, config } = this.#need(queue);
      const job = jobFor(queue, config, request);
      if (job.extras !== undefined) this.#checkExtras(job);
      return { line, job };
    });
    try {
      return (await this.#broker.acceptMany?.(made)) ?? [];
    } catch (error) {
      if (isQueueFull(error)) throw error;
      throw enqueueError(`none of ${jobs.length} jobs was stored: ${toErrorBody(error).message}`, error);
    }
  }

  #need(queue: string): NamedQueue {
    const named = this.#configured.get(queue);
    if (named === undefined) throw queueNotFound(queue, nearestName(queue, this.#configured.keys()));
    return named;
  }

  /** @throws TrineError `not_supported_by_adapter` */
  #checkExtras({ extras = {} }: NewJob): void {
    if (extras.delayMs !== undefined) needCapability(this.#broker, 'delay', 'delay_ms');
    if (extras.runAt !== undefined) needCapability(this.#broker, 'delay', 'run_at');
    if (extras.priority !== undefined) needCapability(this.#broker, 'priority', 'priority');
    if (extras.uniqueKey !== undefined) needCapability(this.#broker, 'unique', 'unique_key');
    if (extras.rateKey !== undefined) needCapability(this.#broker, 'rate', 'rate_key');
    if (extras.expiresAt !== undefined) needCapability(this.#broker, 'expiry', 'expires_in_ms');
  }

  /** @throws TrineError `not_supported_by_adapter` */
  #check(name: string, config: NamedQueueConfig): void {
    const broker = this.#broker;
    const { globalConcurrency, keepDeadMs, keepEndedMs, rate, ratePerKey } = rulesOf(config);
    if (rate !== undefined) needCapability(broker, 'rate', `rate_limit of queue '${name}'`);
    if (ratePerKey !== undefined) needCapability(broker, 'rate', `rate_limit_per_key of queue '${name}'`);
    if (globalConcurrency !== undefined)
      needCapability(broker, 'global_concurrency', `global_concurrency of queue '${name}'`);
    if (keepEndedMs > 0) needCapability(broker, 'keep_ended', `keep_ended_ms of queue '${name}'`);
    if (keepDeadMs > 0) needCapability(broker, 'dead_retention', `keep_dead_ms of queue '${name}'`);
  }

  async #tellRemoved(line: Line): Promise<void> {
    const { waiting, delayed, running } = await this.#broker.stats([line]);
    if (waiting + delayed + running === 0) return;
    this.#host.log.warn('a queue with jobs was removed from the configuration: they wait until it is back', {
      queue: line.name,
      jobs: waiting + delayed + running,
    });
  }
}
