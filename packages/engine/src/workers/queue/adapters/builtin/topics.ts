/**
 * Subscriptions and messages.
 *
 *   (subscribe) -> live
 *   live    -> offline    its last worker is gone: it keeps receiving
 *   live    -> ended      its last trigger was unregistered, or someone ended it
 *   offline -> live       a worker subscribes again
 *   offline -> ended      nobody came for the retention
 *   ended   -> live       a worker subscribes again: what was left of its backlog is delivered
 *   ended   -> (gone)     after the retention, with its backlog; dead letters keep it
 *
 * A message is stored once and goes with its last delivery, or when it need not be kept for a replay
 * any more. While a topic has no subscription it holds its messages, within bounds, for the next one.
 */
import { toErrorBody } from '@trine/protocol';
import { replayNotRetained, topicBacklogFull } from '../../errors.js';
import type { LineSpec, Message, NewJob, SubscriptionSettings } from '../index.js';
import {
  BACKLOG_CALM,
  BACKLOG_WARNING,
  HELD_RETENTION_MS,
  MAX_HELD_BYTES,
  MAX_HELD_MESSAGES,
  MAX_HELD_TOPICS,
} from '../rules.js';
import { bounds } from './bounds.js';
import { type BuiltinCore } from './core.js';
import type { Intake } from './intake.js';
import type { Lane } from './lane.js';
import type { BuiltinLine } from './line.js';
import type { Withdrawals } from './withdraw.js';

interface Held {
  count: number;
  bytes: number;
}

interface Delivery {
  readonly line: BuiltinLine;
  readonly lane: Lane;
  readonly seq: number;
  readonly receipt: string;
  readonly job: NewJob;
}

export class TopicStore {
  readonly #core: BuiltinCore;
  readonly #intake: Intake;
  readonly #withdrawals: Withdrawals;
  readonly held = new Map<string, Held>();
  /** Topics whose held messages are on their way to a subscription. */
  readonly #claims = new Map<string, Promise<void>>();
  /** Since when the messages of a topic are kept for a replay, wall clock. */
  readonly keptSince = new Map<string, number>();

  constructor(core: BuiltinCore, intake: Intake, withdrawals: Withdrawals) {
    this.#core = core;
    this.#intake = intake;
    this.#withdrawals = withdrawals;
  }

  async subscribe(spec: LineSpec, settings: SubscriptionSettings): Promise<BuiltinLine> {
    // Another subscription is being given what the topic held: if that fails, it is this one's.
    for (let claim; (claim = this.#claims.get(spec.name)) !== undefined;) await claim;
    const holds = this.held.has(spec.name);
    const made = this.#subscribe(spec, settings);
    if (!holds) return made;
    const settled = made.then(nothing, nothing).then(() => void this.#claims.delete(spec.name));
    this.#claims.set(spec.name, settled);
    return made;
  }

  async #subscribe(spec: LineSpec, settings: SubscriptionSettings): Promise<BuiltinLine> {
    const core = this.#core;
    const known = core.find(spec);
    const line = known ?? core.addLine(undefined, spec, settings);
    const before = { endedAt: line.endedAt, offlineSince: line.offlineSince, settings: line.settings };
    line.settings = settings;
    line.serial = settings.fifo;
    line.endedAt = undefined;
    line.offlineSince = undefined;
    const lane = core.laneOf(line, spec.functionId, spec.namespace, undefined);
    lane.count++; // keeps the lane while the operation is under way
    const held = this.held.get(spec.name);
    this.held.delete(spec.name);
    const reserved = held?.count ?? 0;
    const firstSeq = core.seqs(reserved);
    const { maxAttempts, backoffMs } = settings;
    try {
      const { count, bytes } = await core.store.write<Held>(
        'subscribe',
        line.id,
        spec.name,
        spec.namespace,
        spec.functionId,
        JSON.stringify(settings),
        lane.id,
        firstSeq,
        reserved,
        maxAttempts,
        backoffMs,
      );
      lane.count += count;
      line.bytes += bytes;
      if (count > 0) lane.last = Math.max(lane.last, firstSeq + count - 1);
    } catch (error) {
      if (known === undefined) core.dropLine(line);
      else Object.assign(line, before);
      if (held !== undefined) this.held.set(spec.name, held);
      throw error;
    } finally {
      core.uncount(lane);
    }
    for (const each of line.lanes.values()) core.wake(each);
    return line;
  }

  async leave(line: BuiltinLine, how: 'offline' | 'ended'): Promise<void> {
    const now = this.#core.host.clock.now();
    if (how === 'ended') {
      line.endedAt ??= now;
      await this.#core.store.write('endLine', line.id, line.endedAt);
    } else if (line.endedAt === undefined) {
      line.offlineSince ??= now;
      await this.#core.store.write('setOffline', line.id, line.offlineSince);
    }
  }

  async publish(message: Message): Promise<void> {
    const core = this.#core;
    const { topic, data, traceparent, baggage, createdAt } = message;
    // Not awaited without need: a later message must not overtake this one.
    if (this.#active(topic).length === 0 && this.#heldFull(message) !== undefined) await this.#makeRoom(message);
    const lines = this.#active(topic);
    const id = core.seqs();
    const deliveries = lines.map((line) => this.#delivery(line, message));
    const rules = core.events.topicRules(topic);
    const keepUntil = rules.replayRetentionMs > 0 ? createdAt + rules.replayRetentionMs : null;
    if (lines.length === 0) this.#countHeld(topic, 1, data.length);
    if (keepUntil !== null && !this.keptSince.has(topic)) this.keptSince.set(topic, createdAt);
    try {
      await core.storeFor(rules.durability).write(
        'publish',
        id,
        topic,
        core.receipt(id),
        data,
        traceparent ?? null,
        baggage ?? null,
        createdAt,
        keepUntil,
        deliveries.flatMap(({ line, lane, seq, receipt, job }) => [
          seq,
          line.id,
          lane.id,
          receipt,
          job.functionId,
          job.namespace,
          job.maxAttempts,
          job.backoffMs,
        ]),
      );
    } catch (error) {
      for (const { lane } of deliveries) core.jobEnded(lane, data.length);
      if (lines.length === 0) this.#countHeld(topic, -1, -data.length);
      throw error;
    }
    for (const { lane, seq, receipt, job } of deliveries) this.#intake.accepted(lane, seq, receipt, job, undefined);
    for (const line of lines) this.#watchBacklog(line);
  }

  /** Messages since a time again for one subscription, as new jobs. Answers how many. */
  async replay(line: BuiltinLine, sinceMs: number): Promise<number> {
    const core = this.#core;
    const topic = line.name;
    const { replayRetentionMs } = core.events.topicRules(topic);
    const now = core.host.clock.now();
    const earliest = Math.max(this.keptSince.get(topic) ?? now, now - replayRetentionMs);
    if (replayRetentionMs === 0 || sinceMs < earliest) {
      throw replayNotRetained(topic, replayRetentionMs === 0 ? undefined : earliest);
    }
    const { maxAttempts, backoffMs } = line.settings as SubscriptionSettings;
    const upTo = core.lastSeq;
    let replayed = 0;
    let after = -1;
    for (;;) {
      const lane = core.laneOf(line, line.functionId, line.namespace, undefined);
      lane.count++;
      const firstSeq = core.seqs(bounds.chunkJobs);
      const receipts = Array.from({ length: bounds.chunkJobs }, (_, i) => core.receipt(firstSeq + i));
      try {
        const { count, bytes, last } = await core.store.write<Held & { readonly last: number }>(
          'replay',
          topic,
          after,
          upTo,
          sinceMs,
          line.id,
          lane.id,
          firstSeq,
          receipts,
          line.functionId,
          line.namespace,
          maxAttempts,
          backoffMs,
        );
        lane.count += count;
        line.bytes += bytes;
        if (count > 0) lane.last = Math.max(lane.last, firstSeq + count - 1);
        replayed += count;
        after = last;
        core.wake(lane);
        if (count < bounds.chunkJobs) return replayed;
      } finally {
        core.uncount(lane);
      }
    }
  }

  async sweep(): Promise<void> {
    const core = this.#core;
    const now = core.host.clock.now();
    for (const topic of [...this.held.keys()]) {
      const expired = await this.#dropHeld(topic, now - HELD_RETENTION_MS);
      if (expired > 0)
        core.host.log.warn('messages of a topic expired: nobody subscribed within a day', { topic, expired });
    }
    for (const topic of [...this.keptSince.keys()]) {
      const { replayRetentionMs } = core.events.topicRules(topic);
      if (replayRetentionMs === 0) this.keptSince.delete(topic);
      await core.store.write('dropKept', topic, now, replayRetentionMs > 0);
    }
    for (const line of [...core.lines.values()]) if (line.kind === 'subscription') await this.#retire(line, now);
  }

  async #retire(line: BuiltinLine, now: number): Promise<void> {
    const core = this.#core;
    const { subscriptionRetentionMs } = core.events.topicRules(line.name);
    const { offlineSince } = line;
    if (offlineSince !== undefined && line.endedAt === undefined && now - offlineSince >= subscriptionRetentionMs) {
      core.host.log.warn('a subscription ended: its worker was away for too long', {
        topic: line.name,
        function: line.functionId,
      });
      await this.leave(line, 'ended');
    }
    if (line.endedAt === undefined || now - line.endedAt < subscriptionRetentionMs) return;
    let dropped = await this.#withdrawals.purge(line, 'delayed', 'expired');
    dropped += await this.#withdrawals.dropOldest(line, Infinity, 'expired', true);
    if (dropped > 0)
      core.host.log.warn('the backlog of an ended subscription was dropped', {
        topic: line.name,
        function: line.functionId,
        dropped,
      });
    if (line.lanes.size > 0) return;
    const deleted = await core.store.write<boolean>('deleteLine', line.id);
    // Someone may have subscribed again meanwhile.
    if (deleted && line.endedAt !== undefined) core.dropLine(line);
  }

  /** @throws TrineError `topic_backlog_full` */
  async #makeRoom(message: Message): Promise<void> {
    const { topic } = message;
    await this.#dropHeld(topic, this.#core.host.clock.now() - HELD_RETENTION_MS);
    const full = this.#active(topic).length > 0 ? undefined : this.#heldFull(message);
    if (full !== undefined) throw topicBacklogFull(topic, full);
  }

  #active(topic: string): readonly BuiltinLine[] {
    const lines = this.#core.subscriptionsOf(topic);
    return lines.some(({ endedAt }) => endedAt !== undefined)
      ? lines.filter(({ endedAt }) => endedAt === undefined)
      : lines;
  }

  #delivery(line: BuiltinLine, message: Message): Delivery {
    const core = this.#core;
    const { data, traceparent, baggage, createdAt } = message;
    const { maxAttempts, backoffMs } = line.settings as SubscriptionSettings;
    const lane = core.laneOf(line, line.functionId, line.namespace, undefined);
    const seq = core.seqs();
    const receipt = core.receipt(seq);
    lane.count++;
    line.bytes += data.length;
    const job: NewJob = {
      receipt,
      functionId: line.functionId,
      namespace: line.namespace,
      group: undefined,
      data,
      metadata: undefined,
      traceparent,
      baggage,
      createdAt,
      maxAttempts,
      backoffMs,
      extras: undefined,
    };
    return { line, lane, seq, receipt, job };
  }

  #heldFull({ topic, data }: Message): string | undefined {
    const { count, bytes } = this.held.get(topic) ?? { count: 0, bytes: 0 };
    if (count >= MAX_HELD_MESSAGES) return `${count} messages`;
    if (count > 0 && bytes + data.length > MAX_HELD_BYTES) return `${bytes} bytes`;
    if (count === 0 && this.held.size >= MAX_HELD_TOPICS) return `messages beside ${MAX_HELD_TOPICS} other such topics`;
    return undefined;
  }

  async #dropHeld(topic: string, before: number): Promise<number> {
    const { count, bytes } = await this.#core.store.write<Held>('dropHeld', topic, before, this.#core.host.clock.now());
    if (this.held.has(topic)) this.#countHeld(topic, -count, -bytes);
    return count;
  }

  #countHeld(topic: string, count: number, bytes: number): void {
    const held = this.held.get(topic) ?? { count: 0, bytes: 0 };
    held.count += count;
    held.bytes += bytes;
    if (held.count <= 0) this.held.delete(topic);
    else this.held.set(topic, held);
  }

  #watchBacklog(line: BuiltinLine): void {
    const { maxBacklog, maxBacklogBytes } = line.settings as SubscriptionSettings;
    const waiting = line.waiting;
    const share = Math.max(waiting / maxBacklog, line.bytes / maxBacklogBytes);
    if (share > 1 && !line.trimming) {
      line.trimming = true;
      void this.#core.gate.run(() => this.#trim(line));
    }
    if (share < BACKLOG_CALM) line.warnedBacklog = false;
    if (share < BACKLOG_WARNING || line.warnedBacklog) return;
    line.warnedBacklog = true;
    this.#core.host.log.warn('the backlog of a subscription is nearly full: its oldest messages will expire', {
      topic: line.name,
      function: line.functionId,
      waiting,
      bytes: line.bytes,
      max_backlog: maxBacklog,
      max_backlog_bytes: maxBacklogBytes,
    });
  }

  async #trim(line: BuiltinLine): Promise<void> {
    let expired = 0;
    try {
      for (;;) {
        const { maxBacklog, maxBacklogBytes } = line.settings as SubscriptionSettings;
        const tooMany = line.waiting - maxBacklog;
        const tooLarge = line.bytes - maxBacklogBytes;
        if (tooMany <= 0 && tooLarge <= 0) break;
        // Half of what their average size says: one at a time falls behind who publishes, and too many must not go.
        const byBytes = Math.floor(tooLarge / (line.bytes / Math.max(1, line.jobs)) / 2);
        const count = await this.#withdrawals.dropOldest(line, Math.max(1, tooMany, byBytes), 'expired', true);
        if (count === 0) break;
        expired += count;
      }
    } catch (error) {
      this.#core.host.log.error('old messages of a full subscription could not be dropped', {
        topic: line.name,
        error: toErrorBody(error).message,
      });
    }
    line.trimming = false;
    if (expired > 0) this.#core.events.expired(line, expired);
  }
}

function nothing(): void {}
