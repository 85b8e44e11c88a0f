/**
 * Carries out how leases end, many in one commit. What happened to a job is never forgotten while the
 * engine runs: an outage, a full disk are waited for.
 *
 * Every statement finds its jobs by sequence number, owner and token: what another engine has leased
 * meanwhile is left alone, and a statement whose answer was lost may be sent again.
 *
 * Hot path: one DELETE per batch of finished jobs.
 */
import type { Decision } from '../../job.js';
import { Batcher } from './batcher.js';
import { storable, textOfFailures, type PgCore } from './core.js';
import type { PgLease, PgLine } from './line.js';
import { statement } from './server.js';

/** Ends that are not stored yet; above it nothing is leased. */
const MAX_UNSTORED_ENDS = 1_000;

/** Primary key. $4: lines whose ended jobs stay on record. */
const DONE = statement(
  'done',
  `WITH gone AS (
    DELETE FROM trine.jobs j USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS l (seq, owner, token)
    WHERE j.seq = l.seq AND j.owner = l.owner AND j.token = l.token
    RETURNING j.seq, j.line, j.receipt, j.function_id, j.namespace, j.attempts, j.created_at, j.errors, j.message),
  kept AS (
    INSERT INTO trine.ended (line, receipt, state, function_id, namespace, attempts, created_at, ended_at, errors)
    SELECT line, receipt, 'done', function_id, namespace, attempts, created_at, trine.now_ms(), errors
    FROM gone WHERE line = ANY ($4::bigint[]))
  SELECT seq, message FROM gone`,
);

/** Ends a job whose lease is over, unless it was leased again. */
const DONE_LATE = statement(
  'done_late',
  'DELETE FROM trine.jobs WHERE seq = $1 AND owner = $2 AND token = $3 AND state < 2 RETURNING message',
);

/** Primary key. */
const POSTPONE = statement(
  'postpone',
  `UPDATE trine.jobs j SET state = CASE WHEN l.delay > 0 THEN 1 ELSE 0 END, lease_group = NULL,
    due = CASE WHEN l.delay > 0 THEN trine.now_ms() + l.delay END,
    attempts = l.attempts, lost = l.lost, errors = l.errors
  FROM json_to_recordset($1) AS l (seq bigint, owner bigint, token bigint, delay bigint, attempts integer, lost integer, errors text)
  WHERE j.seq = l.seq AND j.owner = l.owner AND j.token = l.token
  RETURNING j.seq`,
);

/** Primary key. Nothing about the job changed; one that was never started was not delivered. */
const RELEASE = statement(
  'release',
  `UPDATE trine.jobs j SET state = CASE WHEN l.delay > 0 THEN 1 ELSE 0 END, lease_group = NULL,
    due = CASE WHEN l.delay > 0 THEN trine.now_ms() + l.delay END, leases = j.leases - l.unstarted
  FROM json_to_recordset($1) AS l (seq bigint, owner bigint, token bigint, delay bigint, unstarted integer)
  WHERE j.seq = l.seq AND j.owner = l.owner AND j.token = l.token AND j.state = 2`,
);

/** Primary key. A dead letter has its payload with it. */
const DEAD = statement(
  'dead',
  `WITH gone AS (
    DELETE FROM trine.jobs j
    USING json_to_recordset($1) AS l (seq bigint, owner bigint, token bigint, attempts integer, error text, code text, errors text, id text)
    WHERE j.seq = l.seq AND j.owner = l.owner AND j.token = l.token
    RETURNING j.*, l.attempts AS tried, l.error AS last, l.code AS last_code, l.errors AS all_errors, l.id AS new_id),
  kept AS (
    INSERT INTO trine.dead (line, job_id, receipt, function_id, namespace, priority, group_key, rate_key, size, created_at,
      attempts, max_attempts, backoff_ms, redrives, failed_at, error_code, error, errors, traceparent, baggage, options, metadata, data)
    SELECT line, coalesce(job_id, new_id), receipt, function_id, namespace, priority, group_key, rate_key, size, created_at,
      tried, max_attempts, backoff_ms, redrives, trine.now_ms(), last_code, last, all_errors, traceparent, baggage, options, metadata,
      coalesce(data, (SELECT m.data FROM trine.messages m WHERE m.id = message), 'null')
    FROM gone ORDER BY seq)
  SELECT seq, message FROM gone`,
);

/** Primary key; jobs_message. */
const DROP_MESSAGES = statement(
  'drop_messages',
  `DELETE FROM trine.messages WHERE id IN (
     SELECT m.id FROM trine.messages m WHERE m.id = ANY ($1::bigint[]) AND NOT m.held
       AND (m.keep_until IS NULL OR m.keep_until <= trine.now_ms())
       AND NOT EXISTS (SELECT FROM trine.jobs j WHERE j.message = m.id) FOR UPDATE SKIP LOCKED)`,
);

type Ending = { readonly lease: PgLease; readonly decision: Decision; readonly unstarted: boolean };
type Gone = { readonly seq: number; readonly message: number | null };

export class Ends {
  readonly #core: PgCore;
  readonly #batcher: Batcher<Ending, void>;
  readonly #stored: (lines: ReadonlySet<PgLine>, delayMs: number | undefined) => void;
  #unstored = 0;

  /** @param stored - ends of these lines are stored; the earliest of those put off is due after so long */
  constructor(core: PgCore, stored: (lines: ReadonlySet<PgLine>, delayMs: number | undefined) => void) {
    this.#core = core;
    this.#stored = stored;
    this.#batcher = new Batcher(core.host, { tryForMs: Infinity, patient: true }, (endings) => this.#store(endings));
  }

  get mayLease(): boolean {
    return this.#unstored < MAX_UNSTORED_ENDS;
  }

  async settle(lease: PgLease, decision: Decision, unstarted = false): Promise<void> {
    const core = this.#core;
    if (core.stopped) return;
    if (!unstarted) lease.line.held--;
    this.#unstored++;
    try {
      await this.#batcher.add({ lease, decision, unstarted }, 0);
    } catch (error) {
      if (!core.stopped) throw error;
    } finally {
      if (core.leases.get(lease.job.seq) === lease) core.leases.delete(lease.job.seq);
      if (this.#unstored-- === MAX_UNSTORED_ENDS) for (const line of core.lines.values()) core.events.ready(line);
    }
  }

  /** The handler answered after its lease was over. */
  async finishLate({ job, line, owner, token, startedAt }: PgLease): Promise<boolean> {
    const [gone] = await this.#core.server.query<Gone>(DONE_LATE, [job.seq, owner, token]);
    if (gone === undefined) return false;
    this.#core.record(line, job, 'done', startedAt);
    this.#dropMessages([gone]);
    this.#stored(new Set([line]), undefined);
    return true;
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

  async #store(endings: readonly Ending[]): Promise<readonly void[]> {
    const of = <Kind extends Decision['kind']>(kind: Kind) =>
      endings.filter(
        (each): each is Ending & { decision: Extract<Decision, { kind: Kind }> } => each.decision.kind === kind,
      );
    const done = of('done');
    const dead = of('dead');
    const postponed = of('postpone');
    const released = of('release');
    let earliestMs: number | undefined;
    if (done.length > 0) await this.#done(done);
    if (dead.length > 0) await this.#dead(dead);
    if (postponed.length > 0) {
      const rows = postponed.map(({ lease, decision }) => ({
        ...keyOf(lease),
        delay: decision.delayMs,
        attempts: decision.attempts,
        lost: decision.lost,
        errors: textOfFailures(decision.failures),
      }));
      await this.#core.server.query(POSTPONE, [JSON.stringify(rows)]);
    }
    if (released.length > 0) {
      const rows = released.map(({ lease, decision, unstarted }) => ({
        ...keyOf(lease),
        delay: decision.delayMs,
        unstarted: unstarted ? 1 : 0,
      }));
      await this.#core.server.query(RELEASE, [JSON.stringify(rows)]);
    }
    for (const { decision } of [...postponed, ...released]) {
      if (decision.delayMs > 0) earliestMs = Math.min(earliestMs ?? Infinity, decision.delayMs);
    }
    const lines = new Set(endings.map(({ lease }) => lease.line));
    const told = [...lines].filter((line) => line.shared || released.length > 0);
    this.#core.tell(told.flatMap(({ id }) => (id === undefined ? [] : [id])));
    this.#stored(lines, earliestMs);
    return endings.map(() => undefined);
  }

  async #done(endings: readonly Ending[]): Promise<void> {
    const keeping = new Set<number>();
    for (const { lease } of endings) {
      const { rules, id } = lease.line;
      if (rules !== undefined && rules.keepEndedMs > 0 && rules.keepEndedCount > 0 && id !== undefined) keeping.add(id);
    }
    const gone = await this.#core.server.query<Gone>(DONE, [
      endings.map(({ lease }) => lease.job.seq),
      endings.map(({ lease }) => lease.owner),
      endings.map(({ lease }) => lease.token),
      [...keeping],
    ]);
    for (const { lease } of endings) this.#core.record(lease.line, lease.job, 'done', lease.startedAt);
    this.#dropMessages(gone);
  }

  async #dead(
    endings: readonly (Ending & { readonly decision: Extract<Decision, { kind: 'dead' }> })[],
  ): Promise<void> {
    const rows = endings.map(({ lease, decision }) => ({
      ...keyOf(lease),
      attempts: decision.attempts,
      error: storable(decision.error),
      code: storable(decision.code),
      errors: textOfFailures(decision.failures),
      id: this.#core.host.random.uuid(),
    }));
    this.#dropMessages(await this.#core.server.query<Gone>(DEAD, [JSON.stringify(rows)]));
  }

  /** What nobody waits for any more. One that is missed here goes with the next sweep. */
  #dropMessages(gone: readonly Pick<Gone, 'message'>[]): void {
    const messages = [...new Set(gone.flatMap(({ message }) => (message === null ? [] : [message])))];
    if (messages.length > 0) this.#core.server.query(DROP_MESSAGES, [messages]).catch(() => undefined);
  }
}

function keyOf({ job, owner, token }: PgLease): {
  readonly seq: number;
  readonly owner: number;
  readonly token: number;
} {
  return { seq: job.seq, owner, token };
}
