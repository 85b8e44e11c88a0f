/**
 * What the fault tests hold against the promises. Loads keep logs of what they sent, what was
 * acknowledged and what their handlers saw, and tell an auditor wherever a log contradicts one of:
 *
 * - `I1` what was acknowledged is durable, and nothing exists that nobody sent
 * - `I2` a receipt is in one state, and a final one stays
 * - `I3` a job is leased to one consumer at a time
 * - `I4` attempts are handler failures and timeouts, nothing else
 * - `I5` order inside a group, judged by handler starts
 * - `I6` a call gets one answer, and it goes to the one who asked
 * - `refused`: no promise, but no load asks for what an engine that serves would refuse
 *
 * No log looks into the engine: all that counts is what its clients can see.
 */
export type Invariant = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'refused';

/** Faults that are kept in words; the rest is counted: one cause usually makes thousands. */
const MAX_KEPT = 20;

export class Auditor {
  readonly #kept: string[] = [];
  #count = 0;

  tell(invariant: Invariant, what: string): void {
    this.#count++;
    if (this.#kept.length < MAX_KEPT) this.#kept.push(`${invariant}: ${what}`);
  }

  /** An answer that nobody waits for goes to the wrong one, or is the second. */
  checkAnswers(client: { readonly strayAnswers: number }): void {
    if (client.strayAnswers > 0) this.tell('I6', `${client.strayAnswers} answers came to nobody`);
  }

  /** Faults so far. */
  get count(): number {
    return this.#count;
  }

  /** To be compared with an empty list, so that a failing test shows what happened. */
  get faults(): readonly string[] {
    const more = this.#count - this.#kept.length;
    return more === 0 ? this.#kept : [...this.#kept, `and ${more} more`];
  }
}
