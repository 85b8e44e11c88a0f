import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { EngineProcess, freePort } from '../support/engine-process.js';
import type { Client } from './clients.js';
import { SECRET } from './secret.js';

/** How long a client may take to register what it was told to, in milliseconds. */
const SERVED_TIMEOUT_MS = 20_000;

const ENGINE_ENV = { [SECRET.name]: SECRET.value };

interface Ports {
  readonly main: number;
  readonly http: number;
  readonly stream: number;
  /** A listener with access rules per client, whose rules that client itself keeps. */
  readonly gates: ReadonlyMap<string, number>;
}

interface Listed {
  readonly functions: readonly { readonly function_id: string }[];
}

export interface RegisteredTrigger {
  readonly id: string;
  readonly trigger_type: string;
  readonly function_id: string;
  readonly status?: string;
}

/** The real command with everything that a client may ask for, in a folder and on ports of its own. */
export class CompatEngine {
  readonly #folder: TempFolder;
  readonly #ports: Ports;
  #process: EngineProcess;
  #witness: RawWorker;

  private constructor(folder: TempFolder, ports: Ports, engine: EngineProcess, witness: RawWorker) {
    this.#folder = folder;
    this.#ports = ports;
    this.#process = engine;
    this.#witness = witness;
  }

  static async start(clients: readonly Client[]): Promise<CompatEngine> {
    const folder = await tempFolder('trine-compat-');
    const gates = new Map<string, number>();
    for (const { name } of clients) gates.set(name, await freePort());
    const ports = { main: await freePort(), http: await freePort(), stream: await freePort(), gates };
    // JSON is YAML.
    await writeFile(join(folder.path, 'config.yaml'), JSON.stringify({ workers: workers(ports) }));
    const engine = await EngineProcess.start({ cwd: folder.path, port: ports.main, env: ENGINE_ENV });
    return new CompatEngine(folder, ports, engine, await witness(ports.main));
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#ports.main}`;
  }

  /** Goes with the engine. */
  get folder(): string {
    return this.#folder.path;
  }

  get output(): string {
    return this.#process.output;
  }

  gateUrl(client: Client): string {
    return `ws://127.0.0.1:${this.#ports.gates.get(client.name)}`;
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.#ports.http}${path}`, init);
  }

  /** Calls a function as nobody in particular. */
  call<T = unknown>(functionId: string, payload: unknown = {}): Promise<T> {
    return this.#witness.call(functionId, payload) as Promise<T>;
  }

  async functionIds(): Promise<string[]> {
    const { functions } = await this.call<Listed>('engine::functions::list', { include_internal: true });
    return functions.map(({ function_id }) => function_id);
  }

  /** Waits until all of these are registered. */
  async served(...ids: string[]): Promise<void> {
    await waitFor(
      async () => {
        const listed = await this.functionIds();
        return ids.every((id) => listed.includes(id));
      },
      { timeoutMs: SERVED_TIMEOUT_MS, what: `${ids.join(', ')} to be served` },
    );
  }

  /** Triggers of a function, once there are so many in this state. */
  async bound(functionId: string, count = 1, status?: string): Promise<RegisteredTrigger[]> {
    return waitFor(
      async () => {
        const { registered_triggers: rows } = await this.call<{ registered_triggers: RegisteredTrigger[] }>(
          'engine::registered-triggers::list',
          { function_id: functionId },
        );
        const found = rows.filter((row) => (status === undefined ? row.status !== 'pending' : row.status === status));
        return found.length === count ? found : undefined;
      },
      { timeoutMs: SERVED_TIMEOUT_MS, what: `${count} ${status ?? 'active'} triggers of ${functionId}` },
    );
  }

  async restart(): Promise<void> {
    await this.#process.stop();
    this.#process = await EngineProcess.start({ cwd: this.#folder.path, port: this.#ports.main, env: ENGINE_ENV });
    this.#witness = await witness(this.#ports.main);
  }

  async stop(): Promise<void> {
    await this.#process.kill();
    await this.#folder.remove();
  }
}

const witness = (port: number): Promise<RawWorker> => RawWorker.connect(`ws://127.0.0.1:${port}`);

function workers(ports: Ports): unknown[] {
  return [
    { name: 'iii-worker-manager', config: { port: ports.main } },
    ...[...ports.gates].map(([name, port]) => ({
      name: 'iii-worker-manager',
      config: {
        port,
        middleware_function_id: `${name}::steward`,
        rbac: {
          auth_function_id: `${name}::doorkeeper`,
          expose_functions: [`match("${name}::open::*")`, { metadata: { public: true } }],
          on_function_registration_function_id: `${name}::on_function`,
          on_trigger_registration_function_id: `${name}::on_trigger`,
          on_trigger_type_registration_function_id: `${name}::on_trigger_type`,
        },
      },
    })),
    { name: 'iii-http', config: { port: ports.http } },
    { name: 'iii-http-functions', config: { security: { require_https: false, block_private_ips: false } } },
    {
      name: 'iii-queue',
      config: {
        queue_configs: {
          orders: { type: 'fifo', message_group_field: 'group', concurrency: 2 },
          shaky: { type: 'standard', max_retries: 3, backoff_ms: 50 },
        },
      },
    },
    { name: 'iii-pubsub' },
    { name: 'iii-state' },
    { name: 'iii-stream', config: { port: ports.stream } },
    { name: 'iii-observability', config: { level: 'info' } },
  ];
}
