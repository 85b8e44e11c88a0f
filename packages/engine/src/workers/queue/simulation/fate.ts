/** What the client knows of what it sent, and of each receipt that it has seen. */
import type { Execution } from './router.js';

/** A job or a message that the client sent, once. */
export interface Sent {
  readonly id: number;
  readonly kind: 'job' | 'message';
  /** The queue or topic. */
  readonly place: string;
  /** Of a job. */
  readonly functionId: string | undefined;
  readonly group: string | undefined;
  /** Payloads that may be delivered: dead letters can be edited. */
  readonly payloads: Set<string>;
  /** Its place in what the client did. */
  readonly tick: number;
  readonly life: number;
  /** Jobs that were sent as one. */
  readonly batch: number | undefined;
  readonly options: SentOptions;
  /** When it was sent: what had passed, the system's clock, and how often that had been set. */
  readonly sentMs: number;
  readonly sentWallMs: number;
  readonly jumps: number;
  /**
   * sent -> acknowledged | deduplicated | refused (for certain) | unsure (an error that leaves it open, or no answer)
   */
  state: 'sent' | 'acknowledged' | 'deduplicated' | 'refused' | 'unsure';
  ackedTick: number | undefined;
  receipt: string | undefined;
  /** Of a message: subscriptions that must get it. */
  readonly owed: ReadonlySet<string>;
  /** Of a message: no subscription could be there, so the first one gets it. */
  readonly held: boolean;
}

/** What a job asked for. */
export interface SentOptions {
  readonly maxAttempts: number;
  readonly delayMs?: number;
  readonly runAtMs?: number;
  readonly expiresAtMs?: number;
  readonly uniqueKey?: string;
  readonly uniqueMs?: number;
  readonly rateKey?: string;
}

/** One receipt. */
export class Fate {
  /** Failures and timeouts that the engine heard of, since the last redrive. */
  failures = 0;
  /** The life of the engine that heard of the last one. */
  failedIn = -1;
  /** Wait that the last failure asks for: not before this, in milliseconds that passed. */
  notBeforeMs = -Infinity;
  /** Attempts that deliveries have told, since the last redrive. */
  shown = 0;
  lostInARow = 0;
  starts = 0;
  running: Execution | undefined;
  /** The life of the engine that heard of a success in time. */
  doneIn: number | undefined;
  /** A success was told after its timeout: it counts if it came before the next lease. */
  lateDone = false;
  /** When it used up its attempts, was lost too often or was rejected: it may be a dead letter. */
  exhausted: { readonly tick: number; readonly life: number } | undefined;
  /** It may have been a dead letter before: its unique key is free. */
  hadDied = false;
  /** A final state that the engine told. */
  final: string | undefined;
  finalTick = Infinity;
  /** What the client did or asked that may have ended it without a run. */
  readonly excuses = new Set<string>();

  constructor(
    readonly receipt: string,
    readonly sent: Sent,
    /** Queue, or subscription as `topic::function`. */
    readonly line: string,
    /** What it stands in order with: the group of a fifo line. */
    readonly group: string | undefined,
    readonly maxAttempts: number,
    readonly replayed: boolean,
    /** Earliest and latest place in the order of its group. */
    public from: number,
    public to: number,
  ) {}

  get isDone(): boolean {
    return this.doneIn !== undefined || this.lateDone;
  }

  /** Has it ended, as far as the client could say? */
  get mayHaveEnded(): boolean {
    return (
      this.isDone || this.hadDied || this.exhausted !== undefined || this.final !== undefined || this.excuses.size > 0
    );
  }
}
