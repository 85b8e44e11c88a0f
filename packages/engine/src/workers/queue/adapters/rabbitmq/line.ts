import type { Line, LineSpec, QueueRules, SubscriptionSettings } from '../index.js';
import type { LineConsumer } from './consumer.js';
import { FIRST_ABSENTS, FIRST_DELAYS, namesOf, type LineNames } from './names.js';
import type { Entry } from './registry.js';

/** One line as this engine holds it. */
export class RabbitLine implements Line {
  readonly kind: LineSpec['kind'];
  readonly name: string;
  readonly namespace: string;
  readonly functionId: string;
  readonly names: LineNames;
  settings: SubscriptionSettings | undefined;
  rules: QueueRules | undefined;
  serial = false;
  paused = false;
  offlineSince: number | undefined;
  endedAt: number | undefined;
  /** Nothing is counted as it goes: there are no bounds of a backlog here. */
  readonly expired = 0;
  /** This engine has opened or subscribed it: it is declared again after each reconnect. */
  isOurs = false;
  /** What this engine said of the subscription is not in the registry yet, and newer than what is. */
  isUnsaved = false;
  /** Level queues that exist as far as known, as bits. */
  delays = FIRST_DELAYS;
  absents = FIRST_ABSENTS;
  /** Level queues that were declared on this connection. */
  readonly declared = new Set<string>();
  /** A classic queue without single active consumer that must have one consumer: it is consumed exclusively. */
  exclusive = false;
  hasPriorities = false;
  /** What it was declared with. */
  maxPriority: number | undefined;
  consumer!: LineConsumer;

  constructor({ kind, name, namespace, functionId }: LineSpec) {
    this.kind = kind;
    this.name = name;
    this.namespace = namespace;
    this.functionId = functionId;
    this.names = namesOf(this);
  }

  /** Takes over what the registry says; what this engine said itself is newer. */
  learn(entry: Entry, engine: string): void {
    this.paused = entry.pausedBy.includes(engine);
    if (!this.isUnsaved) {
      this.offlineSince = entry.offlineSince;
      this.endedAt = entry.endedAt;
    }
    this.delays |= entry.delays;
    this.absents |= entry.absents;
    if (!this.isOurs) this.settings = entry.settings;
  }
}
