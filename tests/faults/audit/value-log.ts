import type { Auditor } from './auditor.js';

/**
 * What its writer knows of one value. `newest`: each write brings a higher number, and they are made in
 * order; `counted`: each write adds one.
 */
export class ValueLog {
  readonly key: string;
  readonly #auditor: Auditor;
  readonly #kind: 'newest' | 'counted';
  #sent = 0;
  #acknowledged = 0;

  constructor(auditor: Auditor, key: string, kind: 'newest' | 'counted') {
    this.#auditor = auditor;
    this.key = key;
    this.#kind = kind;
  }

  /** About to write: its number. */
  sent(): number {
    return ++this.#sent;
  }

  acknowledge(number: number): void {
    this.#acknowledged = this.#kind === 'counted' ? this.#acknowledged + 1 : Math.max(this.#acknowledged, number);
  }

  /**
   * Reads it back, also while writes go on: a value is at least as new as what was acknowledged before
   * the read began, and no newer than what was sent when it ended.
   */
  async check(read: () => Promise<number>): Promise<void> {
    const acknowledged = this.#acknowledged;
    const stored = await read();
    if (stored < acknowledged)
      this.#auditor.tell('I1', `lost: ${this.key} is at ${stored}, ${acknowledged} was acknowledged`);
    if (stored > this.#sent)
      this.#auditor.tell('I1', `ghost: ${this.key} is at ${stored}, only ${this.#sent} was sent`);
  }
}
