import { join } from 'node:path';
import { createEngine, systemClock, type Clock, type Engine } from '@trine/engine';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { WorkerProcess } from '../support/worker-process.js';

const LINK = join(import.meta.dirname, '..', '..', 'apps', 'link');
/** How long the link worker may take to start on a busy machine, in milliseconds. */
const READY_TIMEOUT_MS = 30_000;

/** The tutorial's stack on free ports in a folder of its own: an engine here, the link worker's real code in a process. */
export class LinklyStack {
  readonly engine: Engine;
  readonly folder: TempFolder;
  readonly #processes: WorkerProcess[] = [];

  private constructor(engine: Engine, folder: TempFolder) {
    this.engine = engine;
    this.folder = folder;
  }

  static async start(clock: Clock = systemClock): Promise<LinklyStack> {
    const folder = await tempFolder('trine-linkly-');
    const engine = await createEngine({
      cwd: folder.path,
      clock,
      logLevel: 'silent',
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'iii-http', config: { port: 0 } },
          { name: 'iii-state' },
          { name: 'iii-pubsub' },
          {
            name: 'iii-queue',
            config: {
              queue_configs: { clicks: { type: 'standard', max_retries: 5, concurrency: 5 } },
              adapter: { name: 'builtin' },
            },
          },
          {
            name: 'database',
            config: {
              databases: { primary: { url: 'sqlite:./data/iii.db' }, analytics: { url: 'sqlite:./data/analytics.db' } },
            },
          },
        ],
      },
    });
    const stack = new LinklyStack(engine, folder);
    try {
      await engine.start();
      const link = stack.run(process.execPath, ['--import', 'tsx', 'src/index.ts'], LINK);
      await waitFor(async () => (await stack.create('demo', 'https://iii.dev')).status === 201, {
        timeoutMs: READY_TIMEOUT_MS,
        what: 'the link worker',
      }).catch((error: unknown) => {
        throw new Error(`the link worker did not start:\n${link.output}`, { cause: error });
      });
      await stack.bound('http::redirect');
      return stack;
    } catch (error) {
      await stack.stop();
      throw error;
    }
  }

  /** A worker of this engine. */
  run(command: string, words: readonly string[], cwd?: string): WorkerProcess {
    const env = { III_URL: this.engine.url, OTEL_ENABLED: 'false' };
    const worker = new WorkerProcess(command, words, { env, ...(cwd === undefined ? {} : { cwd }) });
    this.#processes.push(worker);
    return worker;
  }

  call<T>(functionId: string, payload: unknown): Promise<T> {
    return this.engine.worker('test').trigger({ function_id: functionId, payload });
  }

  /** Rows of a database that is known to have them. */
  async query<Row>(sql: string, db = 'primary'): Promise<Row[]> {
    return (await this.call<{ rows: Row[] }>('database::query', { db, sql })).rows;
  }

  execute(sql: string, db = 'primary'): Promise<unknown> {
    return this.call('database::execute', { db, sql });
  }

  async clicks(): Promise<number> {
    const [row] = await this.query<{ n: number }>('SELECT COUNT(*) AS n FROM clicks');
    return row?.n ?? 0;
  }

  follow(code: string): Promise<Response> {
    return fetch(`${this.#base}/s/${code}`, { redirect: 'manual' });
  }

  create(code: string, url: string): Promise<Response> {
    return this.#send('POST', '/links', { code, url });
  }

  update(code: string, url: string): Promise<Response> {
    return this.#send('PUT', `/links/${code}`, { url });
  }

  /** Waits until a function has a trigger (or has none any more). */
  async bound(id: string, expected = true): Promise<void> {
    await waitFor(
      async () => {
        const { registered_triggers: rows } = await this.call<{ registered_triggers: unknown[] }>(
          'engine::registered-triggers::list',
          { function_id: id },
        );
        return rows.length > 0 === expected;
      },
      { timeoutMs: READY_TIMEOUT_MS, what: `${id} to be ${expected ? 'bound' : 'unbound'}` },
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((each) => each.kill()));
    await this.engine.stop();
    await this.folder.remove();
  }

  get #base(): string {
    return `http://127.0.0.1:${this.engine.ports['http']}`;
  }

  #send(method: string, path: string, body: unknown): Promise<Response> {
    return fetch(this.#base + path, {
      method,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  }
}
