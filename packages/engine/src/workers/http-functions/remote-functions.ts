/** The functions that live behind HTTP addresses: takes registrations in, and sends calls out. */
import { toErrorBody, TrineError } from '@trine/protocol';
import type { HttpFunctionCall, HttpFunctionHandler, HttpFunctionServer, WorkerHost } from '../../core/worker-host.js';
import { credentialsOf, type Credentials } from './credentials.js';
import { requestFailed, UrlRefusedError } from './errors.js';
import { parseInvocation, type Invocation } from './invocation.js';
import { requestHeaders } from './request-headers.js';
import { resultOf } from './result.js';
import { send, whereOf } from './send.js';
import type { HostAddress, UrlGuard } from './url-guard.js';

/** Requests under way for the functions of one worker; more are refused, so that one that hangs holds up only itself. */
export const MAX_REQUESTS_PER_WORKER = 1_024;

interface RemoteFunction {
  readonly id: string;
  readonly workerId: string;
  readonly worker: string;
  readonly invocation: Invocation;
  readonly credentials: Credentials | undefined;
}

export class RemoteFunctions implements HttpFunctionServer {
  readonly #host: WorkerHost;
  readonly #env: NodeJS.ProcessEnv;
  readonly #running = new Map<string, number>();
  readonly #requests = new Set<AbortController>();
  /** Decides which addresses may be called, from the next call on. */
  guard: UrlGuard;

  constructor(host: WorkerHost, env: NodeJS.ProcessEnv, guard: UrlGuard) {
    this.#host = host;
    this.#env = env;
    this.guard = guard;
  }

  open({
    functionId,
    invocation: raw,
    workerId,
    worker,
  }: Parameters<HttpFunctionServer['open']>[0]): HttpFunctionHandler {
    const invocation = parseInvocation(raw);
    const credentials = invocation.auth === undefined ? undefined : credentialsOf(invocation.auth, this.#env);
    const target: RemoteFunction = { id: functionId, workerId, worker, invocation, credentials };
    this.#checkEarly(target);
    return (call) => this.#call(target, call);
  }

  /** Ends what is under way. */
  stop(): void {
    for (const request of this.#requests) request.abort(new Error('the worker http-functions stops'));
  }

  /** An address that is refused now is told of when it is registered, and not only at the first call. */
  #checkEarly({ id, worker, invocation }: RemoteFunction): void {
    let url: URL;
    try {
      url = this.guard.check(invocation.url);
    } catch (error) {
      throw error instanceof UrlRefusedError ? new TrineError(error.code, `${error.message}: ${error.hint}`) : error;
    }
    this.guard.addressesOf(url).catch((error: unknown) => {
      this.#host.log.warn('function is registered, but its address cannot be called now', {
        function: id,
        worker,
        error: toErrorBody(error).message,
        hint: error instanceof UrlRefusedError ? error.hint : undefined,
      });
    });
  }

  async #call(target: RemoteFunction, call: HttpFunctionCall): ReturnType<HttpFunctionHandler> {
    const { invocation, workerId } = target;
    const running = this.#running.get(workerId) ?? 0;
    if (running >= MAX_REQUESTS_PER_WORKER) {
      throw requestFailed(target.id, new Error(`${running} requests are under way for its worker, which is the limit`));
    }
    this.#running.set(workerId, running + 1);
    const request = new AbortController();
    this.#requests.add(request);
    const abandon = (): void => request.abort(call.signal.reason);
    call.signal.addEventListener('abort', abandon, { once: true });
    const timer = this.#host.clock.setTimer(
      () => request.abort(new Error(`no response within ${invocation.timeoutMs} ms`)),
      invocation.timeoutMs,
    );
    try {
      return resultOf(await this.#exchange(target, call, request.signal));
    } finally {
      timer.cancel();
      call.signal.removeEventListener('abort', abandon);
      this.#requests.delete(request);
      const left = (this.#running.get(workerId) ?? 1) - 1;
      if (left > 0) this.#running.set(workerId, left);
      else this.#running.delete(workerId);
    }
  }

  async #exchange(target: RemoteFunction, call: HttpFunctionCall, signal: AbortSignal): ReturnType<typeof send> {
    const { invocation, credentials, id } = target;
    const url = this.guard.check(invocation.url);
    const addresses = await this.#addresses(url, invocation.method, signal);
    const body = Buffer.from(call.payload.json);
    const timestamp = String(Math.floor(this.#host.clock.now() / 1000));
    const headers = requestHeaders({
      functionId: id,
      invocationId: call.invocationId,
      timestamp,
      traceparent: call.traceparent,
      own: invocation.headers,
      credentials: credentials?.({ timestamp, body }),
    });
    return send({ url, addresses, method: invocation.method, headers, body }, signal);
  }

  /** A resolver cannot be interrupted, but it need not be waited for. */
  #addresses(url: URL, method: string, signal: AbortSignal): Promise<readonly HostAddress[]> {
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(requestFailed(whereOf(method, url), signal.reason));
      if (signal.aborted) return abort();
      signal.addEventListener('abort', abort, { once: true });
      this.guard
        .addressesOf(url)
        .then(resolve, reject)
        .finally(() => signal.removeEventListener('abort', abort));
    });
  }
}
