/**
 * Dead letters. AMQP has no way to look at a queue: the oldest are taken without being acknowledged, and go back in
 * their places when the channel closes. One engine at a time does that (the registry's turn), or each would see a
 * part. Everything by id, pages and totals are of the oldest `MAX_LOOKED_AT`; `stats` counts all.
 */
import type { Channel, ConsumeMessage } from 'amqplib';
import type { DeadLetter, DeadPage, DeadQuery, Line, RedriveOptions } from '../index.js';
import type { RabbitCore } from './core.js';
import type { RabbitLine } from './line.js';
import { decode, encode, type Decoded } from './message.js';

/** Dead letters of one line that are looked at. */
export const MAX_LOOKED_AT = 1_000;
/** How long the server may take to show them, in milliseconds. */
const LOOK_TIMEOUT_MS = 10_000;
/** What another program's dead letter says. */
const UNKNOWN_ERROR = 'no error is on record: the message was not dead-lettered by this engine';

interface Found {
  readonly message: ConsumeMessage;
  readonly decoded: Decoded;
}

export class DeadStore {
  readonly #core: RabbitCore;

  constructor(core: RabbitCore) {
    this.#core = core;
  }

  async browse(lines: readonly Line[], { offset, limit, maxBytes }: DeadQuery): Promise<DeadPage> {
    const all: DeadLetter[] = [];
    await this.#core.registry.turn(async () => {
      for (const line of lines) {
        const found = await this.#look(line as RabbitLine, MAX_LOOKED_AT, async (_channel, each) => each);
        // The newest first, also of one millisecond.
        all.unshift(...found.reverse().map(({ decoded }) => letterOf(line, decoded)));
      }
    });
    all.sort((a, b) => b.failedAt - a.failedAt);
    const letters: DeadLetter[] = [];
    let bytes = 0;
    for (const letter of all.slice(offset, offset + limit)) {
      bytes += letter.data.length + letter.failures.length + letter.error.length;
      if (letters.length > 0 && bytes > maxBytes) return { letters, total: all.length, cut: true };
      letters.push(letter);
    }
    return { letters, total: all.length, cut: false };
  }

  /** What is dead-lettered meanwhile is for the next time. */
  async redrive(line: RabbitLine, options: RedriveOptions = {}): Promise<number> {
    return this.#core.registry.turn(async () => {
      const [count] = await this.#core.topology.counts([line.names.dead]);
      let left = Math.min(count?.messages ?? 0, options.limit ?? Infinity);
      let redriven = 0;
      while (left > 0) {
        const moved = await this.#look(line, Math.min(left, MAX_LOOKED_AT), async (channel, found) => {
          for (const each of found) await this.#revive(line, channel, each, options);
          return found.length;
        });
        if (moved === 0) break;
        redriven += moved;
        left -= moved;
      }
      return redriven;
    });
  }

  redriveOne(lines: readonly Line[], id: string, options: RedriveOptions = {}): Promise<boolean> {
    return this.#withOne(lines, id, (line, channel, found) => this.#revive(line, channel, found, options));
  }

  discardOne(lines: readonly Line[], id: string): Promise<boolean> {
    return this.#withOne(lines, id, async (_line, channel, { message }) => channel.ack(message));
  }

  /** The changed copy goes to the end of the queue; pages are in the order of the failures all the same. */
  edit(
    lines: readonly Line[],
    id: string,
    { data, functionId }: { readonly data?: string | undefined; readonly functionId?: string | undefined },
  ): Promise<boolean> {
    return this.#withOne(lines, id, async (line, channel, { message, decoded }) => {
      const job = { ...decoded.job, data: data ?? decoded.job.data, functionId: functionId ?? decoded.job.functionId };
      const { error, code, failedAt: at } = letterOf(line, decoded);
      await this.#core.sendDead(line, job, { error, code, at });
      channel.ack(message);
    });
  }

  /** Behind what waits, with its receipt. What it asked of its first life only is gone: a delay is over. */
  async #revive(line: RabbitLine, channel: Channel, found: Found, { restamp }: RedriveOptions): Promise<void> {
    const { job } = found.decoded;
    const { backoffListMs, ...kept } = job.extras ?? {};
    const list = restamp === undefined && backoffListMs !== undefined ? { backoffListMs } : {};
    const extras = job.extras === undefined ? undefined : { ...kept, ...list };
    const { maxAttempts, backoffMs } = restamp ?? job;
    const group = line.serial ? (job.group ?? '') : job.group;
    const revived = { ...job, extras, maxAttempts, backoffMs, group, attempts: 0, lost: 0, failures: [] };
    const { exchange, routingKey, queue } = line.names;
    const message = encode(revived);
    if (line.kind === 'queue') await this.#core.publisher.publish(exchange, routingKey, message);
    else await this.#core.publisher.publish('', queue, message);
    channel.ack(found.message);
  }

  async #withOne(
    lines: readonly Line[],
    id: string,
    run: (line: RabbitLine, channel: Channel, found: Found) => Promise<void>,
  ): Promise<boolean> {
    return this.#core.registry.turn(async () => {
      for (const line of lines as readonly RabbitLine[]) {
        const isDone = await this.#look(line, MAX_LOOKED_AT, async (channel, found) => {
          const one = found.find(({ decoded }) => decoded.job.receipt === id);
          if (one === undefined) return false;
          await run(line, channel, one);
          return true;
        });
        if (isDone) return true;
      }
      return false;
    });
  }

  /** Runs something with the oldest dead letters; what it does not acknowledge stays. */
  async #look<T>(line: RabbitLine, limit: number, run: (channel: Channel, found: Found[]) => Promise<T>): Promise<T> {
    const { link, host, config } = this.#core;
    const queue = line.names.dead;
    const [count] = await this.#core.topology.counts([queue]);
    const expected = Math.min(limit, count?.messages ?? 0);
    return link.use(async (channel) => {
      const found: Found[] = [];
      if (expected === 0) return run(channel, found);
      await channel.prefetch(expected);
      await new Promise<void>((resolve, reject) => {
        const timer = host.clock.setTimer(resolve, LOOK_TIMEOUT_MS);
        const take = (message: ConsumeMessage | null): void => {
          if (message === null) return reject(new Error(`queue ${queue} was deleted`));
          found.push({ message, decoded: decode(message, line, 0, config.max_attempts, host.clock.now()) });
          if (found.length < expected) return;
          timer.cancel();
          resolve();
        };
        channel.on('close', () => reject(new Error(`the channel to ${queue} was closed`)));
        channel.consume(queue, take).catch(reject);
      });
      return run(channel, found);
    });
  }
}

function letterOf(line: Line, { job, dead }: Decoded): DeadLetter {
  return {
    line,
    jobId: job.jobId ?? job.receipt,
    receipt: job.receipt,
    functionId: job.functionId,
    data: job.data,
    attempts: job.attempts,
    failures: JSON.stringify(job.failures),
    error: dead?.error ?? UNKNOWN_ERROR,
    code: dead?.code ?? 'unknown',
    failedAt: dead?.at ?? job.createdAt,
  };
}
