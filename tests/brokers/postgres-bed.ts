import { createEngine, createLog, type EmbeddedWorker, type Engine } from '@trine/engine';
import { tempFolder, type TempFolder } from '@trine/testing';

export interface QueueHealth {
  readonly status: string;
  readonly details: { readonly state: string; readonly detail?: string; readonly durability?: string };
}

/** An engine in this process whose queue is on a PostgreSQL, and a client of it. */
export class PostgresBed {
  readonly engine: Engine;
  readonly client: EmbeddedWorker;
  /** Lines of its log. */
  readonly log: readonly string[];
  readonly #folder: TempFolder;

  private constructor(engine: Engine, folder: TempFolder, log: readonly string[]) {
    this.engine = engine;
    this.client = engine.worker('client');
    this.#folder = folder;
    this.log = log;
  }

  /** @param config - of the adapter */
  static async start(config: object, queues: object = {}): Promise<PostgresBed> {
    const folder = await tempFolder();
    const lines: string[] = [];
    const engine = await createEngine({
      cwd: folder.path,
      log: createLog({ level: 'info', format: 'json', stream: { write: (line: string) => void lines.push(line) } }),
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'queue', config: { adapter: { name: 'postgres', config }, queue_configs: queues } },
        ],
      },
    });
    await engine.start();
    return new PostgresBed(engine, folder, lines);
  }

  call<T = unknown>(functionId: string, payload: unknown): Promise<T> {
    return this.client.trigger<unknown, T>({ function_id: functionId, payload });
  }

  /** The receipt of a job. */
  async enqueue(data: unknown, queue = 'default', functionId = 'test::job', more: object = {}): Promise<string> {
    const request = { queue, function_id: functionId, data, ...more };
    return (await this.call<{ messageReceiptId: string }>('iii::queue::enqueue', request)).messageReceiptId;
  }

  async health(): Promise<QueueHealth> {
    const { components } = await this.call<{ components: { queue: QueueHealth } }>('engine::health::check', {});
    return components.queue;
  }

  async stats(topic = 'default'): Promise<Record<string, number>> {
    return this.call('engine::queue::topic_stats', { topic });
  }

  async stop(): Promise<void> {
    await this.engine.stop();
    await this.#folder.remove();
  }
}
