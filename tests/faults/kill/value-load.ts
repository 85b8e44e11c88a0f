import type { ReconnectingClient } from '../../support/reconnecting-client.js';
import type { SeededRandom } from '../../support/seeded-random.js';
import { ValueLog, type Auditor } from '../audit/index.js';
import type { Timeline } from './timeline.js';

const KEYS = 24;
/** Writes in flight per key: a kill leaves some of a key's writes answered and some not. */
const PER_KEY = 2;
/** Counters are changed by updates, values are set. */
const COUNTERS = 6;

/** Where values are kept, and the input that its functions want for a key. */
interface Place {
  readonly worker: 'state' | 'stream';
  readonly valueField: string;
  address(key: string): object;
}

export const places = {
  state: { worker: 'state', valueField: 'value', address: (key) => ({ scope: 'audit', key }) },
  stream: {
    worker: 'stream',
    valueField: 'data',
    address: (key) => ({ stream_name: 'audit', group_id: 'all', item_id: key }),
  },
} as const satisfies Readonly<Record<string, Place>>;

/** Writes values and counters, and reads them back after each kill. */
export class ValueLoad {
  readonly #place: Place;
  readonly #client: ReconnectingClient;
  readonly #random: SeededRandom;
  readonly #timeline: Timeline;
  readonly #auditor: Auditor;
  readonly #values: ValueLog[];
  readonly #counters: ValueLog[];
  acknowledged = 0;

  constructor(
    place: Place,
    parts: { client: ReconnectingClient; random: SeededRandom; timeline: Timeline; auditor: Auditor },
  ) {
    this.#place = place;
    this.#client = parts.client;
    this.#random = parts.random;
    this.#timeline = parts.timeline;
    this.#auditor = parts.auditor;
    const logs = (count: number, kind: 'newest' | 'counted'): ValueLog[] =>
      Array.from({ length: count }, (_, i) => new ValueLog(parts.auditor, `${place.worker}-${kind}-${i}`, kind));
    this.#values = logs(KEYS, 'newest');
    this.#counters = logs(COUNTERS, 'counted');
  }

  async run(): Promise<void> {
    const lanes: Promise<void>[] = [];
    for (let i = 0; i < PER_KEY; i++) {
      for (const log of this.#values) lanes.push(this.#set(log));
      for (const log of this.#counters) lanes.push(this.#count(log));
    }
    await Promise.all(lanes);
  }

  async #set(log: ValueLog): Promise<void> {
    while (await this.#next()) {
      const number = log.sent();
      const value = { number, text: 'x'.repeat(this.#random.between(0, 200)) };
      if (await this.#write('set', log, { [this.#place.valueField]: value })) log.acknowledge(number);
    }
  }

  async #count(log: ValueLog): Promise<void> {
    while (await this.#next()) {
      const number = log.sent();
      const ops = [{ type: 'increment', path: 'number', by: 1 }];
      if (await this.#write('update', log, { ops })) log.acknowledge(number);
    }
  }

  async #next(): Promise<boolean> {
    do await this.#client.connected();
    while (this.#timeline.producing && !this.#client.isOpen);
    return this.#timeline.producing;
  }

  async #write(operation: string, { key }: ValueLog, rest: object): Promise<boolean> {
    const functionId = `${this.#place.worker}::${operation}`;
    const answer = await this.#client.ask(functionId, { ...this.#place.address(key), ...rest });
    if (answer.kind === 'error') this.#auditor.tell('refused', `${functionId}: ${answer.code}: ${answer.message}`);
    if (answer.kind === 'result') this.acknowledged++;
    return answer.kind === 'result';
  }

  /** Reads all back, also while writes go on. */
  async check(): Promise<void> {
    const read = async (key: string): Promise<number> => {
      const value = await this.#client.call<{ number?: unknown } | null>(
        `${this.#place.worker}::get`,
        this.#place.address(key),
      );
      return Number(value?.number ?? 0);
    };
    for (const log of [...this.#values, ...this.#counters]) await log.check(() => read(log.key));
  }
}
