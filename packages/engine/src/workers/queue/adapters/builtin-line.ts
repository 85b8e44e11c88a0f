import type { Line, LineSpec, LineStats } from './index.js';
import type { Lane } from './lane.js';

/** Jobs per line that are kept in memory when they are accepted; the rest is read when its turn comes. */
export const MAX_HELD_JOBS = 1_000;
/** Payload per line that is kept in memory when accepted, in UTF-16 units. */
export const MAX_HELD_LENGTH = 16 * 1024 * 1024;

export class BuiltinLine implements Line {
  readonly id: number;
  readonly kind: LineSpec['kind'];
  readonly name: string;
  readonly namespace: string;
  readonly functionId: string;
  readonly lanes = new Map<string, Lane>();
  /** Lanes that may run, in turn. */
  readonly round: Lane[] = [];
  settings: string;
  serial: boolean;
  offlineSince: number | undefined;
  endedAt: number | undefined;
  expired = 0;
  dead = 0;
  bytes = 0;
  /** Jobs of this line in memory, and their payload. */
  #held = 0;
  #heldLength = 0;
  readonly #isWaiting: (lane: Lane) => boolean;

  constructor(id: number, spec: LineSpec, settings: string, serial: boolean, isWaiting: (lane: Lane) => boolean) {
    this.id = id;
    this.kind = spec.kind;
    this.name = spec.name;
    this.namespace = spec.namespace;
    this.functionId = spec.functionId;
    this.settings = settings;
    this.serial = serial;
    this.#isWaiting = isWaiting;
  }

  get full(): boolean {
    return this.#held >= MAX_HELD_JOBS || this.#heldLength >= MAX_HELD_LENGTH;
  }

  hold(length: number): void {
    this.#held++;
    this.#heldLength += length;
  }

  letGo(length: number): void {
    this.#held--;
    this.#heldLength -= length;
  }

  get stats(): LineStats {
    let waiting = 0;
    let delayed = 0;
    let running = 0;
    let waitingForFunction = 0;
    for (const lane of this.lanes.values()) {
      const ready = lane.count - lane.delayed - lane.running - lane.ending;
      waiting += ready;
      delayed += lane.delayed;
      // A job whose end is not committed yet has not ended: it must not be missing from every count.
      running += lane.running + lane.ending;
      if (ready > 0 && this.#isWaiting(lane)) waitingForFunction += ready;
    }
    return { waiting, delayed, running, waitingForFunction, dead: this.dead, bytes: this.bytes };
  }
}
