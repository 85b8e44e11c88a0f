/**
 * Brings jobs to this engine: as many as were asked for in vain, and no more, so that what this engine
 * cannot start at once stays where others find it.
 *
 *   idle    -> wanting     `reserve` found nothing
 *   wanting -> fetching    at once, and then whenever the line may have more: its channel says so, a time
 *                          that Redis told has come, a function appeared, a slot became free, or the safety
 *                          poll, for messages of the channel may be lost
 *   fetching -> wanting    fewer than asked for came
 *   wanting -> idle        `reserve` gave something
 */
import { toErrorBody } from '@trine/protocol';
import { RedisFailure } from '../../../../redis/index.js';
import type { EndedRow, RedisCore } from './core.js';
import { jobFrom, lineFunction, type RedisLease, type RedisLine } from './line.js';

/** A line is looked at this often even if nobody says anything, in milliseconds. */
export const SAFETY_POLL_MS = 5_000;
/** The same while the channel is not heard. */
export const DEAF_POLL_MS = 250;
/** Jobs in one fetch. */
export const MAX_FETCH = 256;
/** Payload in one fetch, in bytes; it brings at least one job. */
export const MAX_FETCH_BYTES = 8 * 1024 * 1024;

type Fetched = readonly [
  string,
  readonly string[],
  number,
  number,
  readonly (readonly [string, number, (string | null)[]])[],
  readonly EndedRow[],
];

export class Fetcher {
  readonly #core: RedisCore;

  constructor(core: RedisCore) {
    this.#core = core;
  }

  /** Somebody asked for a job and there is none at hand. */
  wanted(line: RedisLine): void {
    line.wanting = true;
    this.look(line);
  }

  /** The line may have something. One turn later, so that what is asked for in one turn is one fetch. */
  look(line: RedisLine): void {
    if (!line.wanting || line.scheduled) return;
    line.scheduled = true;
    setImmediate(() => {
      line.scheduled = false;
      this.#fetch(line);
    });
  }

  lookAtAll(): void {
    for (const line of this.#core.lines.values()) this.look(line);
  }

  /** The functions that are live here changed. */
  functionChanged(): void {
    for (const line of this.#core.lines.values()) if (line.functions.length > 0) this.look(line);
  }

  /** Puts back what was leased and not started. */
  async giveBack(leases: readonly RedisLease[]): Promise<void> {
    const { leases: all, scripts } = this.#core;
    await Promise.all(
      leases.map(async (lease) => {
        await this.#core.persist(scripts.postpone, [lease.line.id, lease.id, this.#core.engine, lease.number, 0, 1]);
        all.delete(lease);
      }),
    );
  }

  /** Nothing comes to the lines while `work` runs: what is at hand and what Redis counts fit together. */
  async still<T>(lines: readonly RedisLine[], work: () => Promise<T>): Promise<T> {
    for (const line of lines) line.held++;
    try {
      for (const line of lines) await line.fetching;
      return await work();
    } finally {
      for (const line of lines) {
        line.held--;
        this.look(line);
      }
    }
  }

  /** Nothing of the line is at hand while `work` runs. */
  without<T>(line: RedisLine, work: () => Promise<T>): Promise<T> {
    return this.still([line], async () => {
      await this.giveBack(line.atHand.splice(0));
      return work();
    });
  }

  stop(): void {
    for (const line of this.#core.lines.values()) line.timer?.cancel();
  }

  #fetch(line: RedisLine): void {
    const core = this.#core;
    if (!line.wanting || line.held > 0 || core.draining || !core.connection.isReady) return;
    if (line.fetching !== undefined) {
      line.again = true;
      return;
    }
    const want = Math.min(line.concurrency - line.leased - line.atHand.length, MAX_FETCH);
    if (want <= 0 || !core.maySettle) return;
    line.again = false;
    line.timer?.cancel();
    line.fetching = this.#bring(line, want).then((nextMs) => {
      line.fetching = undefined;
      if (core.stopped) return;
      if (line.atHand.length > 0) core.events.ready(line);
      if (line.again) this.look(line);
      else this.#later(line, nextMs);
    });
  }

  /** Answers after how many milliseconds the line may have more; -1 = it does not know. */
  async #bring(line: RedisLine, want: number): Promise<number> {
    const core = this.#core;
    try {
      for (;;) {
        const [version, functions, nextMs, paused, jobs, expired] = await core.withLines(() => this.#ask(line, want));
        for (const row of expired) core.record(line, row, 'expired');
        if (version !== line.version) {
          line.functions = functions.map(lineFunction);
          line.version = version;
          continue;
        }
        line.paused = paused === 1;
        for (const [id, number, fields] of jobs) {
          const lease: RedisLease = {
            job: jobFrom(id, fields),
            line,
            id,
            number,
            expiresAt: typeof fields[19] !== 'string' ? undefined : Number(fields[19]),
            startedAt: core.host.clock.now(),
            lost: false,
          };
          core.leases.add(lease);
          line.atHand.push(lease);
        }
        return nextMs;
      }
    } catch (error) {
      if (!(error instanceof RedisFailure)) throw error;
      if (error.kind === 'refused') {
        core.host.log.error('jobs could not be fetched: trying again', {
          [line.kind === 'queue' ? 'queue' : 'topic']: line.name,
          error: toErrorBody(error).message,
        });
      }
      return -1;
    }
  }

  async #ask(line: RedisLine, want: number): Promise<Fetched> {
    const core = this.#core;
    const live = line.functions.filter(
      ({ functionId, namespace }) => core.events.missing(line, functionId, namespace) === undefined,
    );
    return (await core.run(core.scripts.fetch, [
      line.id,
      core.engine,
      line.version,
      want,
      core.leaseMs,
      MAX_FETCH_BYTES,
      ...live.map(({ key }) => key),
    ])) as Fetched;
  }

  #later(line: RedisLine, nextMs: number): void {
    const { host, connection, stopped } = this.#core;
    if (!line.wanting || stopped) return;
    const poll = connection.isListening ? SAFETY_POLL_MS : DEAF_POLL_MS;
    line.timer?.cancel();
    line.timer = host.clock.setTimer(() => this.look(line), nextMs < 0 ? poll : Math.min(nextMs, poll));
  }
}
