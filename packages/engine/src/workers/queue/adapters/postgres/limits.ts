/**
 * Rates and concurrency over all engines: counted in the database, under a lock on the line. In any
 * window of a rate's length at most so many jobs start; a job counts when it is leased.
 */
import type { Lane, PgLease, PgLine } from './line.js';
import { statement, type Query } from './server.js';

export interface Limits {
  /** The server's clock. */
  readonly now: number;
  /** So many may be leased now, and of each rate key. */
  readonly total: number;
  ofKey(key: string | undefined): number;
  /** A rate that is used up lets the next one go after so many milliseconds. */
  readonly againMs: number | undefined;
}

/** Primary key. Whoever counts has the line alone until its transaction ends. */
const LOCK = statement('lock', 'SELECT trine.now_ms() AS now FROM trine.lines WHERE id = $1 FOR NO KEY UPDATE');
/** Index jobs_leased. */
const RUNNING = statement('running', 'SELECT count(*) AS running FROM trine.jobs WHERE line = $1 AND state = 2');
/** Index starts_key. */
const STARTS = statement(
  'starts',
  `SELECT key, sum(count)::bigint AS count, min(at) AS first FROM trine.starts
   WHERE line = $1 AND ((key = '' AND at > $2) OR (key = ANY ($3::text[]) AND at > $4)) GROUP BY key`,
);
const FORGET = statement('forget_starts', 'DELETE FROM trine.starts WHERE line = $1 AND at <= $2');
const NOTE = statement(
  'note_starts',
  `INSERT INTO trine.starts (line, key, at, count) SELECT $1, s.key, $2, s.count FROM unnest($3::text[], $4::int[]) AS s (key, count)`,
);

export async function limitsOf(query: Query, line: PgLine, lanes: readonly Lane[]): Promise<Limits> {
  const { rate, ratePerKey, globalConcurrency } = line.rules ?? {};
  const [locked] = await query<{ readonly now: number }>(LOCK, [line.id]);
  const now = locked?.now ?? 0;
  let total = Infinity;
  let againMs = Infinity;
  if (globalConcurrency !== undefined) {
    const [counted] = await query<{ readonly running: number }>(RUNNING, [line.id]);
    total = globalConcurrency - (counted?.running ?? 0);
  }
  const left = new Map<string, number>();
  if (rate !== undefined || ratePerKey !== undefined) {
    const keys =
      ratePerKey === undefined ? [] : lanes.flatMap(({ rateKey }) => (rateKey === undefined ? [] : [keyOf(rateKey)]));
    const perMs = rate?.perMs ?? 0;
    const keyMs = ratePerKey?.perMs ?? 0;
    await query(FORGET, [line.id, now - Math.max(perMs, keyMs)]);
    const rows = await query<{ readonly key: string; readonly count: number; readonly first: number }>(STARTS, [
      line.id,
      now - perMs,
      keys,
      now - keyMs,
    ]);
    for (const { key, count, first } of rows) {
      const own = key === '' ? rate : ratePerKey;
      if (own === undefined) continue;
      const more = own.max - count;
      if (key === '') total = Math.min(total, more);
      else left.set(key, more);
      if (more <= 0) againMs = Math.min(againMs, first + own.perMs - now);
    }
    if (rate !== undefined) total = Math.min(total, rate.max);
  }
  return {
    now,
    total: Math.min(total, Number.MAX_SAFE_INTEGER),
    ofKey: (key) =>
      key === undefined || ratePerKey === undefined
        ? Number.MAX_SAFE_INTEGER
        : Math.max(0, left.get(keyOf(key)) ?? ratePerKey.max),
    againMs: againMs === Infinity ? undefined : Math.max(1, againMs),
  };
}

export async function noteStarts(query: Query, line: PgLine, leases: readonly PgLease[], now: number): Promise<void> {
  const { rate, ratePerKey } = line.rules ?? {};
  if (leases.length === 0 || (rate === undefined && ratePerKey === undefined)) return;
  const counts = new Map<string, number>();
  if (rate !== undefined) counts.set('', leases.length);
  for (const { job } of leases) {
    const key = job.extras?.rateKey;
    if (ratePerKey === undefined || key === undefined) continue;
    counts.set(keyOf(key), (counts.get(keyOf(key)) ?? 0) + 1);
  }
  await query(NOTE, [line.id, now, [...counts.keys()], [...counts.values()]]);
}

/** Never empty: that is the whole line's. */
function keyOf(rateKey: string): string {
  return `k${rateKey}`;
}
