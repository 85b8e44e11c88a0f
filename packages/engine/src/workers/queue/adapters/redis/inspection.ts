/** What can be asked and done about single jobs and about what waits. */
import type { Job } from '../../job.js';
import type { JobRecord, JobState, Line, LineStats, PurgeTarget } from '../index.js';
import type { EndedRow, RedisCore } from './core.js';
import type { Fetcher } from './fetcher.js';
import { failuresFrom, lineFunction, type RedisLease, type RedisLine } from './line.js';
import { pairs, type TopicStore } from './topics.js';

const STATES: Readonly<Record<string, JobState>> = { r: 'waiting', d: 'delayed', l: 'running', x: 'dead' };

type Found =
  | readonly [string | number, JobRecord['kind'], string, string | readonly (string | null)[]]
  /** A job whose time was over: line, and what is told of it. */
  | readonly [0, string, EndedRow];
type Stats = readonly [number, number, number, number, number, string, string, string, string, string[], EndedRow[]];

export class Inspection {
  readonly #core: RedisCore;
  readonly #fetcher: Fetcher;
  readonly #topics: TopicStore;

  constructor(core: RedisCore, fetcher: Fetcher, topics: TopicStore) {
    this.#core = core;
    this.#fetcher = fetcher;
    this.#topics = topics;
  }

  stats(lines: readonly RedisLine[]): Promise<LineStats> {
    return this.#fetcher.still(lines, () => this.#stats(lines));
  }

  async #stats(lines: readonly RedisLine[]): Promise<LineStats> {
    const core = this.#core;
    const total = { waiting: 0, delayed: 0, running: 0, waitingForFunction: 0, dead: 0, bytes: 0 };
    if (lines.length === 0) return total;
    const rows = (await core.run(
      core.scripts.stats,
      lines.map(({ id }) => id),
    )) as Stats[];
    for (const [
      i,
      [count, delayed, leased, dead, bytes, paused, offline, ended, expired, functions, told],
    ] of rows.entries()) {
      const line = lines[i] as RedisLine;
      line.paused = paused === '1';
      line.offlineSince = offline === '' ? undefined : Number(offline);
      line.endedAt = ended === '' ? undefined : Number(ended);
      line.expired = Number(expired);
      for (const row of told) core.record(line, row, 'expired');
      // What is at hand has a lease and does not run.
      const atHand = Math.min(line.atHand.length, leased);
      const waiting = count - delayed - leased + atHand;
      let absent = 0;
      for (const [key, jobs] of pairs(functions)) {
        const { functionId, namespace } = lineFunction(key);
        if (core.events.missing(line, functionId, namespace) !== undefined) absent += jobs;
      }
      total.waiting += waiting;
      total.delayed += delayed;
      total.running += leased - atHand;
      total.waitingForFunction += Math.min(waiting, absent);
      total.dead += dead;
      total.bytes += bytes;
    }
    return total;
  }

  async lookup(receipt: string): Promise<JobRecord | undefined> {
    const own = this.#leaseOf(receipt);
    if (own !== undefined) return recordOf(own, own.line.atHand.includes(own) ? 'waiting' : 'running');
    const ended = this.#core.ended.get(receipt);
    const found = (await this.#core.run(this.#core.scripts.find, [receipt])) as Found | null;
    if (found === null) return ended ?? this.#core.ended.get(receipt);
    if (found.length === 3) {
      const line = this.#core.lines.get(found[1]);
      if (line !== undefined) this.#core.record(line, found[2], 'expired');
      return this.#core.ended.get(receipt);
    }
    const [, kind, name, fields] = found;
    if (typeof fields === 'string') return ended ?? keptRecord(receipt, kind, name, fields);
    const [, state, own_receipt, key, attempts, failures, createdAt, due, started, failedAt, error, code] = fields;
    const { functionId, namespace } = lineFunction(key ?? '');
    return {
      state: STATES[state ?? ''] ?? 'waiting',
      receipt: own_receipt ?? receipt,
      kind,
      name,
      functionId,
      namespace,
      attempts: Number(attempts),
      failures: failuresFrom(failures),
      createdAt: Number(createdAt),
      dueAt: state === 'd' && due !== null ? Number(due) : undefined,
      startedAt: state === 'l' && started !== null ? Number(started) : undefined,
      endedAt: failedAt === null ? undefined : Number(failedAt),
      error: error ?? undefined,
      code: code ?? undefined,
    };
  }

  async cancel(receipt: string): Promise<JobState | undefined> {
    const own = this.#leaseOf(receipt);
    if (own?.line.atHand.includes(own) === true) return this.#fetcher.without(own.line, () => this.#cancel(receipt));
    return this.#cancel(receipt);
  }

  async purge(line: RedisLine, what: PurgeTarget): Promise<number> {
    if (what !== 'waiting') return this.#topics.drop(line, what, 'purged');
    return this.#fetcher.without(line, () => this.#topics.drop(line, what, 'purged'));
  }

  async peek(line: RedisLine, limit: number): Promise<readonly Job[]> {
    const core = this.#core;
    const rows = await this.#fetcher.without(
      line,
      async () => (await core.run(core.scripts.peek, [line.id, limit])) as [string, (string | null)[]][],
    );
    return rows.map(([id, [receipt, key, data, , attempts, createdAt, extras, group]]) => {
      const { functionId, namespace } = lineFunction(key ?? '');
      return {
        seq: Number(id),
        receipt: receipt ?? '',
        jobId: undefined,
        functionId,
        namespace,
        group: group ?? undefined,
        data: data ?? 'null',
        metadata: undefined,
        traceparent: undefined,
        baggage: undefined,
        createdAt: Number(createdAt),
        maxAttempts: 0,
        backoffMs: 0,
        extras: extras === null || extras === undefined ? undefined : (JSON.parse(extras) as object),
        attempts: Number(attempts),
        lost: 0,
        redelivered: false,
        failures: [],
      };
    });
  }

  async setPaused(line: RedisLine, paused: boolean): Promise<void> {
    const core = this.#core;
    await this.#fetcher.without(line, async () => {
      await core.run(core.scripts.pause, [line.id, paused ? 1 : 0]);
      line.paused = paused;
    });
    if (!paused) core.events.ready(line);
  }

  async #cancel(receipt: string): Promise<JobState | undefined> {
    const core = this.#core;
    const answer = (await core.run(core.scripts.cancel, [receipt])) as [JobState, string, EndedRow] | [JobState] | null;
    if (answer === null) return (await this.lookup(receipt))?.state;
    const [state, lineId, row] = answer;
    const line = lineId === undefined ? undefined : core.lines.get(lineId);
    if (line !== undefined && row !== undefined) core.record(line, row, 'cancelled');
    return state;
  }

  #leaseOf(receipt: string): RedisLease | undefined {
    for (const lease of this.#core.leases) if (lease.job.receipt === receipt && !lease.lost) return lease;
    return undefined;
  }
}

function recordOf({ job, line, startedAt }: RedisLease, state: JobState): JobRecord {
  const { receipt, functionId, namespace, attempts, failures, createdAt } = job;
  const { kind, name } = line as Line;
  return {
    state,
    receipt,
    kind,
    name,
    functionId,
    namespace,
    attempts,
    failures,
    createdAt,
    startedAt: state === 'running' ? startedAt : undefined,
  };
}

/** An ended job as its line keeps it: see `onRecord`. */
function keptRecord(receipt: string, kind: JobRecord['kind'], name: string, text: string): JobRecord {
  const [state, key, attempts, failures, createdAt, endedAt] = JSON.parse(text) as [
    JobState,
    string,
    number,
    string,
    number,
    number,
  ];
  return {
    state,
    receipt,
    kind,
    name,
    ...lineFunction(key),
    attempts,
    failures: failuresFrom(failures),
    createdAt,
    endedAt,
  };
}
