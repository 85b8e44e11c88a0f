/** What the parts of the redis broker share: the connection, the lines, the leases and what has ended. */
import { toErrorBody } from '@trine/protocol';
import type { WorkerHost } from '../../../../core/worker-host.js';
import { RedisFailure, type RedisConnection, type RedisScript, type RedisSession } from '../../../../redis/index.js';
import { EndedJob, EndedJobs } from '../builtin/ended-jobs.js';
import type { BrokerEvents, JobState, LineSpec } from '../index.js';
import { failuresFrom, lineFunction, lineId, RedisLine, type RedisLease } from './line.js';
import { queueScripts, type QueueScripts } from './scripts.js';

/** Ends that Redis has not taken yet; above it nothing is fetched. */
export const MAX_UNSETTLED = 1_000;
/** Wait before the end of a job is stored again, in milliseconds. */
const AGAIN_MS = 1_000;
/** Jobs in one script that goes over many. */
export const CHUNK = 500;
/** Length of the chance part of a receipt; the job's number follows. */
const RECEIPT_HEAD = 24;

/** receipt, function, attempts, failures, created */
export type EndedRow = readonly [string, string, string, string, string];

export class RedisCore {
  readonly host: WorkerHost;
  readonly events: BrokerEvents;
  readonly scripts: QueueScripts;
  /** First key of every script. */
  readonly base: string;
  readonly engine: string;
  readonly leaseMs: number;
  readonly lines = new Map<string, RedisLine>();
  /** At hand or given out, until their end is stored. */
  readonly leases = new Set<RedisLease>();
  readonly ended = new EndedJobs();
  readonly #settling = new Set<Promise<unknown>>();
  #reopening: Promise<void> | undefined;
  connection!: RedisConnection;
  /** Makes the lines on a server that does not know them. */
  reopen!: () => Promise<void>;
  draining = false;
  stopped = false;

  constructor(host: WorkerHost, events: BrokerEvents, prefix: string, leaseMs: number, time: string | undefined) {
    this.host = host;
    this.events = events;
    this.base = `{${prefix}}:`;
    this.engine = host.random.uuid();
    this.leaseMs = leaseMs;
    this.scripts = queueScripts(time);
  }

  /** @throws RedisFailure */
  run(
    script: RedisScript,
    args: readonly (string | number)[],
    session: RedisSession = this.connection,
  ): Promise<unknown> {
    return session.run(script, this.base, args);
  }

  /** Runs something that needs the lines; where the server has lost them, they are made again first. */
  async withLines<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof RedisFailure) || !error.message.includes('NOLINE')) throw error;
      this.#reopening ??= this.reopen().finally(() => (this.#reopening = undefined));
      await this.#reopening;
      return run();
    }
  }

  /**
   * Stores the end of a lease, for as long as it takes; whether a lost answer meant success, the lease
   * number tells. Answers undefined when this engine stopped first, 0 when the lease is another's.
   *
   * @param lease - once it is known to be lost nothing is asked: a server that lost its last moments gives their
   * numbers out again, and this would be the end of another job
   */
  async persist(script: RedisScript, args: readonly (string | number)[], lease?: RedisLease): Promise<unknown> {
    const work = this.#persist(script, args, lease);
    this.#settling.add(work);
    try {
      return await work;
    } finally {
      this.#settling.delete(work);
    }
  }

  get maySettle(): boolean {
    return this.#settling.size < MAX_UNSETTLED;
  }

  /** Everything that is being stored now was stored, or it took too long. */
  async settled(timeoutMs: number): Promise<void> {
    const late = new Promise<void>((go) => setTimeout(go, timeoutMs).unref());
    await Promise.race([Promise.allSettled([...this.#settling]), late]);
  }

  /** The chance part of a receipt; the script adds the job's number. */
  receiptHead(): string {
    return this.host.random.uuid().slice(0, RECEIPT_HEAD);
  }

  line(spec: LineSpec): RedisLine {
    const id = lineId(spec);
    let line = this.lines.get(id);
    if (line === undefined) this.lines.set(id, (line = new RedisLine(spec)));
    return line;
  }

  record(line: RedisLine, row: EndedRow, state: JobState): void {
    const [receipt, key, attempts, failures, createdAt] = row;
    const { functionId, namespace } = lineFunction(key);
    const endedAt = this.host.clock.now();
    const list = failuresFrom(failures);
    this.ended.add(
      new EndedJob(
        line,
        state,
        receipt,
        functionId,
        namespace,
        Number(attempts),
        list,
        Number(createdAt),
        undefined,
        endedAt,
      ),
    );
  }

  recordLease({ line, job, startedAt }: RedisLease, state: JobState): void {
    const { receipt, functionId, namespace, attempts, failures, createdAt } = job;
    const endedAt = this.host.clock.now();
    this.ended.add(
      new EndedJob(line, state, receipt, functionId, namespace, attempts, failures, createdAt, startedAt, endedAt),
    );
  }

  async #persist(
    script: RedisScript,
    args: readonly (string | number)[],
    lease: RedisLease | undefined,
  ): Promise<unknown> {
    for (let told = false; ; told = true) {
      if (lease?.lost === true) return 0;
      try {
        return await this.run(script, args);
      } catch (error) {
        if (this.stopped || (error instanceof RedisFailure && error.kind === 'closed')) return undefined;
        if (!told)
          this.host.log.warn('the end of a job could not be stored: trying again until it can', {
            error: toErrorBody(error).message,
          });
        await this.connection.whenReady(AGAIN_MS);
        if (this.connection.isReady) await new Promise((go) => setTimeout(go, AGAIN_MS / 10).unref());
      }
    }
  }
}
