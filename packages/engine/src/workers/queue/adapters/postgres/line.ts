import { Fifo } from '../builtin/fifo.js';
import type { Lease, Line, LineSpec, QueueRules, SubscriptionSettings } from '../index.js';

/** A lane as the last look at the server saw it: which function its next job calls. */
export interface Lane {
  readonly lane: string;
  readonly functionId: string;
  readonly namespace: string;
  readonly rateKey: string | undefined;
}

export interface PgLease extends Lease {
  readonly line: PgLine;
  /** The engine that leased it, as the server numbers them, and the lease. */
  readonly owner: number;
  readonly token: number;
  /** Wall clock, milliseconds. */
  readonly startedAt: number;
}

/** A line as this engine holds it. What the server knows of it is read into it from time to time. */
export class PgLine implements Line {
  /** Undefined until the server has it: an engine that starts during an outage names its queues all the same. */
  id: number | undefined;
  readonly kind: LineSpec['kind'];
  readonly name: string;
  readonly namespace: string;
  readonly functionId: string;
  settings: SubscriptionSettings | undefined;
  rules: QueueRules | undefined;
  serial: boolean;
  paused = false;
  offlineSince: number | undefined;
  endedAt: number | undefined;
  expired = 0;
  /** How many jobs this engine wants at once. */
  demand = 0;
  /** Leased by this engine and not ended: at hand or running. */
  held = 0;
  /** Leased, not asked for yet. */
  readonly atHand = new Fifo<PgLease>();
  /** Someone asked for a job and got none. */
  hungry = false;
  fetching = false;
  /** Something changed while a fetch was under way. */
  again = false;
  lanes: readonly Lane[] = [];
  /** When the lanes were looked at, steady clock. */
  lanesAt = -Infinity;
  /** The lane behind which the next look begins. */
  cursor = '';
  /** Estimate of what waits for a subscription, and what was published since it was counted. */
  backlog = 0;
  backlogLength = 0;
  /** The same when it was counted. */
  counted = 0;
  countedLength = 0;
  /** Its backlog is being counted and trimmed; something came meanwhile. */
  watching = false;
  watchAgain = false;
  /** Of a queue with `maxWaiting`: how many more it takes before it is counted again. */
  room = 0;
  counting: Promise<void> | undefined;
  warnedBacklog = false;
  warnedDead = false;

  constructor(spec: LineSpec) {
    this.kind = spec.kind;
    this.name = spec.name;
    this.namespace = spec.namespace;
    this.functionId = spec.functionId;
    this.serial = false;
  }

  /** Its starts are bounded over all engines. */
  get limited(): boolean {
    const { rules } = this;
    return (
      rules !== undefined &&
      (rules.rate !== undefined || rules.ratePerKey !== undefined || rules.globalConcurrency !== undefined)
    );
  }

  /** An end here may let another engine start something. */
  get shared(): boolean {
    return this.serial || this.rules?.globalConcurrency !== undefined;
  }
}

export function keyOf({ kind, name, namespace, functionId }: LineSpec): string {
  return `${kind}\u0000${name}\u0000${namespace}\u0000${functionId}`;
}
