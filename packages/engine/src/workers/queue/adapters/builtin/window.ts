/** Fills the windows of lanes from the store. */
import { toErrorBody } from '@trine/protocol';
import type { Job } from '../../job.js';
import type { JobRow } from '../../store.js';
import { isClosed, STORE_AGAIN_MS, type BuiltinCore } from './core.js';
import type { Lane } from './lane.js';
import type { BuiltinLine } from './line.js';

export class Windows {
  readonly #core: BuiltinCore;
  /** Jobs that are being withdrawn: until that is committed, a page may still show them. */
  readonly withdrawn = new Set<number>();

  constructor(core: BuiltinCore) {
    this.#core = core;
  }

  /** A job was accepted: does it stay in memory? If not, it is read from the store when its turn comes. */
  keeps(lane: Lane, seq: number): boolean {
    const inMemory =
      !lane.hasMoreStored && !lane.loading && lane.parkedOn === undefined && seq > lane.cursor && !lane.line.full;
    if (seq > lane.last) lane.last = seq;
    if (!inMemory) this.#core.wake(lane);
    return inMemory;
  }

  async readPage(lane: Lane): Promise<void> {
    const { line } = lane;
    this.#core.gate.enter();
    lane.startLoad();
    line.reading.add(lane);
    const { last } = lane; // all up to here was answered, so the read sees it
    try {
      const rows = await this.#core.store.read<JobRow[]>('page', lane.id, lane.cursor, lane.pageSize);
      if (!lane.merged && !lane.dropped) this.#append(lane, rows, last);
      this.#loaded(lane);
    } catch (error) {
      if (isClosed(error)) return;
      this.#core.host.log.error('jobs could not be read from the store: trying again', {
        queue: lane.line.name,
        error: toErrorBody(error).message,
      });
      this.#core.setTimer(() => {
        this.#loaded(lane);
      }, STORE_AGAIN_MS);
    }
  }

  /** What runs next, in order of priority, then as it stands in each lane. */
  async peek(line: BuiltinLine, limit: number): Promise<readonly Job[]> {
    const jobs: Job[] = [];
    for (const lane of [...line.lanes.values()].sort((a, b) => b.priority - a.priority)) {
      if (jobs.length >= limit) break;
      const rows = await this.#core.store.read<JobRow[]>('page', lane.id, -1, limit + lane.running + lane.ending);
      const first = new Set(lane.front.map(({ seq }) => seq));
      const ready = [
        ...lane.front,
        ...rows.filter((row) => row.damaged === 0 && !first.has(row.seq)).map((row) => this.#core.jobOf(row)),
      ];
      jobs.push(...ready.filter(({ seq }) => !this.#core.leases.has(seq)).slice(0, limit - jobs.length));
    }
    return jobs;
  }

  #loaded(lane: Lane): void {
    this.#core.gate.leave();
    lane.endLoad();
    const { line } = lane;
    if (!lane.loading) line.reading.delete(lane);
    // Lanes of lower priorities waited for it, whether or not it has something now.
    if (!this.#core.enqueue(lane) && lane.priority === 0) return;
    this.#core.events.ready(line);
  }

  #append(lane: Lane, rows: readonly JobRow[], last: number): void {
    for (const row of rows) {
      if (lane.knows(row.seq) || this.withdrawn.has(row.seq)) {
        lane.cursor = row.seq;
      } else if (row.damaged === 0) {
        lane.append(this.#core.jobOf(row));
      } else {
        // It goes to the quarantine and is nobody's job any more.
        lane.cursor = row.seq;
        this.#core.jobEnded(lane, row.size);
      }
    }
    // A page that the store cut short says nothing about what follows its last job.
    if (rows.length === 0) lane.cursor = Math.max(lane.cursor, last);
    lane.last = Math.max(lane.last, lane.cursor);
  }
}
