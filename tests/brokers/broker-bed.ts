import { createEngine, createLog, type EmbeddedWorker, type Engine } from '@trine/engine';
import { tempFolder, type TempFolder } from '@trine/testing';

interface Health {
  readonly status: string;
  readonly details: { readonly state: string; readonly detail?: string; readonly durability?: string };
}

interface TopicStats {
  readonly depth: number;
  readonly running: number;
  readonly dlq_depth: number;
}

/** An engine in this process whose workers use a broker, and a client of it. */
export class BrokerBed {
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
  static async start(workers: readonly object[]): Promise<BrokerBed> {
    const folder = await tempFolder();
    const lines: string[] = [];
    const engine = await createEngine({
      cwd: folder.path,
      log: createLog({ level: 'info', format: 'json', stream: { write: (line: string) => void lines.push(line) } }),
      config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, ...workers] },
    });
    await engine.start();
    return new BrokerBed(engine, folder, lines);
  }

  call<T = unknown>(functionId: string, payload: unknown): Promise<T> {
    return this.client.trigger<unknown, T>({ function_id: functionId, payload });
  }

  /** The receipt of a job on the queue `default`. */
  async enqueue(data: unknown, functionId = 'test::job'): Promise<string> {
    const request = { queue: 'default', function_id: functionId, data };
    return (await this.call<{ messageReceiptId: string }>('iii::queue::enqueue', request)).messageReceiptId;
  }

  /** Serves a function; answers what it gets from now on. */
  seenBy(functionId = 'test::job', work?: (data: unknown) => Promise<void> | undefined): unknown[] {
    const seen: unknown[] = [];
    this.client.registerFunction(functionId, async (data: unknown) => {
      seen.push(data);
      await work?.(data);
      return null;
    });
    return seen;
  }

  async health(component = 'queue'): Promise<Health> {
    const { components } = await this.call<{ components: Record<string, Health> }>('engine::health::check', {});
    const found = components[component];
    if (found === undefined) throw new Error(`no health of ${component}: ${Object.keys(components).join()}`);
    return found;
  }

  /** Of the queue: `ready`, `degraded` or `unreachable`. */
  async state(component = 'queue'): Promise<string> {
    return (await this.health(component)).details.state;
  }

  stats(topic = 'default'): Promise<TopicStats> {
    return this.call('engine::queue::topic_stats', { topic });
  }

  async stop(): Promise<void> {
    await this.engine.stop();
    await this.#folder.remove();
  }
}
