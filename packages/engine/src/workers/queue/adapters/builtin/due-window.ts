/**
 * The next postponed jobs of one clock. All that are due up to the horizon are in memory, those beyond
 * it are in the store alone; when memory runs low, more are read and the horizon moves.
 */
import { toErrorBody } from '@trine/protocol';
import type { DueRow } from '../../store.js';
import { Alarm } from './alarm.js';
import { bounds } from './bounds.js';
import { isClosed, STORE_AGAIN_MS, type BuiltinCore } from './core.js';
import type { Delayed } from './delays.js';

export class DueWindow {
  readonly #core: BuiltinCore;
  readonly #isWall: boolean;
  readonly #alarm: Alarm<Delayed>;
  readonly #evicted: (entry: Delayed) => void;
  readonly #isHeld: (seq: number) => boolean;
  readonly #entries = new Map<number, Delayed>();
  #horizonDue = Infinity;
  #horizonSeq = Infinity;
  /** Latest time of those that became due: the horizon never falls behind it, or they would be read again. */
  #passed = -1;
  #isReading = false;
  /** What was added beyond the horizon, or left the store, while more is read. */
  #addedMeanwhile: Delayed[] = [];
  readonly #forgotten = new Set<number>();
  /** Grows when all is read anew: what an older read brings is not taken. */
  #generation = 0;

  constructor(
    core: BuiltinCore,
    isWall: boolean,
    now: () => number,
    run: (due: readonly Delayed[]) => void,
    evicted: (entry: Delayed) => void,
    isHeld: (seq: number) => boolean,
  ) {
    this.#core = core;
    this.#isWall = isWall;
    this.#evicted = evicted;
    this.#isHeld = isHeld;
    this.#alarm = new Alarm(core.host.clock, now, (due) => {
      // Those that the store knows lie before the horizon; past one that it does not know, some may be unread.
      this.pass(due.findLast(({ stored }) => stored)?.due ?? -1);
      run(due);
    });
  }

  /** Reads the first of those that are stored. */
  async start(): Promise<void> {
    this.#horizonDue = this.#horizonSeq = -1;
    await this.#read();
  }

  /** Those that the store does not know of. */
  unstored(): readonly Delayed[] {
    return [...this.#entries.values()].filter(({ stored }) => !stored);
  }

  /** Lets go of all that the store has, and of what is being read. Nothing becomes due before `start`. */
  forgetStored(): void {
    this.#generation++;
    this.#isReading = false;
    this.#addedMeanwhile = [];
    this.#forgotten.clear();
    this.#passed = -1;
    for (const entry of this.#entries.values()) {
      if (!entry.stored) continue;
      this.#entries.delete(entry.seq);
      this.#alarm.drop(entry);
    }
  }

  get(seq: number): Delayed | undefined {
    return this.#entries.get(seq);
  }

  isBeyond(due: number, seq: number): boolean {
    return due > this.#horizonDue || (due === this.#horizonDue && seq > this.#horizonSeq);
  }

  /** Something was due at that time, and is not delayed any more. */
  pass(due: number): void {
    this.#passed = Math.max(this.#passed, due);
  }

  /** Answers whether it stays in memory. */
  add(entry: Delayed): boolean {
    if (entry.stored && this.isBeyond(entry.due, entry.seq)) {
      if (this.#isReading) this.#addedMeanwhile.push(entry);
      return false;
    }
    this.#put(entry);
    if (this.#entries.size > 2 * bounds.heldDelayed && !this.#isReading) this.#evict();
    return !entry.dropped;
  }

  remove(entry: Delayed): void {
    this.#entries.delete(entry.seq);
    this.#alarm.drop(entry);
    this.#refill();
  }

  /** It is not delayed any more. */
  done(entry: Delayed): void {
    this.#entries.delete(entry.seq);
    this.#refill();
  }

  /** One is not in the store any more: a read that began before may show it. */
  left(seq: number): void {
    if (this.#isReading) this.#forgotten.add(seq);
  }

  stop(): void {
    this.#alarm.stop();
  }

  #put(entry: Delayed): void {
    this.#entries.set(entry.seq, entry);
    this.#alarm.push(entry);
  }

  /** The latest ones go, and the horizon comes nearer. */
  #evict(): void {
    const stored = [...this.#entries.values()].filter((entry) => entry.stored);
    stored.sort((a, b) => a.due - b.due || a.seq - b.seq);
    const last = stored[bounds.heldDelayed - 1];
    if (last === undefined) return;
    const hasPassed = last.due <= this.#passed;
    this.#horizonDue = hasPassed ? this.#passed : last.due;
    this.#horizonSeq = hasPassed ? Infinity : last.seq;
    for (const entry of stored.slice(bounds.heldDelayed)) {
      if (!this.isBeyond(entry.due, entry.seq)) continue;
      this.#evicted(entry);
      this.#entries.delete(entry.seq);
      this.#alarm.drop(entry);
    }
  }

  #refill(): void {
    if (this.#horizonDue === Infinity || this.#isReading || this.#entries.size * 2 > bounds.heldDelayed) return;
    void this.#read();
  }

  async #read(): Promise<void> {
    this.#isReading = true;
    const generation = this.#generation;
    const limit = bounds.heldDelayed;
    try {
      const rows = await this.#core.store.read<DueRow[]>(
        'due',
        this.#isWall ? 1 : 0,
        this.#horizonDue,
        this.#horizonSeq,
        limit,
      );
      if (generation === this.#generation) this.#take(rows, rows.length < limit);
    } catch (error) {
      if (isClosed(error) || generation !== this.#generation) return;
      this.#core.host.log.error('postponed jobs could not be read from the store: trying again', {
        error: toErrorBody(error).message,
      });
      this.#core.setTimer(() => {
        if (generation === this.#generation) void this.#read();
      }, STORE_AGAIN_MS);
    }
  }

  #take(rows: readonly DueRow[], isAll: boolean): void {
    const last = rows.at(-1);
    this.#horizonDue = isAll ? Infinity : (last?.due ?? Infinity);
    this.#horizonSeq = isAll ? Infinity : (last?.seq ?? Infinity);
    for (const { seq, lane: id, due } of rows) {
      const { lanesById, leases, unanswered } = this.#core;
      const lane = lanesById.get(id);
      // Those on their way here come by themselves.
      if (lane === undefined || leases.has(seq) || unanswered.has(seq)) continue;
      if (this.#isHeld(seq) || this.#forgotten.has(seq)) continue;
      this.#put({ due, seq, lane, job: undefined, wall: this.#isWall, stored: true, dropped: false });
    }
    const added = this.#addedMeanwhile;
    this.#addedMeanwhile = [];
    for (const entry of added) {
      if (this.isBeyond(entry.due, entry.seq) || this.#isHeld(entry.seq) || this.#forgotten.has(entry.seq)) continue;
      entry.job = undefined;
      this.#put(entry);
    }
    this.#forgotten.clear();
    this.#isReading = false;
    this.#refill();
  }
}
