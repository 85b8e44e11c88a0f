/** Dead letters: browsed page by page, moved back, changed, deleted. */
import type { DeadPage, DeadQuery, Line, RedriveOptions } from '../index.js';
import { MANY_DEAD_LETTERS } from '../rules.js';
import { storable, type PgCore } from './core.js';
import type { PgLine } from './line.js';
import { LONG_QUERY_TIMEOUT_MS, statement } from './server.js';

/** Dead letters in one statement. */
const CHUNK = 500;

const FILTER = `line = ANY ($1::bigint[]) AND ($2::text IS NULL OR function_id = $2) AND ($3::text IS NULL OR error_code = $3)
  AND ($4::text IS NULL OR strpos(error, $4) > 0) AND ($5::bigint IS NULL OR failed_at >= $5) AND ($6::bigint IS NULL OR failed_at < $6)`;
/** Index dead_line. */
const COUNT = statement('dead_count', `SELECT count(*) AS total FROM trine.dead WHERE ${FILTER}`);
const BROWSE = statement(
  'dead_browse',
  `WITH page AS (
    SELECT id, failed_at, size, sum(size) OVER (ORDER BY failed_at DESC, id DESC) AS until, row_number() OVER (ORDER BY failed_at DESC, id DESC) AS nr
    FROM (SELECT id, failed_at, size FROM trine.dead WHERE ${FILTER} ORDER BY failed_at DESC, id DESC OFFSET $7 LIMIT $8) AS s)
  SELECT d.*, (SELECT count(*) FROM page) AS found FROM page p JOIN trine.dead d ON d.id = p.id
  WHERE p.until <= $9 OR p.nr = 1 ORDER BY p.nr`,
);
/** Index dead_line: the oldest; or by job id or receipt. */
const OLDEST = statement(
  'dead_oldest',
  'SELECT id FROM trine.dead WHERE line = $1 AND id <= $3 ORDER BY failed_at, id LIMIT $2',
);
const LAST = statement('dead_last', 'SELECT coalesce(max(id), 0) AS last FROM trine.dead WHERE line = $1');
const FIND = statement(
  'dead_find',
  `SELECT id FROM trine.dead WHERE job_id = $1 AND line = ANY ($2::bigint[])
   UNION SELECT id FROM trine.dead WHERE receipt = $1 AND line = ANY ($2::bigint[])`,
);
/** A unique key and an expiry were about the first life; its place and its own backoff stay. */
const REDRIVE = statement(
  'redrive',
  `WITH gone AS (
    DELETE FROM trine.dead d WHERE d.id IN (SELECT id FROM trine.dead WHERE id = ANY ($1::bigint[]) FOR UPDATE SKIP LOCKED)
      AND NOT EXISTS (SELECT FROM trine.jobs j WHERE j.receipt = d.receipt)
    RETURNING *)
  INSERT INTO trine.jobs AS j (line, lane, state, priority, redrives, size, created_at, max_attempts, backoff_ms, receipt, job_id,
    function_id, namespace, group_key, rate_key, traceparent, baggage, metadata, data, options)
  SELECT g.line, trine.lane_of(l.serial, g.namespace, g.function_id, g.group_key, g.rate_key), 0, g.priority, g.redrives + 1,
    g.size, g.created_at, coalesce($2, g.max_attempts), coalesce($3, g.backoff_ms), g.receipt, g.job_id, g.function_id,
    g.namespace, CASE WHEN l.serial THEN coalesce(g.group_key, '') ELSE g.group_key END, g.rate_key, g.traceparent, g.baggage,
    g.metadata, g.data, nullif((g.options::jsonb - 'uniqueKey' - 'expiresAt'
      - CASE WHEN $2::bigint IS NULL THEN 'expiresAt' ELSE 'backoffListMs' END)::text, '{}')
  FROM gone g JOIN trine.lines l ON l.id = g.line ORDER BY g.failed_at, g.id
  RETURNING j.seq`,
);
const DISCARD = statement(
  'discard',
  'DELETE FROM trine.dead WHERE id = ANY ($1::bigint[]) RETURNING line, receipt, function_id, namespace, attempts, created_at',
);
const EDIT = statement(
  'dead_edit',
  `UPDATE trine.dead SET data = coalesce($2, data), size = coalesce(length($2), size), function_id = coalesce($3, function_id)
   WHERE id = ANY ($1::bigint[]) RETURNING id`,
);
/** Index dead_line. */
const DROP = statement(
  'dead_drop',
  `DELETE FROM trine.dead WHERE id IN (
     SELECT id FROM trine.dead WHERE line = $1 AND ($2::bigint IS NULL OR failed_at <= trine.now_ms() - $2) ORDER BY failed_at, id LIMIT ${CHUNK})
   RETURNING line, receipt, function_id, namespace, attempts, created_at`,
);

interface DeadRow {
  readonly line: number;
  readonly job_id: string;
  readonly receipt: string;
  readonly function_id: string;
  readonly data: string;
  readonly attempts: number;
  readonly errors: string | null;
  readonly error: string;
  readonly error_code: string;
  readonly failed_at: number;
  readonly found: number;
}

interface DroppedRow {
  readonly line: number;
  readonly receipt: string;
  readonly function_id: string;
  readonly namespace: string;
  readonly attempts: number;
  readonly created_at: number;
}

export class DeadLetters {
  readonly #core: PgCore;
  readonly #redriven: (line: PgLine) => void;

  /** @param redriven - jobs of a line are ready again */
  constructor(core: PgCore, redriven: (line: PgLine) => void) {
    this.#core = core;
    this.#redriven = redriven;
  }

  async browse(lines: readonly Line[], { offset, limit, maxBytes, filter = {} }: DeadQuery): Promise<DeadPage> {
    const ids = idsOf(lines);
    const { server, linesById } = this.#core;
    const { functionId = null, code = null, error, since = null, until = null } = filter;
    const conditions = [ids, functionId, code, error === undefined ? null : storable(error), since, until];
    const [counted] = await server.query<{ readonly total: number }>(COUNT, conditions, LONG_QUERY_TIMEOUT_MS);
    const values = [...conditions, offset, limit, maxBytes];
    const rows = await server.query<DeadRow>(BROWSE, values, LONG_QUERY_TIMEOUT_MS);
    const letters = rows.map((row) => ({
      line: linesById.get(row.line) as PgLine,
      jobId: row.job_id,
      receipt: row.receipt,
      functionId: row.function_id,
      data: row.data,
      attempts: row.attempts,
      failures: row.errors ?? '[]',
      error: row.error,
      code: row.error_code,
      failedAt: row.failed_at,
    }));
    return { letters, total: counted?.total ?? 0, cut: (rows[0]?.found ?? 0) > rows.length };
  }

  /** What is dead-lettered meanwhile is for the next time. */
  async redrive(line: PgLine, options: RedriveOptions = {}): Promise<number> {
    const { server } = this.#core;
    const id = this.#core.idOf(line);
    const [{ last } = { last: 0 }] = await server.query<{ readonly last: number }>(LAST, [id]);
    let redriven = 0;
    for (let left = options.limit ?? Infinity; left > 0;) {
      const rows = await server.query<{ readonly id: number }>(OLDEST, [id, Math.min(CHUNK, left), last]);
      const moved = rows.length === 0 ? 0 : await this.#move(rows, options);
      if (moved === 0) break;
      redriven += moved;
      left -= moved;
    }
    if (redriven > 0) this.#ready(line);
    return redriven;
  }

  async redriveOne(lines: readonly Line[], id: string, options: RedriveOptions = {}): Promise<boolean> {
    const rows = await this.#find(lines, id);
    if (rows.length === 0 || (await this.#move(rows.slice(0, 1), options)) === 0) return false;
    for (const line of lines) this.#ready(line as PgLine);
    return true;
  }

  async discardOne(lines: readonly Line[], id: string): Promise<boolean> {
    const rows = (await this.#find(lines, id)).slice(0, 1);
    const gone = await this.#core.server.query<DroppedRow>(DISCARD, [rows.map((row) => row.id)]);
    this.#record(gone, 'discarded');
    return gone.length > 0;
  }

  async edit(
    lines: readonly Line[],
    id: string,
    { data, functionId }: { readonly data?: string | undefined; readonly functionId?: string | undefined },
  ): Promise<boolean> {
    const rows = (await this.#find(lines, id)).slice(0, 1);
    const values = [rows.map((row) => row.id), data ?? null, functionId ?? null];
    return (await this.#core.server.query(EDIT, values)).length > 0;
  }

  async purge(line: PgLine): Promise<number> {
    return this.#drop(line, null, 'purged');
  }

  async sweep(): Promise<void> {
    const { lines, server, host } = this.#core;
    for (const line of [...lines.values()]) {
      if (line.id === undefined) continue;
      const keepMs = line.rules?.keepDeadMs ?? 0;
      if (keepMs > 0) await this.#drop(line, keepMs, 'discarded');
      const values = [[line.id], null, null, null, null, null];
      const [counted] = await server.query<{ readonly total: number }>(COUNT, values, LONG_QUERY_TIMEOUT_MS);
      const many = (counted?.total ?? 0) >= MANY_DEAD_LETTERS;
      if (many && !line.warnedDead)
        host.log.warn(
          'many dead letters: they stay until someone acts. See them with engine::queue::dlq_browse, run them again with iii::queue::redrive or drop them with iii::queue::purge',
          { [line.kind === 'queue' ? 'queue' : 'topic']: line.name, dead_letters: counted?.total ?? 0 },
        );
      line.warnedDead = many;
    }
  }

  async #find(lines: readonly Line[], id: string): Promise<readonly { readonly id: number }[]> {
    return this.#core.server.query<{ readonly id: number }>(FIND, [id, idsOf(lines)]);
  }

  async #move(rows: readonly { readonly id: number }[], { restamp }: RedriveOptions): Promise<number> {
    const values = [rows.map(({ id }) => id), restamp?.maxAttempts ?? null, restamp?.backoffMs ?? null];
    return (await this.#core.server.query(REDRIVE, values)).length;
  }

  async #drop(line: PgLine, olderThanMs: number | null, state: 'purged' | 'discarded'): Promise<number> {
    for (let dropped = 0; ;) {
      const rows = await this.#core.server.query<DroppedRow>(DROP, [this.#core.idOf(line), olderThanMs]);
      this.#record(rows, state);
      dropped += rows.length;
      if (rows.length < CHUNK) return dropped;
    }
  }

  #record(rows: readonly DroppedRow[], state: 'purged' | 'discarded'): void {
    for (const row of rows) {
      const line = this.#core.linesById.get(row.line);
      if (line === undefined) continue;
      const { receipt, function_id: functionId, namespace, attempts, created_at: createdAt } = row;
      this.#core.record(line, { receipt, functionId, namespace, attempts, createdAt }, state);
    }
  }

  #ready(line: PgLine): void {
    this.#redriven(line);
    if (line.id !== undefined) this.#core.tell([line.id]);
  }
}

function idsOf(lines: readonly Line[]): number[] {
  return lines.flatMap((line) => (line as PgLine).id ?? []);
}
