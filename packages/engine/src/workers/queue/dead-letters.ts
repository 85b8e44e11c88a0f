/** The dead-letter queue as its functions show it. */
import type { Broker, DeadFilter, DeadLetter, Line, RedriveOptions } from './adapters/index.js';
import type { Queues } from './queues.js';
import type { Topics } from './topics.js';

/** What the reference calls the lines of named queues inside; accepted, never shown. */
const INTERNAL_PREFIX = '__fn_queue::';
/** Payload and errors in one page, in UTF-16 units; a page has at least one entry. */
export const MAX_DEAD_PAGE_LENGTH = 8 * 1024 * 1024;

export interface DeadLetterPage {
  /** JSON text of each entry, newest first. */
  readonly entries: readonly string[];
  readonly total: number;
  /** The page ended before its limit because it is large. */
  readonly cut: boolean;
}

export class DeadLetters {
  readonly #broker: Broker;
  readonly #queues: Queues;
  readonly #topics: Topics;

  constructor(broker: Broker, queues: Queues, topics: Topics) {
    this.#broker = broker;
    this.#queues = queues;
    this.#topics = topics;
  }

  /**
   * What a name means: a configured queue, else a topic with all its subscriptions (whether their
   * workers are there or not), else one of them as `topic::function` or `topic::function@namespace`,
   * else a queue that was configured once.
   */
  async resolve(name: string): Promise<readonly Line[]> {
    const plain = name.startsWith(INTERNAL_PREFIX) ? name.slice(INTERNAL_PREFIX.length) : name;
    const queue = this.#queues.get(plain);
    if (queue !== undefined) return [queue.line];
    const subscriptions = await this.#topics.lines(name);
    if (subscriptions.length > 0) return subscriptions;
    const one = (await this.#topics.lines()).filter((line) => {
      const full = `${line.name}::${line.functionId}`;
      return name === `${full}@${line.namespace}` || (name === full && line.namespace === 'default');
    });
    if (one.length > 0) return one;
    const former = await this.#queues.line(plain);
    return former === undefined ? [] : [former];
  }

  /** One page, entries as JSON text: a payload stays as it was sent. */
  async page(name: string, offset: number, limit: number, filter?: DeadFilter): Promise<DeadLetterPage> {
    const lines = await this.resolve(name);
    const { letters, total, cut } = await this.#broker.browseDead(lines, {
      offset,
      limit,
      maxBytes: MAX_DEAD_PAGE_LENGTH,
      filter,
    });
    return { entries: letters.map(entryOf), total, cut };
  }

  /** @param today - retries and backoff of today's configuration instead of those stamped at the enqueue */
  async redrive(name: string, today: boolean, limit = Infinity): Promise<number> {
    let redriven = 0;
    for (const line of await this.resolve(name)) {
      if (redriven >= limit) break;
      redriven += await this.#broker.redrive(line, { ...this.#restamp(line, today), limit: limit - redriven });
    }
    return redriven;
  }

  async redriveOne(name: string, id: string, today: boolean): Promise<boolean> {
    const lines = await this.resolve(name);
    return this.#broker.redriveOne(lines, id, lines[0] === undefined ? {} : this.#restamp(lines[0], today));
  }

  async count(name: string): Promise<number> {
    return (await this.#broker.stats(await this.resolve(name))).dead;
  }

  #restamp(line: Line, today: boolean): RedriveOptions {
    if (!today) return {};
    if (line.settings !== undefined) {
      const { maxAttempts, backoffMs } = line.settings;
      return { restamp: { maxAttempts, backoffMs } };
    }
    const config = this.#queues.get(line.name)?.config;
    if (config === undefined) return {};
    return { restamp: { maxAttempts: Math.max(1, config.max_retries), backoffMs: config.backoff_ms } };
  }
}

/** The reference's fields (`failed_at` in seconds), then ours (`at` in milliseconds). */
function entryOf(letter: DeadLetter): string {
  const { jobId, data, error, failedAt, attempts, functionId, receipt, code, failures } = letter;
  const head =
    `{"id":${JSON.stringify(jobId)},"payload":${data},"error":${JSON.stringify(error)},` +
    `"failed_at":${Math.floor(failedAt / 1_000)},"retries":${attempts}`;
  const tail =
    `,"function_id":${JSON.stringify(functionId)},"message_receipt_id":${JSON.stringify(receipt)},` +
    `"error_code":${JSON.stringify(code)},"attempts":${failures}}`;
  return `${head},"size_bytes":${Buffer.byteLength(head) + Buffer.byteLength(tail)}${tail}`;
}
