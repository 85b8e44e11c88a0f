import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, type TempFolder } from '@trine/testing';
import { stringify } from 'yaml';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { ReconnectingClient } from '../support/reconnecting-client.js';

/** One of several engines on one broker, in a process of its own, with a producer and a worker. */
export class SharedMember {
  readonly name: string;
  readonly producer: ReconnectingClient;
  readonly worker: ReconnectingClient;
  readonly #port: number;
  readonly #folder: TempFolder;
  #engine: EngineProcess | undefined;
  #lives = 0;

  private constructor(name: string, port: number, folder: TempFolder) {
    const url = `ws://127.0.0.1:${port}`;
    this.name = name;
    this.producer = new ReconnectingClient(url);
    this.worker = new ReconnectingClient(url, 'shared');
    this.#port = port;
    this.#folder = folder;
  }

  /** @param workers - entries beside the worker manager */
  static async make(name: string, workers: readonly object[]): Promise<SharedMember> {
    const [port, folder] = [await freePort(), await tempFolder('trine-shared-')];
    const all = [{ name: 'iii-worker-manager', config: { port } }, ...workers];
    await writeFile(join(folder.path, 'config.yaml'), stringify({ workers: all }));
    return new SharedMember(name, port, folder);
  }

  /** What deliveries of the engine that runs now hang on, see `Lease.holder`. */
  get holder(): string {
    return `${this.name}#${this.#lives}`;
  }

  /** Also again, after `kill`: its clients come back by themselves. */
  async start(): Promise<void> {
    this.#lives++;
    this.#engine = await EngineProcess.start({ cwd: this.#folder.path, port: this.#port });
  }

  async connect(): Promise<void> {
    for (const client of [this.producer, this.worker]) client.start();
    await this.producer.connected();
    await this.worker.connected();
  }

  /** What the engine says of its broker: `ready`, `degraded` or `unreachable`. */
  async queueState(): Promise<string | undefined> {
    const { components } = await this.producer.call<{
      readonly components: Record<string, { readonly details?: { readonly state?: string } } | undefined>;
    }>('engine::health::check', {});
    return components['queue']?.details?.state;
  }

  /** SIGKILL to the engine. */
  async kill(): Promise<void> {
    await this.#engine?.kill();
  }

  async stop(): Promise<void> {
    for (const client of [this.producer, this.worker]) client.stop();
    await this.kill();
    await this.#folder.remove();
  }
}
