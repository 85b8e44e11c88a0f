/** The lines: named queues, subscriptions, what other engines know of them. */
import type { LineSpec, QueueRules, SubscriptionSettings } from '../index.js';
import type { PgCore } from './core.js';
import type { Leases } from './leases.js';
import type { PgLine } from './line.js';
import { statement, type Query } from './server.js';

const ALL = statement(
  'lines',
  `SELECT id, kind, name, namespace, function_id, serial, paused, settings, offline_since, ended_at, expired
   FROM trine.lines ORDER BY id`,
);
/** Index lines_identity. Answers what the line was before. */
const OPEN = statement(
  'open',
  `WITH before AS (SELECT id, serial FROM trine.lines WHERE kind = 'queue' AND name = $1 AND namespace = '' AND function_id = ''),
  now AS (
    INSERT INTO trine.lines AS l (kind, name, namespace, function_id, serial, defaults) VALUES ('queue', $1, '', '', $2, $3)
    ON CONFLICT (kind, name, namespace, function_id) DO UPDATE SET serial = excluded.serial, defaults = excluded.defaults
      WHERE l.serial <> excluded.serial OR l.defaults::text IS DISTINCT FROM excluded.defaults::text
    RETURNING id)
  SELECT coalesce((SELECT id FROM now), (SELECT id FROM before)) AS id, (SELECT serial FROM before) AS was`,
);
const ARRANGE = statement('arrange', 'SELECT trine.arrange($1, $2)');
const PAUSE = statement('pause', 'UPDATE trine.lines SET paused = $2 WHERE id = $1');
const SUBSCRIBE = statement('subscribe', 'SELECT trine.subscribe($1, $2, $3, $4, $5, $6, $7, $8) AS id');
const CONSUME = statement(
  'consume',
  `INSERT INTO trine.consumers (line, owner) SELECT l.id, e.id FROM trine.lines l CROSS JOIN trine.engines e
   WHERE l.id = ANY ($1::bigint[]) AND e.id = $2 ON CONFLICT DO NOTHING`,
);
const BACK = statement(
  'back',
  `UPDATE trine.lines SET offline_since = NULL WHERE id = ANY ($1::bigint[]) AND offline_since IS NOT NULL AND ended_at IS NULL`,
);
const UNCONSUME = statement('unconsume', 'DELETE FROM trine.consumers WHERE line = $1 AND owner = $2');
const OFFLINE = statement(
  'line_offline',
  `UPDATE trine.lines SET offline_since = trine.now_ms() WHERE id = $1 AND offline_since IS NULL AND ended_at IS NULL
     AND NOT EXISTS (SELECT FROM trine.consumers WHERE line = $1) RETURNING offline_since`,
);
/** The last engine that served it ends it. */
const END = statement(
  'line_end',
  `UPDATE trine.lines SET ended_at = coalesce(ended_at, trine.now_ms()) WHERE id = $1
     AND NOT EXISTS (SELECT FROM trine.consumers WHERE line = $1) RETURNING ended_at`,
);

interface LineRow {
  readonly id: number;
  readonly kind: LineSpec['kind'];
  readonly name: string;
  readonly namespace: string;
  readonly function_id: string;
  readonly serial: boolean;
  readonly paused: boolean;
  readonly settings: string | null;
  readonly offline_since: number | null;
  readonly ended_at: number | null;
  readonly expired: number;
}

export class Lines {
  readonly #core: PgCore;
  readonly #leases: Leases;
  /** Queues as this engine is configured, for a server that comes back. */
  readonly #configured = new Map<string, QueueRules>();
  /** Subscriptions that this engine's workers serve. */
  readonly #served = new Set<PgLine>();

  constructor(core: PgCore, leases: Leases) {
    this.#core = core;
    this.#leases = leases;
  }

  /** Reads what other engines may have changed. A queue of this engine that someone deleted is made again. */
  async load(query: Query): Promise<void> {
    const core = this.#core;
    const seen = new Set<PgLine>();
    for (const row of await query<LineRow>(ALL)) {
      const { kind, name, namespace, function_id: functionId } = row;
      const line = core.line({ kind, name, namespace, functionId }, row.id);
      const resumed = line.paused && !row.paused;
      line.serial = row.serial;
      line.paused = row.paused;
      line.settings = row.settings === null ? undefined : (JSON.parse(row.settings) as SubscriptionSettings);
      line.offlineSince = row.offline_since ?? undefined;
      line.endedAt = row.ended_at ?? undefined;
      line.expired = row.expired;
      seen.add(line);
      if (resumed) core.events.ready(line);
      else if (line.paused) void this.#leases.giveBack(line);
    }
    const gone = [...this.#configured].filter(([name]) => !seen.has(core.line(queueSpec(name))));
    for (const [name, id] of await this.#store(query, new Map(gone))) seen.add(core.line(queueSpec(name), id));
    for (const line of [...core.lines.values()]) if (line.id !== undefined && !seen.has(line)) core.drop(line);
  }

  async list(filter: { readonly kind?: LineSpec['kind']; readonly name?: string }): Promise<readonly PgLine[]> {
    await this.load(this.#core.server.query);
    return [...this.#core.lines.values()].filter(
      ({ kind, name }) =>
        (filter.kind === undefined || kind === filter.kind) && (filter.name === undefined || name === filter.name),
    );
  }

  /** The queues are there, or will be when the server is: an engine starts without it too. */
  async open(rules: ReadonlyMap<string, QueueRules>): Promise<ReadonlyMap<string, PgLine>> {
    const { server } = this.#core;
    if (server.isReady) {
      const ids = await server.transaction((query) => this.#store(query, rules));
      for (const [name, id] of ids) this.#core.line(queueSpec(name), id);
    }
    const lines = new Map<string, PgLine>();
    for (const [name, queueRules] of rules) {
      const line = this.#core.line(queueSpec(name));
      line.rules = queueRules;
      line.room = 0;
      line.serial = queueRules.serial;
      this.#configured.set(name, queueRules);
      lines.set(name, line);
      this.#leases.wake(line, true);
    }
    if (server.isReady) this.changed();
    return lines;
  }

  async subscribe(spec: LineSpec, settings: SubscriptionSettings): Promise<PgLine> {
    const core = this.#core;
    const [row] = await core.server.query<{ readonly id: number }>(SUBSCRIBE, [
      spec.name,
      spec.namespace,
      spec.functionId,
      JSON.stringify(settings),
      settings.fifo,
      core.owner,
      settings.maxAttempts,
      settings.backoffMs,
    ]);
    const line = core.line(spec, row?.id);
    line.settings = settings;
    line.serial = settings.fifo;
    line.endedAt = undefined;
    line.offlineSince = undefined;
    this.#served.add(line);
    this.#leases.wake(line, true);
    this.changed();
    return line;
  }

  async leave(line: PgLine, how: 'offline' | 'ended'): Promise<void> {
    const core = this.#core;
    this.#served.delete(line);
    const id = core.idOf(line);
    await core.server.query(UNCONSUME, [id, core.owner]);
    if (how === 'ended') {
      const [row] = await core.server.query<{ readonly ended_at: number }>(END, [id]);
      line.endedAt = row?.ended_at;
    } else {
      const [row] = await core.server.query<{ readonly offline_since: number }>(OFFLINE, [id]);
      if (row !== undefined) line.offlineSince = row.offline_since;
    }
    this.changed();
  }

  async setPaused(line: PgLine, paused: boolean): Promise<void> {
    await this.#core.server.query(PAUSE, [this.#core.idOf(line), paused]);
    line.paused = paused;
    if (paused) await this.#leases.giveBack(line);
    else this.#core.events.ready(line);
    this.changed();
  }

  /** The server is there, for the first time or again: it learns what this engine is about. */
  async connected(query: Query): Promise<void> {
    for (const [name, id] of await this.#store(query, this.#configured)) this.#core.line(queueSpec(name), id);
    await this.enter(query);
    await this.load(query);
  }

  /** This engine has a new number. */
  async enter(query: Query): Promise<void> {
    const ids = [...this.#served].map(({ id }) => id);
    if (ids.length === 0) return;
    await query(CONSUME, [ids, this.#core.owner]);
    await query(BACK, [ids]);
  }

  /** Other engines read the lines again. */
  changed(): void {
    if (this.#core.others > 0) void this.#core.notify('lines');
  }

  async #store(query: Query, rules: ReadonlyMap<string, QueueRules>): Promise<Map<string, number>> {
    const ids = new Map<string, number>();
    // In one order, so that two engines that start at once do not wait for each other in a circle.
    for (const [name, { serial, defaults }] of [...rules].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const values = [name, serial, defaults === undefined ? null : JSON.stringify(defaults)];
      type Opened = { readonly id: number | null; readonly was: boolean | null };
      let [row] = await query<Opened>(OPEN, values);
      // Another engine made it in this moment: now it is seen.
      if (row?.id === null) [row] = await query<Opened>(OPEN, values);
      if (typeof row?.id !== 'number') throw new Error(`queue ${name} could not be made`);
      ids.set(name, row.id);
      if (row.was !== null && row.was !== serial) await query(ARRANGE, [row.id, serial]);
    }
    return ids;
  }
}

function queueSpec(name: string): LineSpec {
  return { kind: 'queue', name, namespace: '', functionId: '' };
}
