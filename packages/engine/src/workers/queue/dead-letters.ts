/** The dead-letter queue as its functions show it. */
import type { Broker, DeadLetter, Line } from './adapters/index.js';
import type { Queues } from './queues.js';
import type { Topics } from './topics.js';

/** What the reference calls the lines of named queues inside; accepted, never shown. */
const INTERNAL_PREFIX = '__fn_queue::';

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
  resolve(name: string): readonly Line[] {
    const plain = name.startsWith(INTERNAL_PREFIX) ? name.slice(INTERNAL_PREFIX.length) : name;
    const queue = this.#queues.get(plain);
    if (queue !== undefined) return [queue.line];
    const subscriptions = this.#topics.of(name);
    if (subscriptions.length > 0) return subscriptions.map(({ line }) => line);
    const one = this.#topics.all().filter(({ line }) => {
      const full = `${line.name}::${line.functionId}`;
      return name === `${full}@${line.namespace}` || (name === full && line.namespace === 'default');
    });
    if (one.length > 0) return one.map(({ line }) => line);
    const former = this.#queues.line(plain);
    return former === undefined ? [] : [former];
  }

  /** One page as JSON text, newest first: a payload stays as it was sent. */
  async page(name: string, offset: number, limit: number): Promise<string> {
    const letters = await this.#broker.browseDead(this.resolve(name), offset, limit);
    return `[${letters.map(entryOf).join(',')}]`;
  }

  async redrive(name: string): Promise<number> {
    let redriven = 0;
    for (const line of this.resolve(name)) redriven += await this.#broker.redrive(line);
    return redriven;
  }

  redriveOne(name: string, id: string): Promise<boolean> {
    return this.#broker.redriveOne(this.resolve(name), id);
  }

  discardOne(name: string, id: string): Promise<boolean> {
    return this.#broker.discardOne(this.resolve(name), id);
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
