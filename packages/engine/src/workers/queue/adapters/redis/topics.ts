/** Subscriptions and messages; the states of a subscription are those of the built-in broker. */
import { RedisFailure, type RedisSession } from '../../../../redis/index.js';
import { replayNotRetained, topicBacklogFull } from '../../errors.js';
import type { LineSpec, Message, SubscriptionSettings } from '../index.js';
import { BACKLOG_WARNING, HELD_RETENTION_MS, MAX_HELD_BYTES, MAX_HELD_MESSAGES, MAX_HELD_TOPICS } from '../rules.js';
import { CHUNK, type EndedRow, type RedisCore } from './core.js';
import { CONSUMER_GONE_MS } from './leases.js';
import type { Fetcher } from './fetcher.js';
import type { RedisLine } from './line.js';

/** Messages that one step of a sweep drops, see `SWEEP_HELD`. */
const SWEPT_AT_ONCE = 1_000;

/** line, waiting, bytes, expired just now */
type NearlyFull = readonly [string, number, number, number];

export class TopicStore {
  readonly #core: RedisCore;
  readonly #fetcher: Fetcher;
  readonly #leaving = new Map<RedisLine, 'offline' | 'ended'>();

  constructor(core: RedisCore, fetcher: Fetcher) {
    this.#core = core;
    this.#fetcher = fetcher;
  }

  /**
   * Makes or renews a subscription. While Redis is away it is remembered and made on the first connection,
   * before anything is published through it.
   */
  async subscribe(spec: LineSpec, settings: SubscriptionSettings): Promise<RedisLine> {
    const core = this.#core;
    const line = core.line(spec);
    line.settings = settings;
    line.serial = settings.fifo;
    line.consumed = true;
    try {
      await this.renew(line, core.connection);
    } catch (error) {
      if (!(error instanceof RedisFailure)) throw error;
      if (error.kind === 'refused') {
        line.consumed = false;
        throw error;
      }
      core.host.log.warn('a subscription will be made when Redis is back', {
        topic: line.name,
        function: line.functionId,
        error: error.message,
      });
    }
    return line;
  }

  async renew(line: RedisLine, session: RedisSession): Promise<void> {
    const { core, settings } = { core: this.#core, settings: line.settings as SubscriptionSettings };
    const [paused, expired] = (await core.run(
      core.scripts.subscribe,
      [
        line.id,
        line.name,
        line.namespace,
        line.functionId,
        JSON.stringify(settings),
        settings.fifo ? 1 : 0,
        settings.maxAttempts,
        settings.backoffMs,
        settings.maxBacklog,
        settings.maxBacklogBytes,
        core.engine,
        CONSUMER_GONE_MS,
        core.receiptHead(),
      ],
      session,
    )) as (string | null)[];
    line.paused = paused === '1';
    line.expired = Number(expired ?? 0);
    line.offlineSince = undefined;
    line.endedAt = undefined;
    this.#fetcher.look(line);
  }

  /** Where Redis is away it is told on the next connection: nobody waits for it. */
  async leave(line: RedisLine, how: 'offline' | 'ended'): Promise<void> {
    line.consumed = false;
    try {
      await this.#leave(line, how, this.#core.connection);
    } catch (error) {
      if (!(error instanceof RedisFailure)) throw error;
      this.#leaving.set(line, how);
    }
  }

  /** Tells of the subscriptions that were left while Redis was away, unless this engine serves them again. */
  async leaveAll(session: RedisSession): Promise<void> {
    for (const [line, how] of [...this.#leaving]) {
      if (!line.consumed) await this.#leave(line, how, session);
      this.#leaving.delete(line);
    }
  }

  async publish(message: Message): Promise<void> {
    const core = this.#core;
    let answer = await this.#publish(message);
    // Full: what was held for a day makes room.
    if (typeof answer === 'string' && (await this.#sweepHeld(message.topic)) > 0) answer = await this.#publish(message);
    if (typeof answer === 'string') throw topicBacklogFull(message.topic, answer);
    for (const [id, waiting, bytes, expired] of answer) {
      const line = core.lines.get(id);
      if (line !== undefined) this.#warn(line, waiting, bytes, expired);
    }
  }

  async held(): Promise<ReadonlyMap<string, { readonly count: number; readonly bytes: number }>> {
    const [counts, sizes] = (await this.#core.run(this.#core.scripts.held, [])) as [string[], string[]];
    const bytes = pairs(sizes);
    return new Map([...pairs(counts)].map(([topic, count]) => [topic, { count, bytes: bytes.get(topic) ?? 0 }]));
  }

  async replay(line: RedisLine, sinceMs: number): Promise<number> {
    const core = this.#core;
    const { replayRetentionMs } = core.events.topicRules(line.name);
    const [since, now, last] = (await core.run(core.scripts.replayBounds, [line.name])) as [string, number, number];
    const earliest = Math.max(since === '' ? now : Number(since), now - replayRetentionMs);
    if (replayRetentionMs === 0 || sinceMs < earliest) {
      throw replayNotRetained(line.name, replayRetentionMs === 0 ? undefined : earliest);
    }
    let replayed = 0;
    for (let offset = 0; ; offset += CHUNK) {
      const args = [line.id, sinceMs, last, offset, CHUNK, core.receiptHead()];
      const [made, seen] = (await core.run(core.scripts.replay, args)) as [number, number];
      replayed += made;
      if (seen < CHUNK) return replayed;
    }
  }

  async sweep(): Promise<void> {
    const core = this.#core;
    const { scripts } = core;
    for (const topic of (await this.held()).keys()) {
      await this.#sweepHeld(topic);
    }
    for (const topic of (await core.run(scripts.kept, [])) as string[]) {
      const { replayRetentionMs } = core.events.topicRules(topic);
      await this.#repeat(async () => (await core.run(scripts.sweepKept, [topic, replayRetentionMs])) as number, CHUNK);
    }
  }

  /** What time asks of one line. */
  async sweepLine(line: RedisLine): Promise<void> {
    const core = this.#core;
    const { subscriptionRetentionMs } = core.events.topicRules(line.name);
    line.warnedBacklog = false;
    let became = '';
    await this.#repeat(async () => {
      const [dead, ended, state] = (await core.run(core.scripts.sweepLine, [line.id, subscriptionRetentionMs])) as [
        number,
        number,
        string,
      ];
      became = state;
      return Math.max(dead, ended);
    }, CHUNK);
    const where = { topic: line.name, function: line.functionId };
    if (became === 'ended') core.host.log.warn('a subscription ended: its worker was away for too long', where);
    if (became !== 'over') return;
    const dropped = (await this.drop(line, 'delayed', 'expired')) + (await this.drop(line, 'waiting', 'expired'));
    if (dropped > 0) core.host.log.warn('the backlog of an ended subscription was dropped', { ...where, dropped });
    if ((await core.run(core.scripts.dropLine, [line.id])) === 1) core.lines.delete(line.id);
  }

  /** Ends what waits, is delayed or dead. Answers how many. */
  async drop(line: RedisLine, what: string, state: 'purged' | 'expired'): Promise<number> {
    const core = this.#core;
    return this.#repeat(async () => {
      const rows = (await core.run(core.scripts.purge, [line.id, what, CHUNK, state])) as EndedRow[];
      for (const row of rows) core.record(line, row, state);
      return rows.length;
    }, CHUNK);
  }

  async #leave(line: RedisLine, how: 'offline' | 'ended', session: RedisSession): Promise<void> {
    const core = this.#core;
    const [offline, ended] = (await core.run(core.scripts.leave, [line.id, core.engine, how], session)) as string[];
    line.offlineSince = offline ? Number(offline) : undefined;
    line.endedAt = ended ? Number(ended) : undefined;
  }

  /** Answers why nothing more can be held, or the subscriptions that are nearly full. */
  async #publish({ topic, data, traceparent, baggage, createdAt }: Message): Promise<string | NearlyFull[]> {
    const core = this.#core;
    return (await core.run(core.scripts.publish, [
      topic,
      data,
      traceparent ?? '',
      baggage ?? '',
      createdAt,
      data.length,
      core.receiptHead(),
      core.events.topicRules(topic).replayRetentionMs,
      MAX_HELD_MESSAGES,
      MAX_HELD_BYTES,
      MAX_HELD_TOPICS,
      BACKLOG_WARNING,
    ])) as string | NearlyFull[];
  }

  async #sweepHeld(topic: string): Promise<number> {
    const core = this.#core;
    const expired = await this.#repeat(
      async () => (await core.run(core.scripts.sweepHeld, [topic, HELD_RETENTION_MS])) as number,
      SWEPT_AT_ONCE,
    );
    if (expired > 0)
      core.host.log.warn('messages of a topic expired: nobody subscribed within a day', { topic, expired });
    return expired;
  }

  /** Runs a chunk after the other until one is not full. */
  async #repeat(run: () => Promise<number>, full: number): Promise<number> {
    let total = 0;
    for (;;) {
      const count = await run();
      total += count;
      if (count < full) return total;
    }
  }

  #warn(line: RedisLine, waiting: number, bytes: number, expired: number): void {
    const { maxBacklog = Infinity, maxBacklogBytes = Infinity } = line.settings ?? {};
    const { log } = this.#core.host;
    const where = { topic: line.name, function: line.functionId };
    if (expired > 0) {
      line.expired += expired;
      this.#core.events.expired(line, expired);
    }
    if (!line.warnedBacklog) {
      line.warnedBacklog = true; // until the next sweep
      log.warn('the backlog of a subscription is nearly full: its oldest messages will expire', {
        ...where,
        waiting,
        bytes,
        max_backlog: maxBacklog,
        max_backlog_bytes: maxBacklogBytes,
      });
    }
  }
}

export function pairs(flat: readonly string[]): Map<string, number> {
  const map = new Map<string, number>();
  for (let i = 0; i + 1 < flat.length; i += 2) map.set(flat[i] as string, Number(flat[i + 1]));
  return map;
}
