/** Where requests arrive: looks up their route and counts those that are open. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { WorkerHost } from '../../core/worker-host.js';
import { methodNotAllowed, notFound, unavailable } from './answer.js';
import { Exchange } from './exchange.js';
import type { Limiter } from './limiter.js';
import type { Listening } from './listener.js';
import { readHeaders, splitUrl } from './request-parts.js';
import type { Routes } from './routes.js';
import type { Snapshot } from './snapshot.js';
import { writePreflight } from './write-answer.js';

export interface GatewayParts {
  readonly host: WorkerHost;
  readonly routes: Routes;
  readonly limiter: Limiter;
}

export class Gateway {
  readonly host: WorkerHost;
  readonly limiter: Limiter;
  readonly #routes: Routes;
  snapshot: Snapshot;
  #draining = false;
  #open = 0;
  #onIdle: (() => void) | undefined;

  constructor(parts: GatewayParts, snapshot: Snapshot) {
    this.host = parts.host;
    this.limiter = parts.limiter;
    this.#routes = parts.routes;
    this.snapshot = snapshot;
  }

  /** Requests that came and are not answered. */
  get open(): number {
    return this.#open;
  }

  /** From now on new requests are refused; connections close with their next answer. */
  drain(): void {
    this.#draining = true;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Resolves when no request is open. */
  idle(): Promise<void> {
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /**
   * Serves one request. Never throws, never rejects.
   *
   * @param target - the request target as it was sent
   * @param listener - where it came in; the connection is closed with the answer if that closes
   */
  serve(req: IncomingMessage, res: ServerResponse, target: string, listener: Listening): void {
    const { snapshot } = this;
    const headers = readHeaders(req.rawHeaders);
    const { path, query } = splitUrl(target);
    const method = req.method ?? 'GET';
    const found = this.#routes.find(path);
    const route = found?.endpoint.serving(method);
    if (method === 'OPTIONS' && (route === undefined || headers.has('access-control-request-method'))) {
      writePreflight(res, snapshot.cors, headers.get('origin'), found?.endpoint.allow);
      return;
    }
    const exchange = new Exchange(this, req, res, snapshot, headers, path, query, method, listener);
    this.#open++;
    if (this.#draining) exchange.finish(unavailable('The engine is stopping'));
    else if (found === undefined) exchange.finish(notFound());
    else if (route === undefined) exchange.finish(methodNotAllowed(found.endpoint.allow));
    else void exchange.run(route, found.taken);
  }

  /** One open request less. */
  closed(): void {
    if (--this.#open === 0) this.#onIdle?.();
  }
}
