/**
 * Puts the rules of named queues in force: all of them or none. A queue that becomes fifo gathers its
 * jobs without a group in the one group `""`, in the order in which they were accepted.
 */
import type { Line, QueueRules } from '../index.js';
import { laneKey, type BuiltinCore } from './core.js';
import type { Delays } from './delays.js';
import type { Lane } from './lane.js';
import type { BuiltinLine } from './line.js';

export class QueueRulesBook {
  readonly #core: BuiltinCore;
  readonly #delays: Delays;

  constructor(core: BuiltinCore, delays: Delays) {
    this.#core = core;
    this.#delays = delays;
  }

  async open(rules: ReadonlyMap<string, QueueRules>): Promise<ReadonlyMap<string, Line>> {
    const core = this.#core;
    const lines = new Map<string, BuiltinLine>();
    const added: BuiltinLine[] = [];
    for (const name of rules.keys()) {
      const spec = { kind: 'queue', name, namespace: '', functionId: '' } as const;
      const known = core.find(spec);
      lines.set(name, known ?? core.addLine(undefined, spec, undefined));
      if (known === undefined) added.push(lines.get(name) as BuiltinLine);
    }
    try {
      if (added.length > 0)
        await core.store.write(
          'createQueues',
          added.flatMap(({ id, name }) => [id, name]),
        );
    } catch (error) {
      for (const line of added) core.dropLine(line);
      throw error;
    }
    // From here on nothing is refused: a disk that fails is waited for.
    const gathered = [...rules].map(([name, { serial }]) => this.#becomes(lines.get(name) as BuiltinLine, serial));
    await Promise.all(gathered);
    for (const [name, queueRules] of rules) this.#apply(lines.get(name) as BuiltinLine, queueRules);
    return lines;
  }

  async #becomes(line: BuiltinLine, serial: boolean): Promise<void> {
    const wasSerial = line.serial;
    line.serial = serial;
    if (!wasSerial) await this.gather(line);
  }

  /** In a fifo queue, jobs without a group are one group. Resolves when that is stored, for as long as it takes. */
  async gather(line: BuiltinLine): Promise<void> {
    const loose = line.gathers ? [...line.lanes.values()].filter(({ key }) => key.startsWith('f')) : [];
    if (loose.length === 0) return;
    const into = this.#gather(line, loose);
    await this.#core.commitEnd(
      line,
      'gather',
      into.id,
      loose.map(({ id }) => id),
    );
    into.endLoad();
  }

  #apply(line: BuiltinLine, rules: QueueRules): void {
    line.apply(rules);
    for (const lane of line.lanes.values()) this.#core.wake(lane);
    this.#core.events.ready(line);
  }

  /** One lane for the jobs of several. It reads nothing until the move is committed. */
  #gather(line: BuiltinLine, lanes: readonly Lane[]): Lane {
    const core = this.#core;
    const first = lanes[0] as Lane;
    const key = laneKey(first.functionId, first.namespace, '');
    const into = line.lanes.get(key) ?? core.newLane(line, first.functionId, first.namespace, key);
    into.startLoad();
    for (const lane of lanes) {
      core.unpark(lane);
      const inMemory = [...this.#delays.unstored(lane)];
      for (const [seq, lease] of core.leases) if (lease.lane.current === lane) inMemory.push(seq);
      into.absorb(lane, inMemory);
      line.lanes.delete(lane.key);
    }
    return into;
  }
}
