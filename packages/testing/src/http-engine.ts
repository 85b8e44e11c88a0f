import { connect } from 'node:net';
import { createEngine, type EmbeddedWorker, type Engine, type EngineOptions } from '@trine/engine';
import { tempFolder } from './temp-folder.js';

export interface HttpEngine {
  readonly engine: Engine;
  readonly port: number;
  /** A connected in-process worker. */
  readonly worker: EmbeddedWorker;
  /** Registers a function and the route to it in one go. */
  route(path: string, handler: (request: never) => unknown, config?: Record<string, unknown>): Promise<void>;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Sends text on a fresh connection and returns all that comes back until the server closes it. */
  raw(text: string): Promise<string>;
  stop(): Promise<void>;
}

/**
 * An engine with the http worker on a free port, in a folder of its own.
 *
 * @param config - of the http worker
 */
export async function httpEngine(
  config: Record<string, unknown> = {},
  options: EngineOptions = {},
): Promise<HttpEngine> {
  const folder = await tempFolder();
  const engine = await createEngine({
    cwd: folder.path,
    logLevel: 'silent',
    ...options,
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'iii-http', config: { port: 0, ...config } },
      ],
    },
  });
  await engine.start();
  const worker = engine.worker('test');
  const port = engine.ports['http'] as number;
  let made = 0;
  return {
    engine,
    port,
    worker,
    async route(path, handler, routeConfig = {}) {
      const id = `test::route-${made++}`;
      worker.registerFunction(id, handler as (request: unknown) => unknown);
      await worker.registerTrigger({ type: 'http', function_id: id, config: { api_path: path, ...routeConfig } }).ready;
    },
    fetch: (path, init) => fetch(`http://127.0.0.1:${port}${path}`, { redirect: 'manual', ...init }),
    raw: (text) => rawExchange(port, text),
    async stop() {
      await engine.stop();
      await folder.remove();
    },
  };
}

/** Sends text to a local port and returns all that comes back until the other side closes. */
export function rawExchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    let received = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk) => (received += String(chunk)));
    socket.on('close', () => resolve(received));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
  });
}
