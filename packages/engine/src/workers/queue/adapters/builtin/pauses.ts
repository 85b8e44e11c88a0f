/** Lines and lanes that wait because a rate is used up. */
import type { Timer } from '../../../../core/clock.js';
import { Alarm, type Entry } from './alarm.js';
import type { BuiltinCore } from './core.js';
import type { Lane } from './lane.js';
import type { Limiter } from './limiter.js';
import type { BuiltinLine } from './line.js';

interface Blocked extends Entry {
  readonly lane: Lane;
}

export class Pauses {
  readonly #core: BuiltinCore;
  readonly #lanes: Alarm<Blocked>;
  readonly #lines = new Map<BuiltinLine, Timer>();

  constructor(core: BuiltinCore) {
    this.#core = core;
    this.#lanes = new Alarm(core.host.clock, core.now, (due) => {
      for (const { lane } of due) lane.blocked = false;
      core.wakeAll(due.map(({ lane }) => lane));
    });
  }

  /** The rate of the whole queue is used up: it is asked again when it is not. */
  lineWaits(line: BuiltinLine, limiter: Limiter): boolean {
    const waitMs = limiter.waitMs(this.#core.now());
    if (waitMs <= 0) return false;
    if (!this.#lines.has(line)) {
      const timer = this.#core.setTimer(() => {
        this.#lines.delete(line);
        this.#core.events.ready(line);
      }, waitMs);
      this.#lines.set(line, timer);
    }
    return true;
  }

  /** The rate of the lane's next job is used up: the lane waits, others go on. */
  laneWaits(lane: Lane, rateKey: string | undefined, limiter: Limiter): boolean {
    const now = this.#core.now();
    const waitMs = limiter.waitOfKeyMs(rateKey, now);
    if (waitMs <= 0) return false;
    lane.blocked = true;
    this.#lanes.push({ due: now + waitMs, seq: lane.id, lane, dropped: false });
    return true;
  }

  stop(): void {
    this.#lanes.stop();
    for (const timer of this.#lines.values()) timer.cancel();
    this.#lines.clear();
  }
}
