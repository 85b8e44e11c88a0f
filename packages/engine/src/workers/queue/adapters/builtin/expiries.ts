/**
 * Jobs whose time is over before they started. The store knows all times, memory the next one only:
 * most such jobs run long before, and must not be remembered until then.
 *
 *   waiting -> looking   the next time has come (looked at each minute: the wall clock may be set)
 *   looking -> waiting   all that is over was ended, a chunk at a time
 *
 * Those that run are passed: when they come back, `reserve` looks at their time.
 */
import { toErrorBody } from '@trine/protocol';
import type { Timer } from '../../../../core/clock.js';
import type { ExpiryRow } from '../../store.js';
import { MAX_SLEEP_MS } from './alarm.js';
import { bounds } from './bounds.js';
import { isClosed, STORE_AGAIN_MS, type BuiltinCore } from './core.js';

export class Expiries {
  readonly #core: BuiltinCore;
  readonly #end: (seqs: readonly number[]) => Promise<void>;
  /** Wall clock, milliseconds. */
  #nextAt = Infinity;
  /** The last one that was looked at. */
  #passed: ExpiryRow = { seq: -1, at: -1 };
  #timer: Timer | undefined;
  #isLooking = false;
  #stopped = false;

  /** @param end - ends those of these jobs that do not run */
  constructor(core: BuiltinCore, end: (seqs: readonly number[]) => Promise<void>) {
    this.#core = core;
    this.#end = end;
  }

  /** A stored job is over at a time of the wall clock, in milliseconds. */
  add(seq: number, at: number): void {
    const passed = this.#passed;
    if (at < passed.at || (at === passed.at && seq <= passed.seq)) this.#passed = { seq: seq - 1, at };
    if (at >= this.#nextAt) return;
    this.#nextAt = at;
    this.#arm();
  }

  /** What expires is told again. */
  forget(): void {
    this.#timer?.cancel();
    this.#nextAt = Infinity;
    this.#passed = { seq: -1, at: -1 };
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #arm(): void {
    this.#timer?.cancel();
    if (this.#stopped || this.#isLooking || this.#nextAt === Infinity) return;
    const sleepMs = Math.min(Math.max(0, this.#nextAt - this.#core.host.clock.now()), MAX_SLEEP_MS);
    this.#timer = this.#core.setTimer(() => {
      if (this.#nextAt <= this.#core.host.clock.now()) void this.#look();
      else this.#arm();
    }, sleepMs);
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    try {
      for (;;) {
        this.#nextAt = Infinity; // what is added meanwhile says so
        const { at, seq } = this.#passed;
        const rows = await this.#core.store.read<ExpiryRow[]>('expiries', at, seq, bounds.chunkJobs);
        const now = this.#core.host.clock.now();
        const over = rows.filter((row) => row.at <= now);
        if (over.length > 0) await this.#end(over.map((row) => row.seq));
        // Unless an earlier one was added meanwhile.
        if (this.#passed.at === at && this.#passed.seq === seq) this.#passed = over.at(-1) ?? this.#passed;
        if (over.length === bounds.chunkJobs) continue;
        this.#nextAt = Math.min(this.#nextAt, rows[over.length]?.at ?? Infinity);
        break;
      }
    } catch (error) {
      if (isClosed(error)) return;
      this.#core.host.log.error('expired jobs could not be ended: trying again', {
        error: toErrorBody(error).message,
      });
      await this.#core.wait(STORE_AGAIN_MS);
      this.#nextAt = Math.min(this.#nextAt, this.#core.host.clock.now());
    }
    this.#isLooking = false;
    this.#arm();
  }
}
