import type { ReconnectingClient } from '../../support/reconnecting-client.js';
import type { SeededRandom } from '../../support/seeded-random.js';
import { tell, type Timeline } from './timeline.js';

const SCOPE = 'audit';
const KEYS = 24;
/** Writes in flight per key: a kill leaves some of a key's writes answered and some not. */
const PER_KEY = 2;
/** Counters are changed by `state::update`, values by `state::set`. */
const COUNTERS = 6;

interface KeyLog {
  readonly key: string;
  /** Number of the newest write that was made; of writes in all, for a counter. */
  sent: number;
  /** The same of what was acknowledged. */
  acknowledged: number;
}

/** Writes to keys and counters, and reads back after each kill. */
export class StateLoad {
  readonly #client: ReconnectingClient;
  readonly #random: SeededRandom;
  readonly #timeline: Timeline;
  readonly #values: KeyLog[] = Array.from({ length: KEYS }, (_, i) => ({
    key: `value-${i}`,
    sent: 0,
    acknowledged: 0,
  }));
  readonly #counters: KeyLog[] = Array.from({ length: COUNTERS }, (_, i) => ({
    key: `counter-${i}`,
    sent: 0,
    acknowledged: 0,
  }));
  readonly #faults: string[] = [];
  acknowledged = 0;

  constructor(client: ReconnectingClient, random: SeededRandom, timeline: Timeline) {
    this.#client = client;
    this.#random = random;
    this.#timeline = timeline;
  }

  async run(): Promise<void> {
    const lanes: Promise<void>[] = [];
    for (let i = 0; i < PER_KEY; i++) {
      for (const log of this.#values) lanes.push(this.#set(log));
      for (const log of this.#counters) lanes.push(this.#count(log));
    }
    await Promise.all(lanes);
  }

  async #set(log: KeyLog): Promise<void> {
    while (await this.#next()) {
      const number = ++log.sent;
      const value = { number, text: 'x'.repeat(this.#random.between(0, 200)) };
      const acknowledged = await this.#write('state::set', { scope: SCOPE, key: log.key, value });
      if (acknowledged) log.acknowledged = Math.max(log.acknowledged, number);
    }
  }

  async #count(log: KeyLog): Promise<void> {
    while (await this.#next()) {
      log.sent++;
      const ops = [{ type: 'increment', path: 'count', by: 1 }];
      if (await this.#write('state::update', { scope: SCOPE, key: log.key, ops })) log.acknowledged++;
    }
  }

  async #next(): Promise<boolean> {
    do await this.#client.connected();
    while (this.#timeline.producing && !this.#client.isOpen);
    return this.#timeline.producing;
  }

  async #write(functionId: string, data: unknown): Promise<boolean> {
    const answer = await this.#client.ask(functionId, data);
    if (answer.kind === 'error') tell(this.#faults, `${functionId}: refused with ${answer.code}: ${answer.message}`);
    if (answer.kind === 'result') this.acknowledged++;
    return answer.kind === 'result';
  }

  /**
   * Reads all back, also while writes go on: a value is at least as new as what was acknowledged before
   * the read began, and no newer than what was sent when it ended.
   *
   * @returns faults so far
   */
  async check(): Promise<string[]> {
    const faults = [...this.#faults];
    for (const log of this.#values) await this.#compare(faults, log, 'number');
    for (const log of this.#counters) await this.#compare(faults, log, 'count');
    return faults;
  }

  async #compare(faults: string[], log: KeyLog, field: string): Promise<void> {
    const { key, acknowledged } = log;
    const value = await this.#client.call<Record<string, unknown> | null>('state::get', { scope: SCOPE, key });
    const stored = Number(value?.[field] ?? 0);
    if (stored < acknowledged) tell(faults, `lost: ${key} is at ${stored}, ${acknowledged} was acknowledged`);
    if (stored > log.sent) tell(faults, `ghost: ${key} is at ${stored}, only ${log.sent} was sent`);
  }
}
