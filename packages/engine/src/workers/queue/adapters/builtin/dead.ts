/** Dead letters: browsed page by page, moved back, changed, deleted. */
import type { DeadKey, DeadRow, EndedRow } from '../../store.js';
import type { DeadPage, DeadQuery, Line, RedriveOptions } from '../index.js';
import { MANY_DEAD_LETTERS } from '../rules.js';
import { bounds } from './bounds.js';
import { extrasOf, type BuiltinCore } from './core.js';
import type { Lane } from './lane.js';
import type { BuiltinLine } from './line.js';

export class DeadStore {
  readonly #core: BuiltinCore;

  constructor(core: BuiltinCore) {
    this.#core = core;
  }

  async browse(lines: readonly Line[], query: DeadQuery): Promise<DeadPage> {
    const byId = new Map(lines.map((line) => [(line as BuiltinLine).id, line]));
    if (byId.size === 0) return { letters: [], total: 0, cut: false };
    const { offset, limit, maxBytes, filter = {} } = query;
    const { rows, total, cut } = await this.#core.store.read<{
      readonly rows: readonly DeadRow[];
      readonly total: number;
      readonly cut: boolean;
    }>('browseDead', [...byId.keys()], offset, limit, maxBytes, { ...filter });
    const letters = rows.map((row) => ({
      line: byId.get(row.line) as Line,
      jobId: row.jobId,
      receipt: row.receipt,
      functionId: row.functionId,
      data: row.data,
      attempts: row.attempts,
      failures: row.errors ?? '[]',
      error: row.error,
      code: row.errorCode,
      failedAt: row.failedAt,
    }));
    return { letters, total, cut };
  }

  async redrive(line: BuiltinLine, options: RedriveOptions = {}): Promise<number> {
    let left = Math.min(line.dead, options.limit ?? Infinity); // what is dead-lettered meanwhile is for the next time
    let redriven = 0;
    while (left > 0) {
      const keys = await this.#core.store.read<DeadKey[]>('deadKeys', line.id, Math.min(bounds.chunkJobs, left));
      if (keys.length === 0) break;
      redriven += await this.#move(line, keys, options);
      left -= keys.length;
    }
    return redriven;
  }

  async redriveOne(lines: readonly Line[], id: string, options: RedriveOptions = {}): Promise<boolean> {
    for (const { key, line } of await this.#find(lines, id)) {
      if ((await this.#move(line, [key], options)) > 0) return true;
    }
    return false;
  }

  async discardOne(lines: readonly Line[], id: string): Promise<boolean> {
    for (const { key, line } of await this.#find(lines, id)) {
      if (!(await this.#core.store.write<boolean>('discard', key.seq))) continue;
      line.dead--;
      this.#core.record(line, key, 'discarded');
      return true;
    }
    return false;
  }

  async edit(
    lines: readonly Line[],
    id: string,
    { data, functionId }: { readonly data?: string | undefined; readonly functionId?: string | undefined },
  ): Promise<boolean> {
    for (const { key } of await this.#find(lines, id)) {
      if (await this.#core.store.write<boolean>('editDead', key.seq, data ?? null, functionId ?? null)) return true;
    }
    return false;
  }

  async purge(line: BuiltinLine): Promise<number> {
    let purged = 0;
    for (;;) {
      const count = await this.#drop(line, Number.MAX_SAFE_INTEGER, 'purged');
      purged += count;
      if (count < bounds.chunkJobs) return purged;
    }
  }

  async #drop(line: BuiltinLine, before: number, state: 'purged' | 'discarded'): Promise<number> {
    const rows = await this.#core.store.write<EndedRow[]>('dropDead', line.id, before, bounds.chunkJobs);
    line.dead -= rows.length;
    for (const row of rows) this.#core.record(line, row, state);
    return rows.length;
  }

  async sweep(): Promise<void> {
    const now = this.#core.host.clock.now();
    for (const line of [...this.#core.lines.values()]) {
      const keepMs = line.rules?.keepDeadMs ?? 0;
      if (keepMs > 0 && line.dead > 0) {
        while ((await this.#drop(line, now - keepMs, 'discarded')) === bounds.chunkJobs);
      }
      if (line.dead < MANY_DEAD_LETTERS) line.warnedDead = false;
    }
  }

  /** One more dead letter. */
  added(line: BuiltinLine): void {
    line.dead++;
    if (line.dead < MANY_DEAD_LETTERS || line.warnedDead) return;
    line.warnedDead = true;
    this.#core.host.log.warn(
      'many dead letters: they stay until someone acts. See them with engine::queue::dlq_browse, run them again with iii::queue::redrive or drop them with iii::queue::purge',
      { [line.kind === 'queue' ? 'queue' : 'topic']: line.name, dead_letters: line.dead },
    );
  }

  async #find(lines: readonly Line[], id: string): Promise<{ readonly key: DeadKey; readonly line: BuiltinLine }[]> {
    const byId = new Map(lines.map((line) => [(line as BuiltinLine).id, line as BuiltinLine]));
    const keys = await this.#core.store.read<DeadKey[]>('findDead', id);
    return keys.flatMap((key) => {
      const line = byId.get(key.line);
      return line === undefined ? [] : [{ key, line }];
    });
  }

  async #move(line: BuiltinLine, keys: readonly DeadKey[], { restamp }: RedriveOptions): Promise<number> {
    const core = this.#core;
    const moves: (string | number | null)[] = [];
    const bySeq = new Map<number, { readonly lane: Lane; readonly size: number }>();
    for (const key of keys) {
      const group = key.group ?? (line.gathers ? '' : null);
      const before = extrasOf(key.options);
      // A unique key and an expiry were about the first life; its place and its own backoff stay.
      const kept = {
        ...(before?.priority === undefined ? {} : { priority: before.priority }),
        ...(before?.rateKey === undefined ? {} : { rateKey: before.rateKey }),
        ...(before?.timeoutMs === undefined ? {} : { timeoutMs: before.timeoutMs }),
        ...(before?.backoffListMs === undefined || restamp !== undefined
          ? {}
          : { backoffListMs: before.backoffListMs }),
        ...(before?.replayed === undefined ? {} : { replayed: before.replayed }),
      };
      const extras = Object.keys(kept).length === 0 ? undefined : kept;
      const lane = core.laneOf(line, key.functionId, key.namespace, group ?? undefined, extras);
      const seq = core.seqs();
      lane.count++;
      moves.push(key.seq, seq, lane.id, group, extras === undefined ? null : JSON.stringify(extras));
      bySeq.set(seq, { lane, size: key.size });
    }
    let moved: ReadonlySet<number>;
    try {
      moved = new Set(
        await core.store.write<number[]>('redrive', moves, restamp?.maxAttempts ?? null, restamp?.backoffMs ?? null),
      );
    } catch (error) {
      for (const { lane } of bySeq.values()) core.uncount(lane.current);
      throw error;
    }
    for (const [seq, { lane: from, size }] of bySeq) {
      const lane = from.current;
      if (!moved.has(seq)) {
        core.uncount(lane);
        continue;
      }
      line.dead--;
      line.bytes += size;
      lane.last = Math.max(lane.last, seq);
      core.wake(lane);
    }
    return moved.size;
  }
}
