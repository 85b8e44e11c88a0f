/**
 * The named queues: which are configured, and the runner of each line. A queue that leaves the
 * configuration keeps its jobs; they wait until it is back.
 */
import { toErrorBody } from '@trine/protocol';
import { nearestName } from '../../core/input-fault.js';
import type { WorkerHost } from '../../core/worker-host.js';
import type { Broker, Line } from './adapters/index.js';
import type { NamedQueueConfig } from './config.js';
import { enqueueError, queueNotFound } from './errors.js';
import type { LineRunner } from './line-runner.js';
import { isFifo, jobFor, policyOf, type EnqueueRequest } from './named-queue.js';

interface NamedQueue {
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
    const next = new Map<string, NamedQueue>();
    for (const [name, config] of configs)
      next.set(name, { line: await this.#broker.openQueue(name, isFifo(config)), config });
    const before = this.#configured;
    this.#configured = next;
    for (const [name, { line }] of before) {
      if (next.has(name)) continue;
      this.#runnerOf(line).setPolicy(undefined);
      const { waiting, delayed, running } = line.stats;
      if (waiting + delayed + running > 0) {
        this.#host.log.warn('a queue with jobs was removed from the configuration: they wait until it is back', {
          queue: name,
          jobs: waiting + delayed + running,
        });
      }
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
  line(name: string): Line | undefined {
    return this.#broker.find({ kind: 'queue', name, namespace: '', functionId: '' });
  }

  /** Configured queues, and those that were and have jobs or dead letters. */
  names(): Set<string> {
    const names = new Set(this.#configured.keys());
    for (const line of this.#broker.lines()) {
      if (line.kind !== 'queue' || names.has(line.name)) continue;
      const { waiting, delayed, running, dead } = line.stats;
      if (waiting + delayed + running + dead > 0) names.add(line.name);
    }
    return names;
  }

  /**
   * Stores a job. Resolves after the commit.
   *
   * @throws TrineError `enqueue_error`, at once or through the promise
   */
  enqueue(queue: string, request: EnqueueRequest): Promise<void> {
    const named = this.#configured.get(queue);
    if (named === undefined) throw queueNotFound(queue, nearestName(queue, this.#configured.keys()));
    return this.#broker.accept(named.line, jobFor(queue, named.config, request)).catch((error: unknown) => {
      throw enqueueError(`Queue '${queue}' could not store the job: ${toErrorBody(error).message}`, error);
    });
  }
}
