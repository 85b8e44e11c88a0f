import type { Line, LineSpec, LineStats, QueueRules, SubscriptionSettings } from '../index.js';
import { bounds } from './bounds.js';
import { Fifo } from './fifo.js';
import type { Lane } from './lane.js';
import { Limiter } from './limiter.js';

/** Payload per line that is kept in memory when accepted, in UTF-16 units. */
export const MAX_HELD_LENGTH = 16 * 1024 * 1024;

interface Round {
  readonly priority: number;
  readonly lanes: Fifo<Lane>;
}

export class BuiltinLine implements Line {
  readonly id: number;
  readonly kind: LineSpec['kind'];
  readonly name: string;
  readonly namespace: string;
  readonly functionId: string;
  readonly lanes = new Map<string, Lane>();
  settings: SubscriptionSettings | undefined;
  rules: QueueRules | undefined;
  limiter: Limiter | undefined;
  serial: boolean;
  paused = false;
  offlineSince: number | undefined;
  endedAt: number | undefined;
  expired = 0;
  dead = 0;
  bytes = 0;
  /** Lanes that are being read from the store. */
  readonly reading = new Set<Lane>();
  /** Jobs of all its lanes that have not ended. */
  jobs = 0;
  /** Jobs that are leased. */
  leased = 0;
  /** Its backlog is being trimmed. */
  trimming = false;
  /** The log has told that its backlog is nearly full, or that it has many dead letters. */
  warnedBacklog = false;
  warnedDead = false;
  /** Lanes that may run, in turn; the highest priority first. */
  readonly #rounds: Round[] = [];
  /** Jobs of this line in memory, and their payload. */
  #held = 0;
  #heldLength = 0;

  constructor(id: number, spec: LineSpec, settings: SubscriptionSettings | undefined) {
    this.id = id;
    this.kind = spec.kind;
    this.name = spec.name;
    this.namespace = spec.namespace;
    this.functionId = spec.functionId;
    this.settings = settings;
    this.serial = settings?.fifo ?? false;
  }

  /** Jobs without a group form the group `""`. */
  get gathers(): boolean {
    return this.serial && this.kind === 'queue';
  }

  get full(): boolean {
    return this.#held >= bounds.heldJobs || this.#heldLength >= MAX_HELD_LENGTH;
  }

  hold(length: number): void {
    this.#held++;
    this.#heldLength += length;
  }

  letGo(length: number): void {
    this.#held--;
    this.#heldLength -= length;
  }

  apply(rules: QueueRules): void {
    this.rules = rules;
    if (this.limiter?.fits(rules) === true) return;
    this.limiter = rules.rate === undefined && rules.ratePerKey === undefined ? undefined : new Limiter(rules);
  }

  /** Jobs that are not leased. */
  get waiting(): number {
    return this.jobs - this.leased;
  }

  /** Puts a lane at the end of its round. */
  enter(lane: Lane): void {
    const rounds = this.#rounds;
    let at = 0;
    while (at < rounds.length && (rounds[at] as Round).priority > lane.priority) at++;
    let round = rounds[at];
    if (round?.priority !== lane.priority) {
      round = { priority: lane.priority, lanes: new Fifo<Lane>() };
      rounds.splice(at, 0, round);
    }
    round.lanes.push(lane);
  }

  /** The lane whose turn it is. While one of a higher priority is being read, the lower ones wait. */
  next(): Lane | undefined {
    let floor = 0;
    for (const { priority } of this.reading) if (priority > floor) floor = priority;
    for (const { priority, lanes } of this.#rounds) {
      if (priority < floor) return undefined;
      const lane = lanes.shift();
      if (lane !== undefined) return lane;
    }
    return undefined;
  }

  stats(isWaiting: (lane: Lane) => boolean): LineStats {
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
      if (ready > 0 && isWaiting(lane)) waitingForFunction += ready;
    }
    return { waiting, delayed, running, waitingForFunction, dead: this.dead, bytes: this.bytes };
  }
}
