/** What memory is built from at the start. */
import type { Database } from '../../../storage/store-module.js';
import type { LaneRow, LineRow, Snapshot } from './rows.js';

export function snapshotReads(db: Database) {
  const lastSeqs = ['seq FROM queue_jobs', 'id FROM queue_messages', 'seq FROM queue_dead', 'seq FROM queue_ended'].map(
    (what) => db.prepare(`SELECT max(${what.replace(' ', ') ')}`).pluck(),
  );
  const lastLane = db.prepare('SELECT max(lane) FROM queue_jobs').pluck();
  const lines = db.prepare(
    `SELECT id, is_topic AS isTopic, name, namespace, function_id AS functionId, settings, offline_since AS offlineSince,
       ended_at AS endedAt, expired, paused FROM queue_lines ORDER BY id`,
  );
  const lanes = db.prepare(
    `SELECT l.lane, j.line, j.function_id AS functionId, j.namespace, j.group_key AS "group", l.count, l.bytes, l.last,
       coalesce(d.delayed, 0) AS delayed, j.options
     FROM (SELECT lane, count(*) AS count, sum(size) AS bytes, min(seq) AS first, max(seq) AS last FROM queue_jobs GROUP BY lane) l
     JOIN queue_jobs j ON j.seq = l.first
     LEFT JOIN (SELECT lane, count(*) AS delayed FROM queue_jobs INDEXED BY queue_jobs_due WHERE due IS NOT NULL GROUP BY lane) d
       ON d.lane = l.lane ORDER BY l.first`,
  );
  // Index queue_jobs_expiry.
  const firstExpiry = db.prepare('SELECT min(expires_at) FROM queue_jobs WHERE expires_at IS NOT NULL').pluck();
  const kept = db.prepare('SELECT topic, kept_since AS since FROM queue_topics');
  const dead = db.prepare('SELECT line, count(*) AS count FROM queue_dead GROUP BY line');
  const heldCounts = db.prepare(
    'SELECT topic, count(*) AS count, sum(size) AS bytes FROM queue_messages WHERE refs = 0 GROUP BY topic',
  );

  return {
    snapshot(): Snapshot {
      return {
        lastSeq: Math.max(...lastSeqs.map((statement) => (statement.get() as number | null) ?? 0)),
        lastLane: (lastLane.get() as number | null) ?? 0,
        lines: lines.all() as LineRow[],
        lanes: lanes.all() as LaneRow[],
        firstExpiry: firstExpiry.get() as number | null,
        kept: kept.all() as Snapshot['kept'],
        dead: dead.all() as Snapshot['dead'],
        held: heldCounts.all() as Snapshot['held'],
      };
    },
  };
}
