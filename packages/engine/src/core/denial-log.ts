/**
 * Tells the log what access rules kept a session from doing. Lines wait for a moment: most clients
 * register first and say their name last, and a session that is refused all the time fills no log.
 */
import type { Clock, Timer } from './clock.js';
import type { Log, LogFields } from './log.js';
import type { Session } from './session.js';

/** How long denials are gathered, in milliseconds. */
const GATHER_MS = 1_000;
/** Lines written for one such moment; more are counted. */
const MAX_LINES = 50;

export class DenialLog {
  readonly #log: Log;
  readonly #clock: Clock;
  #lines: LogFields[] = [];
  #more = 0;
  #timer: Timer | undefined;

  constructor(log: Log, clock: Clock) {
    this.#log = log.for('iii::access');
    this.#clock = clock;
  }

  add(session: Session, fields: LogFields): void {
    if (this.#lines.length < MAX_LINES) this.#lines.push(fields);
    else this.#more++;
    this.#timer ??= this.#clock.setTimer(() => this.#write(session), GATHER_MS);
  }

  #write(session: Session): void {
    this.#timer = undefined;
    const [lines, more] = [this.#lines, this.#more];
    [this.#lines, this.#more] = [[], 0];
    const who = { worker: session.label, ip_address: session.address };
    for (const fields of lines) this.#log.warn('refused by access rules', { ...fields, ...who });
    if (more > 0) this.#log.warn('more was refused by access rules', { count: more, ...who });
  }
}
