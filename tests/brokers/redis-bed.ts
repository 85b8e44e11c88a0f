import { createEngine, createLog, type EmbeddedWorker, type Engine } from '@trine/engine';
import { tempFolder, type TempFolder } from '@trine/testing';

export interface QueueHealth {
  readonly status: string;
  readonly details: { readonly state: string; readonly detail?: string; readonly durability?: string };
}

/** An engine in this process whose workers use one Redis, and a client of it. */
export class RedisBed {
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

  /** @param workers - entries beside the worker manager */
  static async start(workers: readonly object[]): Promise<RedisBed> {
    const folder = await tempFolder();
    const lines: string[] = [];
    const engine = await createEngine({
      cwd: folder.path,
      log: createLog({ level: 'info', format: 'json', stream: { write: (line: string) => void lines.push(line) } }),
      config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, ...workers] },
    });
    await engine.start();
    return new RedisBed(engine, folder, lines);
  }

  call<T = unknown>(functionId: string, payload: unknown): Promise<T> {
    return this.client.trigger<unknown, T>({ function_id: functionId, payload });
  }

  /** The receipt of a job on the queue `default`. */
  async enqueue(data: unknown, functionId = 'test::job', more: object = {}): Promise<string> {
    const request = { queue: 'default', function_id: functionId, data, ...more };
    return (await this.call<{ messageReceiptId: string }>('iii::queue::enqueue', request)).messageReceiptId;
  }

  async health(component = 'queue'): Promise<QueueHealth> {
    const { components } = await this.call<{ components: Record<string, QueueHealth> }>('engine::health::check', {});
    const found = components[component];
    if (found === undefined) throw new Error(`no health of ${component}: ${Object.keys(components).join()}`);
    return found;
  }

  async stop(): Promise<void> {
    await this.engine.stop();
    await this.#folder.remove();
  }
}

/** The queue on a Redis. */
export function queueOn(url: string, more: object = {}, queues: object = {}): object {
  return {
    name: 'queue',
    config: { adapter: { name: 'redis', config: { redis_url: url, ...more } }, queue_configs: queues },
  };
}
