/**
 * Messages of topics: published, held for the first subscriber, replayed, dropped when nobody needs
 * them. A subscription's states are those of the builtin adapter (`builtin/topics.ts`); here they are
 * the columns `offline_since` and `ended_at` of its line.
 */
import { toErrorBody } from '@trine/protocol';
import { replayNotRetained, topicBacklogFull } from '../../errors.js';
import type { Message, SubscriptionSettings } from '../index.js';
import {
  BACKLOG_CALM,
  BACKLOG_WARNING,
  HELD_RETENTION_MS,
  MAX_HELD_BYTES,
  MAX_HELD_MESSAGES,
  MAX_HELD_TOPICS,
} from '../rules.js';
import { Batcher } from './batcher.js';
import type { PgCore } from './core.js';
import type { PgLine } from './line.js';
import type { Lines } from './lines.js';
import { LONG_QUERY_TIMEOUT_MS, statement, type Query } from './server.js';
import { Writer } from './writer.js';

/** How long a publish is tried again after a lost connection, in milliseconds. */
const TRY_FOR_MS = 5_000;
/** Share of a backlog's bound that must have come before it is counted again. */
const COUNT_EACH = 0.001;
/** Jobs in one statement. */
const CHUNK = 1_000;

const PUBLISH = statement('publish', 'SELECT trine.store_messages($1, $2, $3, $4, $5, $6) AS answer');
/** Index topics_held. */
const HELD = statement('held', 'SELECT topic, held_count, held_bytes FROM trine.topics WHERE held_count > 0');
/** Index messages_held. */
const DROP_HELD = statement(
  'drop_held',
  `WITH gone AS (DELETE FROM trine.messages WHERE topic = $1 AND held AND created_at < $2 RETURNING size),
  sums AS (SELECT count(*) AS count, coalesce(sum(size), 0)::bigint AS bytes FROM gone)
  UPDATE trine.topics SET held_count = held_count - sums.count, held_bytes = held_bytes - sums.bytes
  FROM sums WHERE topic = $1 AND sums.count > 0 RETURNING sums.count`,
);
const KEPT = statement('kept', 'SELECT topic, kept_since FROM trine.topics WHERE kept_since IS NOT NULL');
const KEPT_SINCE = statement(
  'kept_since',
  'SELECT kept_since, trine.now_ms() AS now FROM trine.topics WHERE topic = $1',
);
const FORGET_KEPT = statement('forget_kept', 'UPDATE trine.topics SET kept_since = NULL WHERE topic = $1');
/** Index messages_kept. */
const RELEASE_KEPT = statement(
  'release_kept',
  `UPDATE trine.messages SET keep_until = NULL WHERE topic = $1 AND keep_until IS NOT NULL
     AND ($2 OR keep_until <= trine.now_ms())`,
);
/** Primary key; index jobs_message. What a batch of ends has missed, too. */
const DROP_DELIVERED = statement(
  'drop_delivered',
  `DELETE FROM trine.messages WHERE id IN (
     SELECT m.id FROM trine.messages m WHERE m.id > $1 AND NOT m.held AND m.keep_until IS NULL
       AND NOT EXISTS (SELECT FROM trine.jobs j WHERE j.message = m.id) ORDER BY m.id LIMIT ${CHUNK} FOR UPDATE SKIP LOCKED)
   RETURNING id`,
);
/** Index messages_kept. */
const REPLAY = statement(
  'replay',
  `INSERT INTO trine.jobs (line, lane, state, size, created_at, max_attempts, backoff_ms, receipt, function_id, namespace,
     group_key, traceparent, baggage, message, options)
   SELECT l.id, trine.lane_of(l.serial, l.namespace, l.function_id, NULL, NULL), 0, m.size, m.created_at, $3, $4,
     gen_random_uuid(), l.function_id, l.namespace, CASE WHEN l.serial THEN '' END, m.traceparent, m.baggage, m.id, '{"replayed":true}'
   FROM trine.lines l CROSS JOIN LATERAL (
     SELECT * FROM trine.messages WHERE topic = l.name AND keep_until IS NOT NULL AND created_at >= $2 ORDER BY id FOR KEY SHARE) m
   WHERE l.id = $1 ORDER BY m.id RETURNING 1 AS one`,
);
/** Index jobs_backlog. */
const BACKLOG = statement(
  'backlog',
  'SELECT count(*) AS count, coalesce(sum(size), 0)::bigint AS length FROM trine.jobs WHERE line = $1 AND message IS NOT NULL AND state < 2',
);
/** Engines drop what is over the bounds of a subscription one after the other. */
const LOCK = statement('lock_line', 'SELECT FROM trine.lines WHERE id = $1 FOR NO KEY UPDATE');
/** Index jobs_backlog: the oldest first. */
const TRIM = statement(
  'trim',
  `WITH gone AS (
    DELETE FROM trine.jobs WHERE seq IN (
      SELECT seq FROM trine.jobs WHERE line = $1 AND message IS NOT NULL AND state < 2 ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING size)
  UPDATE trine.lines SET expired = expired + (SELECT count(*) FROM gone) WHERE id = $1
  RETURNING expired, (SELECT count(*) FROM gone) AS dropped, (SELECT coalesce(sum(size), 0)::bigint FROM gone) AS length`,
);
const RETIRE = statement(
  'retire',
  `UPDATE trine.lines SET ended_at = trine.now_ms() WHERE id = $1 AND ended_at IS NULL AND offline_since <= trine.now_ms() - $2
   RETURNING ended_at`,
);
/** A subscription that is gone for good: nothing of it is left. */
const DELETE_LINE = statement(
  'delete_line',
  `DELETE FROM trine.lines WHERE id = $1 AND ended_at <= trine.now_ms() - $2
     AND NOT EXISTS (SELECT FROM trine.jobs WHERE line = $1) AND NOT EXISTS (SELECT FROM trine.dead WHERE line = $1) RETURNING id`,
);
const LONG_ENDED = statement(
  'long_ended',
  'SELECT id FROM trine.lines WHERE id = $1 AND ended_at <= trine.now_ms() - $2',
);

interface Published {
  /** Lines that got jobs, with their payload in UTF-16 units. */
  readonly got: readonly { readonly line: number; readonly jobs: number; readonly units: number }[];
  /** What a topic that nobody subscribed to holds already, by the message that found no room. */
  readonly full: Readonly<Record<number, string>>;
}

export class Messages {
  readonly #core: PgCore;
  readonly #lines: Lines;
  readonly #batcher: Batcher<Message, string | undefined>;
  readonly #stored: (lines: ReadonlySet<PgLine>) => void;
  readonly #writer: Writer;

  constructor(core: PgCore, lines: Lines, stored: (lines: ReadonlySet<PgLine>) => void) {
    this.#core = core;
    this.#lines = lines;
    this.#stored = stored;
    this.#writer = new Writer(core);
    this.#batcher = new Batcher(core.host, { tryForMs: TRY_FOR_MS, patient: false }, (messages) =>
      this.#store(messages),
    );
  }

  /** @throws TrineError `topic_backlog_full` */
  async publish(message: Message): Promise<void> {
    this.#core.needServer();
    const { topic, data } = message;
    const add = (): Promise<string | undefined> => this.#batcher.add(message, data.length);
    let full = await add();
    if (full !== undefined && (await this.#dropHeld(topic)) > 0) full = await add();
    if (full !== undefined) throw topicBacklogFull(topic, full);
  }

  async held(): Promise<ReadonlyMap<string, { readonly count: number; readonly bytes: number }>> {
    const rows = await this.#core.server.query<{
      readonly topic: string;
      readonly held_count: number;
      readonly held_bytes: number;
    }>(HELD);
    return new Map(rows.map(({ topic, held_count: count, held_bytes: bytes }) => [topic, { count, bytes }]));
  }

  async replay(line: PgLine, sinceMs: number): Promise<number> {
    const { server, events } = this.#core;
    const topic = line.name;
    const { replayRetentionMs } = events.topicRules(topic);
    if (replayRetentionMs === 0) throw replayNotRetained(topic, undefined);
    const now = this.#core.host.clock.now();
    const [row] = await server.query<{ readonly kept_since: number | null; readonly now: number }>(KEPT_SINCE, [topic]);
    const earliest = Math.max(row?.kept_since ?? now, (row?.now ?? now) - replayRetentionMs);
    if (sinceMs < earliest) throw replayNotRetained(topic, earliest);
    const { maxAttempts, backoffMs } = line.settings as SubscriptionSettings;
    const values = [this.#core.idOf(line), sinceMs, maxAttempts, backoffMs];
    const rows = await server.query(REPLAY, values, LONG_QUERY_TIMEOUT_MS);
    if (rows.length > 0) this.#told([line]);
    return rows.length;
  }

  async sweep(): Promise<void> {
    const { server, events, host } = this.#core;
    for (const topic of (await this.held()).keys()) {
      const expired = await this.#dropHeld(topic);
      if (expired > 0) host.log.warn('messages of a topic expired: nobody subscribed within a day', { topic, expired });
    }
    for (const { topic } of await server.query<{ readonly topic: string }>(KEPT)) {
      const ends = events.topicRules(topic).replayRetentionMs === 0;
      if (ends) await server.query(FORGET_KEPT, [topic]);
      await server.query(RELEASE_KEPT, [topic, ends], LONG_QUERY_TIMEOUT_MS);
    }
    await this.#dropDelivered();
    for (const line of await this.#lines.list({ kind: 'subscription' })) await this.#retire(line);
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

  /** Counts the backlogs that may have grown beyond their bounds. */
  async countBacklogs(): Promise<void> {
    for (const line of [...this.#core.lines.values()]) {
      if (line.kind === 'subscription' && this.#isNearBound(line)) await this.#watch(line);
    }
  }

  async #store(messages: readonly Message[]): Promise<readonly (string | undefined)[]> {
    const { events, linesById } = this.#core;
    const rows = messages.map(({ topic, data, traceparent, baggage, createdAt }, nr) => {
      const keep = events.topicRules(topic).replayRetentionMs || undefined;
      return { nr, topic, data, size: data.length, trace: traceparent, baggage, created: createdAt, keep };
    });
    const values = [JSON.stringify(rows), MAX_HELD_MESSAGES, MAX_HELD_BYTES, MAX_HELD_TOPICS];
    const { got, full } = await this.#writer.store<Published>(PUBLISH, values);
    const lines = new Set<PgLine>();
    const unknown = new Set<number>();
    for (const { line: id, jobs, units } of got) {
      const line = linesById.get(id);
      if (line === undefined) unknown.add(id);
      else {
        lines.add(line);
        line.backlog += jobs;
        line.backlogLength += units;
      }
    }
    this.#core.tell(unknown);
    this.#told(lines);
    for (const line of lines) if (this.#isNearBound(line) && this.#hasGrown(line)) void this.#watch(line);
    return messages.map((_, nr) => full[nr]);
  }

  #told(lines: Iterable<PgLine>): void {
    const told = new Set(lines);
    this.#core.tell([...told].flatMap(({ id }) => (id === undefined ? [] : [id])));
    this.#stored(told);
  }

  async #dropHeld(topic: string): Promise<number> {
    const before = this.#core.host.clock.now() - HELD_RETENTION_MS;
    const [row] = await this.#core.server.query<{ readonly count: number }>(DROP_HELD, [topic, before]);
    return row?.count ?? 0;
  }

  async #dropDelivered(): Promise<void> {
    for (let after = 0; ;) {
      const values = [after];
      const rows = await this.#core.server.query<{ readonly id: number }>(
        DROP_DELIVERED,
        values,
        LONG_QUERY_TIMEOUT_MS,
      );
      if (rows.length < CHUNK) return;
      for (const { id } of rows) after = Math.max(after, id);
    }
  }

  async #retire(line: PgLine): Promise<void> {
    const { server, events, host } = this.#core;
    const { subscriptionRetentionMs } = events.topicRules(line.name);
    const id = this.#core.idOf(line);
    const place = { topic: line.name, function: line.functionId };
    const [ended] = await server.query<{ readonly ended_at: number }>(RETIRE, [id, subscriptionRetentionMs]);
    if (ended !== undefined) {
      host.log.warn('a subscription ended: its worker was away for too long', place);
      line.endedAt = ended.ended_at;
      return;
    }
    if (line.endedAt === undefined) return;
    if ((await server.query(LONG_ENDED, [id, subscriptionRetentionMs])).length === 0) return;
    const dropped = await this.#trim(line, Infinity, Infinity, server.query);
    if (dropped > 0) this.#told([line]);
    if (dropped > 0) host.log.warn('the backlog of an ended subscription was dropped', { ...place, dropped });
    const deleted = await server.query(DELETE_LINE, [id, subscriptionRetentionMs]);
    if (deleted.length > 0) this.#core.drop(line);
  }

  /** Others publish as well, and what they add is not known here. */
  #isNearBound({ settings, backlog, backlogLength }: PgLine): boolean {
    if (settings === undefined) return false;
    const engines = this.#core.others + 1;
    return (
      backlog * engines >= settings.maxBacklog * BACKLOG_WARNING ||
      backlogLength * engines >= settings.maxBacklogBytes * BACKLOG_WARNING
    );
  }

  /** By enough since it was counted: to count takes longer than to publish. */
  #hasGrown({ settings, backlog, backlogLength, counted, countedLength }: PgLine): boolean {
    if (settings === undefined) return false;
    const engines = this.#core.others + 1;
    return (
      (backlog - counted) * engines >= settings.maxBacklog * COUNT_EACH ||
      (backlogLength - countedLength) * engines >= settings.maxBacklogBytes * COUNT_EACH
    );
  }

  /** One look at a time; what is published meanwhile is looked at after it. */
  async #watch(line: PgLine): Promise<void> {
    if (line.watching) {
      line.watchAgain = true;
      return;
    }
    line.watching = true;
    do {
      line.watchAgain = false;
      await this.#watchBacklog(line);
    } while (line.watchAgain && this.#isNearBound(line) && this.#hasGrown(line));
    line.watching = false;
  }

  async #watchBacklog(line: PgLine): Promise<void> {
    const { host, server, events } = this.#core;
    const { settings } = line;
    if (settings === undefined || line.id === undefined) return;
    try {
      await this.#count(line, server.query);
      const { maxBacklog, maxBacklogBytes } = settings;
      const share = Math.max(line.backlog / maxBacklog, line.backlogLength / maxBacklogBytes);
      if (share < BACKLOG_CALM) line.warnedBacklog = false;
      if (share >= BACKLOG_WARNING && !line.warnedBacklog) {
        line.warnedBacklog = true;
        host.log.warn('the backlog of a subscription is nearly full: its oldest messages will expire', {
          topic: line.name,
          function: line.functionId,
          waiting: line.backlog,
          bytes: line.backlogLength,
          max_backlog: maxBacklog,
          max_backlog_bytes: maxBacklogBytes,
        });
      }
      if (share <= 1) return;
      const expired = await server.transaction(async (query) => {
        await query(LOCK, [line.id], LONG_QUERY_TIMEOUT_MS);
        // Another engine may have dropped it meanwhile.
        await this.#count(line, query);
        return this.#trim(line, line.backlog - maxBacklog, line.backlogLength - maxBacklogBytes, query);
      });
      if (expired === 0) return;
      this.#told([line]);
      events.expired(line, expired);
    } catch (error) {
      host.log.error('old messages of a full subscription could not be dropped', {
        topic: line.name,
        error: toErrorBody(error).message,
      });
    }
  }

  async #count(line: PgLine, query: Query): Promise<void> {
    const values = [line.id];
    const [row] = await query<{ readonly count: number; readonly length: number }>(
      BACKLOG,
      values,
      LONG_QUERY_TIMEOUT_MS,
    );
    line.backlog = row?.count ?? 0;
    line.backlogLength = row?.length ?? 0;
    line.counted = line.backlog;
    line.countedLength = line.backlogLength;
  }

  /** Drops the oldest until so many jobs and so much payload are gone. */
  async #trim(line: PgLine, count: number, length: number, query: Query): Promise<number> {
    let dropped = 0;
    let droppedLength = 0;
    while (dropped < count || droppedLength < length) {
      // Half of what their average size says: one at a time takes a round trip each, and too many must not go.
      const bySize = Math.floor((length - droppedLength) / (line.backlogLength / Math.max(1, line.backlog)) / 2);
      const most = Math.min(CHUNK, dropped < count ? count - dropped : Math.max(1, bySize));
      const [row] = await query<{
        readonly expired: number;
        readonly dropped: number;
        readonly length: number;
      }>(TRIM, [line.id, most]);
      if (row === undefined || row.dropped === 0) break;
      dropped += row.dropped;
      droppedLength += row.length;
      line.expired = row.expired;
      line.backlog -= row.dropped;
      line.backlogLength -= row.length;
    }
    return dropped;
  }
}
