import type { Adapter } from './adapters.js';
import { BrokerBed } from './broker-bed.js';

interface Stoppable {
  stop(): Promise<unknown>;
}

/** What a test has started, to be stopped after it. */
export class Beds {
  readonly #started: Stoppable[] = [];

  keep<T extends Stoppable>(part: T): T {
    this.#started.push(part);
    return part;
  }

  /** @param workers - entries beside the worker manager */
  async start(...workers: readonly object[]): Promise<BrokerBed> {
    return this.keep(await BrokerBed.start(workers));
  }

  /** @param queues - `queue_configs` */
  queue(adapter: Adapter, queues: object = {}): Promise<BrokerBed> {
    return this.start({ name: 'queue', config: { adapter, queue_configs: queues } });
  }

  /**
   * Stops the newest first, and all of them also when one fails.
   *
   * @throws AggregateError with each failure
   */
  async stop(): Promise<void> {
    const failures: unknown[] = [];
    for (const each of this.#started.splice(0).reverse())
      await each.stop().catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw new AggregateError(failures, 'not everything of the test could be stopped');
  }
}
