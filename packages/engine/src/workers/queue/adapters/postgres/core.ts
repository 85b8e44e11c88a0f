/** What the parts of the postgres broker share: the server, the lines, who we are, and the last ended jobs. */
import { toErrorBody } from '@trine/protocol';
import type { WorkerHost } from '../../../../core/worker-host.js';
import type { Failure, Job, JobExtras } from '../../job.js';
import { EndedJob, EndedJobs } from '../builtin/ended-jobs.js';
import type { BrokerEvents, JobState, LineSpec } from '../index.js';
import type { PostgresConfig } from './config.js';
import { keyOf, PgLine, type PgLease } from './line.js';
import type { Server } from './server.js';

export const NO_FAILURES: readonly Failure[] = [];

export class PgCore {
  readonly host: WorkerHost;
  readonly config: PostgresConfig;
  readonly events: BrokerEvents;
  server!: Server;
  /** This engine, as the server numbers them; another number after its lease ran out. */
  owner = 0;
  /** Other engines that are alive: they are told of what is ready. */
  others = 0;
  readonly lines = new Map<string, PgLine>();
  readonly linesById = new Map<number, PgLine>();
  /** What this engine has leased, until its end is stored. */
  readonly leases = new Map<number, PgLease>();
  readonly ended = new EndedJobs();
  draining = false;
  stopped = false;
  #dirty = new Set<number>();
  #telling = false;

  constructor(host: WorkerHost, config: PostgresConfig, events: BrokerEvents) {
    this.host = host;
    this.config = config;
    this.events = events;
  }

  /** The one object for a line. */
  line(spec: LineSpec, id?: number): PgLine {
    const key = keyOf(spec);
    let line = this.lines.get(key);
    if (line === undefined) this.lines.set(key, (line = new PgLine(spec)));
    if (id !== undefined && line.id !== id) {
      if (line.id !== undefined) this.linesById.delete(line.id);
      line.id = id;
      this.linesById.set(id, line);
    }
    return line;
  }

  drop(line: PgLine): void {
    this.lines.delete(keyOf(line));
    if (line.id !== undefined) this.linesById.delete(line.id);
  }

  /** The server's number of a line. @throws TrineError when the server was never reached since the line was named */
  idOf(line: PgLine): number {
    if (line.id === undefined) throw this.server.unreachable();
    return line.id;
  }

  /** @throws TrineError at once while PostgreSQL is away: nothing piles up */
  needServer(): void {
    if (!this.server.isReady) throw this.server.unreachable();
  }

  record(
    line: PgLine,
    job: Pick<Job, 'receipt' | 'functionId' | 'namespace' | 'attempts' | 'createdAt'> & {
      readonly failures?: readonly Failure[];
    },
    state: JobState,
    startedAt?: number,
  ): void {
    const { receipt, functionId, namespace, attempts, createdAt, failures = NO_FAILURES } = job;
    const endedAt = this.host.clock.now();
    this.ended.add(
      new EndedJob(line, state, receipt, functionId, namespace, attempts, failures, createdAt, startedAt, endedAt),
    );
  }

  /** Other engines look at these lines: one NOTIFY for all that came meanwhile. */
  tell(ids: Iterable<number>): void {
    if (this.others === 0) return;
    for (const id of ids) this.#dirty.add(id);
    if (!this.#telling && this.#dirty.size > 0) void this.#tell();
  }

  async #tell(): Promise<void> {
    this.#telling = true;
    while (this.#dirty.size > 0 && !this.stopped) {
      const ids = [...this.#dirty].slice(0, MAX_TOLD);
      for (const id of ids) this.#dirty.delete(id);
      await this.notify(ids.join(','));
    }
    this.#telling = false;
  }

  /** Lost notifications are made up for by the polls of others. */
  async notify(what: string): Promise<void> {
    try {
      await this.server.query(NOTIFY, [`${this.config.schema}:queue`, `${this.owner}:${what}`]);
    } catch (error) {
      this.host.log.debug('other engines could not be told: they find out by themselves', {
        error: toErrorBody(error).message,
      });
    }
  }
}

/** Lines in one notification: its payload is limited to 8,000 bytes. */
const MAX_TOLD = 500;
const NOTIFY = { name: 'trine_notify', text: 'SELECT pg_notify($1, $2)' };

export function extrasOf(options: string | null): JobExtras | undefined {
  return options === null ? undefined : (JSON.parse(options) as JobExtras);
}

export function failuresOf(errors: string | null): readonly Failure[] {
  return errors === null ? NO_FAILURES : (JSON.parse(errors) as readonly Failure[]);
}

export function textOfFailures(failures: readonly Failure[]): string | null {
  return failures.length === 0 ? null : JSON.stringify(failures);
}

/** PostgreSQL stores no NUL and no half of a surrogate pair. */
export function storable(text: string): string {
  return text.replace(/\p{Cs}/gu, '\ufffd').replaceAll('\u0000', '\ufffd');
}
