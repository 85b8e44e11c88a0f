/**
 * Accepts jobs, many in one commit. When the answer to a commit is lost the server is asked what became of
 * it (`writer.ts`), and what was not stored is sent again. A receipt that a client chose is one job.
 *
 * Hot path (`accept`): one row of a multi-row INSERT, no parse of a payload.
 */
import { TrineError } from '@trine/protocol';
import type { JobExtras } from '../../job.js';
import { queueFull } from '../../errors.js';
import type { Accepted, NewJob, NewJobExtras } from '../index.js';
import { Batcher } from './batcher.js';
import type { PgCore } from './core.js';
import { lineGone } from './failures.js';
import type { PgLine } from './line.js';
import { statement } from './server.js';
import { Writer } from './writer.js';

/** How long an enqueue is tried again after a lost connection, in milliseconds. */
const TRY_FOR_MS = 5_000;

/** What a job takes beside its payload, in UTF-16 units: batches of tiny jobs are bounded too. */
const ROW_LENGTH = 300;

/** Index jobs_receipt. */
const STORE = statement('store_jobs', 'SELECT trine.store_jobs($1, $2, $3, $4) AS answer');
const STORE_UNIQUE = statement('store_unique', 'SELECT trine.store_unique($1, $2, $3) AS answer');

/** Index jobs_ready. */
const WAITING = statement(
  'waiting',
  'SELECT count(*) AS waiting FROM (SELECT FROM trine.jobs WHERE line = $1 AND state = 0 LIMIT $2) AS s',
);

/** A job as `insert_jobs` reads it. */
interface Row {
  readonly line: number;
  readonly receipt: string;
  readonly fn: string;
  readonly ns: string;
  readonly grp: string | undefined;
  readonly data: string;
  readonly size: number;
  readonly meta: string | undefined;
  readonly trace: string | undefined;
  readonly baggage: string | undefined;
  readonly created: number;
  readonly tries: number;
  readonly backoff: number;
  readonly prio?: number | undefined;
  readonly rate?: string | undefined;
  readonly expires?: number | undefined;
  readonly options?: string | undefined;
  readonly delay?: number | undefined;
  readonly run_at?: number | undefined;
  readonly key?: string | undefined;
  readonly keyMs?: number | undefined;
}

interface Arrival {
  readonly line: PgLine;
  readonly row: Row;
}

export class Intake {
  readonly #core: PgCore;
  readonly #batcher: Batcher<readonly Arrival[], readonly Accepted[]>;
  readonly #writer: Writer;
  readonly #stored: (lines: ReadonlySet<PgLine>, delayMs: number | undefined) => void;
  /** Of queues with a bound: jobs that are being stored. */
  readonly #pending = new Map<PgLine, number>();

  /** @param stored - jobs of these lines are stored; the earliest of the delayed ones is due after so long */
  constructor(core: PgCore, stored: (lines: ReadonlySet<PgLine>, delayMs: number | undefined) => void) {
    this.#core = core;
    this.#stored = stored;
    this.#writer = new Writer(core);
    this.#batcher = new Batcher(core.host, { tryForMs: TRY_FOR_MS, patient: false }, (groups) => this.#store(groups));
  }

  /** @throws TrineError `queue_full` */
  async accept(line: PgLine, job: NewJob): Promise<Accepted> {
    const [accepted] = await this.acceptMany([{ line, job }]);
    return accepted as Accepted;
  }

  /** All or none: they are rows of one statement. */
  async acceptMany(jobs: readonly { readonly line: PgLine; readonly job: NewJob }[]): Promise<readonly Accepted[]> {
    this.#core.needServer();
    if (jobs.some(({ line }) => line.rules?.maxWaiting !== undefined)) await this.#takeRoom(jobs);
    let length = 0;
    const arrivals = jobs.map(({ line, job }): Arrival => {
      length += job.data.length + ROW_LENGTH;
      return { line, row: this.#row(line, job) };
    });
    if (!jobs.some(({ line }) => line.rules?.maxWaiting !== undefined)) return this.#add(arrivals, length);
    for (const { line } of jobs) this.#pending.set(line, (this.#pending.get(line) ?? 0) + 1);
    try {
      return await this.#add(arrivals, length);
    } finally {
      for (const { line } of jobs) this.#pending.set(line, (this.#pending.get(line) ?? 0) - 1);
    }
  }

  wake(): void {
    this.#batcher.wake();
  }

  idle(): Promise<void> {
    return this.#batcher.idle();
  }

  stop(): void {
    this.#batcher.stop();
  }

  /** Queues with a bound are counted when what they had room for is used up, and not at each job. */
  async #takeRoom(jobs: readonly { readonly line: PgLine }[]): Promise<void> {
    const wanted = new Map<PgLine, number>();
    for (const { line } of jobs) wanted.set(line, (wanted.get(line) ?? 0) + 1);
    for (const [line, count] of wanted) {
      const max = line.rules?.maxWaiting;
      if (max === undefined) continue;
      if (line.room < count) await (line.counting ??= this.#countRoom(line, max));
      if (line.room < count) throw queueFull(line.name, max);
    }
    for (const [line, count] of wanted) line.room -= count;
  }

  async #countRoom(line: PgLine, max: number): Promise<void> {
    try {
      const values = [this.#core.idOf(line), max];
      const [counted] = await this.#core.server.query<{ readonly waiting: number }>(WAITING, values);
      // Other engines have as much of what is left.
      const left = max - (counted?.waiting ?? 0) - line.atHand.size - this.#pendingOf(line);
      line.room = Math.max(Math.min(left, 1), Math.floor(left / (this.#core.others + 1)));
    } finally {
      line.counting = undefined;
    }
  }

  /** On their way: counted as waiting, though the count may not have seen them. */
  #pendingOf(line: PgLine): number {
    return this.#pending.get(line) ?? 0;
  }

  async #add(arrivals: readonly Arrival[], length: number): Promise<readonly Accepted[]> {
    try {
      return await this.#batcher.add(arrivals, length);
    } catch (error) {
      const id = lineGone(error);
      const gone = id === undefined ? undefined : arrivals.find(({ row }) => row.line === id);
      throw gone === undefined ? error : notStored(gone.line);
    }
  }

  #row(line: PgLine, job: NewJob): Row {
    // Written out, not spread: this is the hot path.
    const row: Row = {
      line: this.#core.idOf(line),
      receipt: job.receipt ?? this.#core.host.random.uuid(),
      fn: job.functionId,
      ns: job.namespace,
      grp: job.group,
      data: job.data,
      size: job.data.length,
      meta: job.metadata,
      trace: job.traceparent,
      baggage: job.baggage,
      created: job.createdAt,
      tries: job.maxAttempts,
      backoff: job.backoffMs,
    };
    if (job.extras === undefined) return row;
    const { extras } = job;
    return {
      ...row,
      prio: extras.priority,
      rate: extras.rateKey,
      expires: extras.expiresAt,
      options: textOfExtras(extras),
      delay: extras.delayMs,
      run_at: extras.runAt,
      key: extras.uniqueKey,
      keyMs: extras.uniqueMs,
    };
  }

  async #store(groups: readonly (readonly Arrival[])[]): Promise<readonly (readonly Accepted[])[]> {
    const arrivals = groups.flat();
    const text = JSON.stringify(arrivals.map(({ row }) => row));
    const { host } = this.#core;
    const owners = new Map<string, string>();
    if (arrivals.some(({ row }) => row.key !== undefined)) {
      const taken = await this.#writer.store<Record<string, string>>(STORE_UNIQUE, [text]);
      for (const [receipt, owner] of Object.entries(taken)) owners.set(receipt, owner);
    } else {
      for (const receipt of await this.#writer.store<readonly string[]>(STORE, [text, arrivals.length]))
        owners.set(receipt, receipt);
    }
    let earliestMs: number | undefined;
    for (const { row } of arrivals) {
      const delayMs = row.delay || (row.run_at === undefined ? undefined : row.run_at - host.clock.now());
      for (const ms of [delayMs, row.expires === undefined ? undefined : row.expires - host.clock.now()])
        if (ms !== undefined && ms > 0) earliestMs = Math.min(earliestMs ?? Infinity, ms);
    }
    const lines = new Set(arrivals.map(({ line }) => line));
    this.#core.tell([...lines].map((line) => this.#core.idOf(line)));
    this.#stored(lines, earliestMs);
    return groups.map((group) =>
      group.map(({ row }) => {
        const owner = owners.get(row.receipt);
        return owner === undefined
          ? { receipt: row.receipt, deduplicated: false }
          : { receipt: owner, deduplicated: true };
      }),
    );
  }
}

function notStored(line: PgLine): TrineError {
  const message =
    `queue '${line.name}' is not in PostgreSQL any more: someone deleted it from the table lines. ` +
    'It is made again within seconds: enqueue again then';
  return new TrineError('storage_refused', message, { retryable: true });
}

/** What stays with the job after it was accepted. */
function textOfExtras(extras: NewJobExtras): string | undefined {
  const { priority, rateKey, uniqueKey, expiresAt, timeoutMs, backoffListMs, replayed } = extras;
  const kept: JobExtras = {
    priority: priority || undefined,
    rateKey,
    uniqueKey,
    expiresAt,
    timeoutMs,
    backoffListMs,
    replayed,
  };
  const text = JSON.stringify(kept);
  return text === '{}' ? undefined : text;
}
