/** What the parts of the adapter share: the connection, the lines, and the ways of a job between queues. */
import type { WorkerHost } from '../../../../core/worker-host.js';
import type { BrokerEvents, LineSpec } from '../index.js';
import type { RabbitConfig } from './config.js';
import type { Link } from './link.js';
import { RabbitLine } from './line.js';
import { encode, type Carried, type DeadMark, type Encoded, type Outgoing } from './message.js';
import { ABSENT_HOPS_PER_LEVEL, levelFor, MAX_ABSENT_LEVEL } from './names.js';
import { NotRoutedError, type Publisher } from './publisher.js';
import { keyOf, type Entry, type Registry } from './registry.js';
import type { Topology } from './topology.js';

/** Wait before something that the server refused is tried again, in milliseconds. */
export const AGAIN_MS = 1_000;

export class RabbitCore {
  readonly host: WorkerHost;
  readonly config: RabbitConfig;
  readonly events: BrokerEvents;
  /** Names this engine in the registry, over its restarts. */
  readonly engine: string;
  readonly publisher: Publisher;
  readonly link: Link;
  readonly topology: Topology;
  readonly registry: Registry;
  readonly lines = new Map<string, RabbitLine>();
  #seq = 1;
  draining = false;
  stopped = false;

  constructor(
    host: WorkerHost,
    config: RabbitConfig,
    events: BrokerEvents,
    engine: string,
    parts: Pick<RabbitCore, 'publisher' | 'link' | 'topology' | 'registry'>,
  ) {
    this.host = host;
    this.config = config;
    this.events = events;
    this.engine = engine;
    this.publisher = parts.publisher;
    this.link = parts.link;
    this.topology = parts.topology;
    this.registry = parts.registry;
  }

  seq(): number {
    return this.#seq++;
  }

  /** The line of a spec, made when it is not known; `open` gives it its consumer. */
  line(spec: LineSpec, open: (line: RabbitLine) => void): RabbitLine {
    const key = keyOf(spec);
    let line = this.lines.get(key);
    if (line === undefined) {
      line = new RabbitLine(spec);
      const entry = this.registry.book.get(key);
      if (entry !== undefined) line.learn(entry, this.engine);
      open(line);
      this.lines.set(key, line);
    }
    return line;
  }

  /** Changes what the registry says of a line; told in the log where it cannot be written. */
  remember(line: RabbitLine, change: (before: Entry) => Entry): void {
    this.registry.update(line, change).catch((error: unknown) => {
      if (this.stopped || !this.link.isUp) return;
      this.host.log.warn('the registry of RabbitMQ could not be written: counts of delayed jobs may be too low', {
        queue: line.name,
        error: error instanceof Error ? error.message : String(error),
      });
    });
  }

  /** @param delayMs - how long it waits; less than the smallest level is waited for by whoever gets it */
  async send(line: RabbitLine, job: Outgoing, delayMs = 0): Promise<void> {
    if (delayMs <= 0) return this.#toJobs(line, encode(job));
    const carried: Carried = { dueAt: this.host.clock.now() + delayMs, delayMs };
    return this.hop(line, job, carried, levelFor(delayMs));
  }

  /** Into one level; undefined = back among the jobs. */
  async hop(line: RabbitLine, job: Outgoing, carried: Carried, level: number | undefined): Promise<void> {
    if (level === undefined) return this.#toJobs(line, encode(job, carried));
    if ((line.delays & (1 << level)) === 0) {
      line.delays |= 1 << level;
      this.remember(line, (entry) => ({ ...entry, delays: entry.delays | (1 << level) }));
    }
    return this.#toLevel(line, line.names.delay(level), level, encode(job, carried));
  }

  /** Its function is not here: it waits, a little longer each time. */
  async sendAbsent(line: RabbitLine, job: Outgoing, before: Carried): Promise<void> {
    const absent = before.absent ?? 0;
    const level = Math.min(Math.floor(absent / ABSENT_HOPS_PER_LEVEL), MAX_ABSENT_LEVEL);
    if ((line.absents & (1 << level)) === 0) {
      line.absents |= 1 << level;
      this.remember(line, (entry) => ({ ...entry, absents: entry.absents | (1 << level) }));
    }
    return this.#toLevel(line, line.names.absent(level), level, encode(job, { absent: absent + 1 }));
  }

  sendDead(line: RabbitLine, job: Outgoing, dead: DeadMark): Promise<void> {
    return this.publisher.publish('', line.names.dead, encode(job, { dead }));
  }

  wait(ms: number): Promise<void> {
    return new Promise((go) => void this.host.clock.setTimer(go, ms));
  }

  async #toJobs(line: RabbitLine, message: Encoded): Promise<void> {
    const { exchange, routingKey, queue } = line.names;
    if (line.kind === 'queue') return this.publisher.publish(exchange, routingKey, message);
    return this.publisher.publish('', queue, message);
  }

  async #toLevel(line: RabbitLine, queue: string, level: number, message: Encoded): Promise<void> {
    for (let again = true; ; again = false) {
      await this.topology.level(line, queue, level);
      try {
        return await this.publisher.publish('', queue, message);
      } catch (error) {
        if (!again || !(error instanceof NotRoutedError)) throw error;
        line.declared.delete(queue);
      }
    }
  }
}
