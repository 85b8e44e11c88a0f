import autocannon from 'autocannon';
import { connect, type CorkedSocket } from '../corked-socket.js';
import {
  kindOf,
  readFunctionId,
  readInvocationId,
  registerFunctionFrame,
  registerTriggerFrame,
  resultFrame,
} from '../wire.js';
import { Faults, settle, type Load } from './load.js';

/** Open keep-alive connections, one request each at a time. */
export const CONNECTIONS = 50;

const FUNCTION_ID = 'bench::redirect';
const ANSWER = '{"status_code":302,"headers":{"Location":"https://example.com/target"},"body":null}';
const READY_DEADLINE_MS = 10_000;
const READY_PAUSE_MS = 20;
/** autocannon ends by itself after this long; `stop` is called far sooner. */
const LONGEST_RUN_S = 3_600;

/** `GET /s/:code`, answered 302 by a function of a worker in this process. */
export class RedirectLoad implements Load {
  readonly faults = new Faults();
  finished = 0;
  readonly #url: string;
  readonly #worker: CorkedSocket;
  #instance: autocannon.Instance | undefined;
  #ended = true;

  private constructor(url: string, worker: CorkedSocket) {
    this.#url = url;
    this.#worker = worker;
  }

  static async open(url: string, httpUrl: string): Promise<RedirectLoad> {
    const worker = await connect(url, (frame, from) => {
      if (kindOf(frame) !== 'invokefunction') return;
      const id = readInvocationId(frame);
      if (id !== undefined) from.send(resultFrame(id, readFunctionId(frame) ?? '', ANSWER));
    });
    worker.send(registerFunctionFrame(FUNCTION_ID));
    worker.send(registerTriggerFrame('bench-route', 'http', FUNCTION_ID, { api_path: '/s/:code', http_method: 'GET' }));
    const load = new RedirectLoad(`${httpUrl}/s/abc123`, worker);
    await load.#untilRouted();
    return load;
  }

  start(): void {
    this.#ended = false;
    const instance = autocannon({ url: this.#url, connections: CONNECTIONS, duration: LONGEST_RUN_S }, () => {
      this.#ended = true;
    });
    instance.on('response', (_client, status) => {
      this.finished++;
      if (status !== 302) this.faults.add(`status ${status}`);
    });
    instance.on('reqError', (error) => this.faults.add(String(error)));
    this.#instance = instance;
  }

  async stop(): Promise<void> {
    this.#instance?.stop();
    await settle('the HTTP load', () => this.#ended);
  }

  async close(): Promise<void> {
    await this.#worker.close();
  }

  async #untilRouted(): Promise<void> {
    const deadline = performance.now() + READY_DEADLINE_MS;
    for (;;) {
      const response = await fetch(this.#url, { redirect: 'manual' });
      await response.arrayBuffer();
      if (response.status === 302) return;
      if (performance.now() > deadline) throw new Error(`GET ${this.#url} answers ${response.status}`);
      await new Promise((resolve) => setTimeout(resolve, READY_PAUSE_MS));
    }
  }
}
