/**
 * What no queue tells over AMQP: which lines there are, what their subscribers said, which of their level queues
 * exist, who paused them. One small quorum queue holds a message per line; its single active consumer is also the
 * lock between engines.
 *
 *   (ask) -> active    the server delivers to this consumer: no other engine reads or changes anything now
 *   active -> read     a mark that was put in behind all entries came back: everything is known
 *   read -> (done)     changed entries are confirmed, then their old ones acknowledged; the channel closes and
 *                      what was not acknowledged goes back, in order
 *
 * An engine that dies in between leaves an entry twice: the newer one counts and the next writer removes the other.
 */
import { randomUUID } from 'node:crypto';
import type { ConsumeMessage } from 'amqplib';
import type { Clock } from '../../../../core/clock.js';
import type { LineSpec, SubscriptionSettings } from '../index.js';
import type { Link } from './link.js';
import { quorum, REGISTRY } from './names.js';
import type { Publisher } from './publisher.js';

/** How long a turn may wait for those of others, in milliseconds. */
const TURN_TIMEOUT_MS = 20_000;
/** Entries and marks in one read. */
const MAX_ENTRIES = 65_535;
/** A mark of an engine that died in its turn is removed after this time, in milliseconds. */
const STALE_MARK_MS = 10 * 60_000;

export interface Entry extends Pick<LineSpec, 'kind' | 'name' | 'namespace' | 'functionId'> {
  readonly settings?: SubscriptionSettings | undefined;
  /** Wall clock, milliseconds. */
  readonly offlineSince?: number | undefined;
  readonly endedAt?: number | undefined;
  /** Engines that do not run it. */
  readonly pausedBy: readonly string[];
  /** Level queues that exist, as bits. */
  readonly delays: number;
  readonly absents: number;
  readonly version: number;
}

export type Change = (before: Entry) => Entry | undefined;

interface Stored {
  entry: Entry;
  readonly messages: ConsumeMessage[];
}

/** What a turn knows. */
export type Book = ReadonlyMap<string, Entry>;

export class Registry {
  readonly #link: Link;
  readonly #publisher: Publisher;
  readonly #clock: Clock;
  #last: Promise<unknown> = Promise.resolve();
  #changes: { readonly spec: LineSpec; readonly change: Change }[] = [];
  #writing: Promise<void> | undefined;
  /** As last read. */
  book: Book = new Map();
  #readAt = -Infinity;

  constructor(link: Link, publisher: Publisher, clock: Clock) {
    this.#link = link;
    this.#publisher = publisher;
    this.#clock = clock;
  }

  /** When the book was read last, steady clock. */
  get ageMs(): number {
    return this.#clock.monotonic() - this.#readAt;
  }

  async declare(): Promise<void> {
    await this.#link.use((channel) => channel.assertQueue(REGISTRY, quorum({ 'x-single-active-consumer': true })));
  }

  async read(): Promise<void> {
    await this.turn(async () => undefined);
  }

  /** Changes the entry of a line, a new one where there is none; undefined removes it. Several of one moment share a turn. */
  update(spec: LineSpec, change: Change): Promise<void> {
    this.#changes.push({ spec, change });
    this.#writing ??= Promise.resolve().then(async () => {
      await this.#last.catch(() => undefined);
      this.#writing = undefined;
      await this.turn(async () => undefined);
    });
    return this.#writing;
  }

  /** Runs something while no other engine has its turn. */
  turn<T>(work: (book: Book) => Promise<T>): Promise<T> {
    const result = this.#last.catch(() => undefined).then(() => this.#take(work));
    this.#last = result;
    return result;
  }

  async #take<T>(work: (book: Book) => Promise<T>): Promise<T> {
    const channel = await this.#link.channel();
    const stored = new Map<string, Stored>();
    const marks: ConsumeMessage[] = [];
    const [hello, end] = [randomUUID(), randomUUID()];
    try {
      await channel.prefetch(MAX_ENTRIES);
      await new Promise<void>((resolve, reject) => {
        const timer = this.#clock.setTimer(
          () => reject(new Error(`another engine holds ${REGISTRY} for ${TURN_TIMEOUT_MS / 1_000} s`)),
          TURN_TIMEOUT_MS,
        );
        const fail = (error: unknown): void => {
          timer.cancel();
          reject(error instanceof Error ? error : new Error(String(error)));
        };
        let active = false;
        let complete = false;
        channel.on('close', () => fail(new Error(`the channel to ${REGISTRY} was closed`)));
        channel
          .consume(REGISTRY, (message) => {
            if (message === null) return fail(new Error(`${REGISTRY} was deleted`));
            // What this turn writes itself comes here too, and goes back with the channel.
            if (complete) return;
            if (!active) {
              active = true;
              this.#mark(end).catch(fail);
            }
            const body = readBody(message.content);
            // Of somebody else: it stays where it is, and says nothing to us.
            if (body === undefined) return;
            if (!('mark' in body)) return keep(stored, body, message);
            if (body.mark === hello || body.mark === end || this.#clock.now() - body.at > STALE_MARK_MS)
              marks.push(message);
            if (body.mark !== end) return;
            complete = true;
            timer.cancel();
            resolve();
          })
          .then(() => this.#mark(hello))
          .catch(fail);
      });
      for (const message of marks) channel.ack(message);
      await this.#write(stored, (message) => channel.ack(message));
      const book = new Map([...stored].map(([key, { entry }]) => [key, entry]));
      this.book = book;
      this.#readAt = this.#clock.monotonic();
      return await work(book);
    } finally {
      channel.removeAllListeners('close');
      await channel.close().catch(() => undefined);
    }
  }

  async #write(stored: Map<string, Stored>, acknowledge: (message: ConsumeMessage) => void): Promise<void> {
    const changes = this.#changes;
    this.#changes = [];
    const changed = new Set<string>();
    for (const { spec, change } of changes) {
      const key = keyOf(spec);
      const { kind, name, namespace, functionId } = spec;
      const before = stored.get(key);
      const old = before?.entry ?? {
        kind,
        name,
        namespace,
        functionId,
        pausedBy: [],
        delays: 0,
        absents: 0,
        version: 0,
      };
      const next = change(old);
      if (next === old && before !== undefined) continue;
      changed.add(key);
      const messages = before?.messages ?? [];
      if (next !== undefined) stored.set(key, { entry: { ...next, version: old.version + 1 }, messages });
      else {
        stored.delete(key);
        messages.forEach(acknowledge);
      }
    }
    for (const key of changed) {
      const item = stored.get(key);
      if (item === undefined) continue;
      await this.#put(item.entry);
      item.messages.splice(0).forEach(acknowledge);
    }
    for (const { messages } of stored.values()) messages.splice(1).forEach(acknowledge);
  }

  #mark(mark: string): Promise<void> {
    return this.#put({ mark, at: this.#clock.now() });
  }

  #put(body: object): Promise<void> {
    const content = Buffer.from(JSON.stringify(body));
    return this.#publisher.publish('', REGISTRY, { content, options: { persistent: true, mandatory: true } });
  }
}

function keep(stored: Map<string, Stored>, entry: Entry, message: ConsumeMessage): void {
  const key = keyOf(entry);
  const other = stored.get(key);
  if (other === undefined) stored.set(key, { entry, messages: [message] });
  else if (entry.version >= other.entry.version) {
    other.entry = entry;
    other.messages.unshift(message);
  } else other.messages.push(message);
}

export function keyOf({ kind, name, namespace, functionId }: LineSpec): string {
  return `${kind}\u0000${name}\u0000${namespace}\u0000${functionId}`;
}

/** One message of the registry; undefined for what none of our engines wrote. */
export function readBody(content: Buffer): { readonly mark: string; readonly at: number } | Entry | undefined {
  let body: unknown;
  try {
    body = JSON.parse(content.toString());
  } catch {
    return undefined;
  }
  if (typeof body !== 'object' || body === null) return undefined;
  if ('mark' in body) return body as { mark: string; at: number };
  return 'kind' in body && 'name' in body && 'version' in body ? (body as Entry) : undefined;
}
