/** Messages of topics, and their deliveries. */
import type { Database } from '../../../storage/store-module.js';
import { INSERT_JOB, INSERT_WITH_OPTIONS, PUT_LINE } from './inserts.js';

/** Values per delivery in `publish`. */
export const DELIVERY_WIDTH = 8;

export function messageWrites(db: Database) {
  const putLine = db.prepare(PUT_LINE);
  const insertJob = db.prepare(INSERT_JOB);
  const insertWithOptions = db.prepare(INSERT_WITH_OPTIONS);
  const lineExists = db.prepare('SELECT 1 FROM queue_lines WHERE id = ?').pluck();
  const insertMessage = db.prepare(
    `INSERT INTO queue_messages (id, topic, receipt, data, size, traceparent, baggage, created_at, refs, keep_until)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const ref = db.prepare('UPDATE queue_messages SET refs = max(refs, 0) + 1 WHERE id = ?');
  const keptSince = db.prepare('INSERT OR IGNORE INTO queue_topics (topic, kept_since) VALUES (?, ?)');
  const notKept = db.prepare('DELETE FROM queue_topics WHERE topic = ?');
  // Index queue_messages_kept.
  const replayable = db.prepare(
    `SELECT id, size, created_at AS createdAt FROM queue_messages
     WHERE topic = ? AND id > ? AND id <= ? AND created_at >= ? AND keep_until IS NOT NULL ORDER BY id LIMIT ?`,
  );
  const dropKept = db.prepare('DELETE FROM queue_messages WHERE topic = ? AND keep_until < ? AND refs = -1');
  // Index queue_messages_held.
  const held = db.prepare(
    'SELECT id, receipt, size, created_at AS createdAt FROM queue_messages WHERE topic = ? AND refs = 0 ORDER BY id LIMIT ?',
  );
  const claim = db.prepare('UPDATE queue_messages SET refs = 1 WHERE id = ?');
  // What a replay may still ask for stays; only the first subscriber does not get it any more.
  const releaseHeld = db
    .prepare(
      `UPDATE queue_messages SET refs = -1 WHERE id IN (SELECT id FROM queue_messages WHERE topic = ? AND refs = 0 ORDER BY id)
     AND created_at < ? AND keep_until > ? RETURNING size`,
    )
    .pluck();
  const dropHeld = db
    .prepare(
      `DELETE FROM queue_messages WHERE id IN (SELECT id FROM queue_messages WHERE topic = ? AND refs = 0 ORDER BY id)
     AND created_at < ? RETURNING size`,
    )
    .pluck();

  /** The commit that was to create it may have been refused. */
  function checkLine(topic: string, line: unknown): void {
    if (lineExists.get(line) === undefined) throw new Error(`a subscription of topic '${topic}' could not be stored`);
  }

  return {
    /** Creates or renews a subscription and gives it what the topic held, under `reserved` numbers from `firstSeq` on. */
    subscribe(
      id: number,
      topic: string,
      namespace: string,
      functionId: string,
      settings: string,
      lane: number,
      firstSeq: number,
      reserved: number,
      maxAttempts: number,
      backoffMs: number,
    ): { readonly count: number; readonly bytes: number } {
      putLine.run(id, 1, topic, namespace, functionId, settings, null);
      let count = 0;
      let bytes = 0;
      for (const message of held.all(topic, reserved) as {
        id: number;
        receipt: string;
        size: number;
        createdAt: number;
      }[]) {
        insertWithOptions.run(
          firstSeq + count,
          id,
          lane,
          message.receipt,
          functionId,
          namespace,
          null,
          message.id,
          null,
          message.size,
          null,
          null,
          null,
          message.createdAt,
          maxAttempts,
          backoffMs,
          null,
          null,
          null,
          null,
          message.receipt,
        );
        claim.run(message.id);
        count++;
        bytes += message.size;
      }
      return { count, bytes };
    },

    /** @param deliveries - per subscription: seq, line, lane, receipt, function, namespace, max attempts, backoff */
    publish(
      id: number,
      topic: string,
      receipt: string,
      data: string,
      traceparent: string | null,
      baggage: string | null,
      createdAt: number,
      keepUntil: number | null,
      deliveries: readonly (string | number)[],
    ): void {
      if (keepUntil !== null) keptSince.run(topic, createdAt);
      insertMessage.run(
        id,
        topic,
        receipt,
        data,
        data.length,
        traceparent,
        baggage,
        createdAt,
        deliveries.length / DELIVERY_WIDTH,
        keepUntil,
      );
      for (let i = 0; i < deliveries.length; i += DELIVERY_WIDTH) {
        const [seq, line, lane, own, functionId, namespace, maxAttempts, backoffMs] = deliveries.slice(
          i,
          i + DELIVERY_WIDTH,
        );
        checkLine(topic, line);
        insertJob.run(
          seq,
          line,
          lane,
          own,
          functionId,
          namespace,
          null,
          id,
          null,
          data.length,
          null,
          null,
          null,
          createdAt,
          maxAttempts,
          backoffMs,
        );
      }
    },

    /** Messages of a topic again for one subscription, under `reserved` numbers from `firstSeq` on. */
    replay(
      topic: string,
      after: number,
      upTo: number,
      since: number,
      line: number,
      lane: number,
      firstSeq: number,
      receipts: readonly string[],
      functionId: string,
      namespace: string,
      maxAttempts: number,
      backoffMs: number,
    ): { readonly count: number; readonly bytes: number; readonly last: number } {
      checkLine(topic, line);
      const messages = replayable.all(topic, after, upTo, since, receipts.length) as {
        id: number;
        size: number;
        createdAt: number;
      }[];
      let bytes = 0;
      messages.forEach((message, i) => {
        ref.run(message.id);
        insertWithOptions.run(
          firstSeq + i,
          line,
          lane,
          receipts[i],
          functionId,
          namespace,
          null,
          message.id,
          null,
          message.size,
          null,
          null,
          null,
          message.createdAt,
          maxAttempts,
          backoffMs,
          null,
          null,
          '{"replayed":true}',
          null,
          null,
        );
        bytes += message.size;
      });
      return { count: messages.length, bytes, last: messages.at(-1)?.id ?? upTo };
    },

    /** Messages that were kept for a replay and no job needs. */
    dropKept(topic: string, now: number, stillKept: boolean): void {
      dropKept.run(topic, now);
      if (!stillKept) notKept.run(topic);
    },

    /** Messages of a topic without subscribers that are older than `before` wait for one no longer. */
    dropHeld(topic: string, before: number, now: number): { readonly count: number; readonly bytes: number } {
      const sizes = [...releaseHeld.all(topic, before, now), ...dropHeld.all(topic, before)] as number[];
      return { count: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
    },
  };
}
