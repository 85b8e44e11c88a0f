/**
 * A worker's connection, as small as one command needs it: no reconnect, no registrations. States:
 * connecting (until the engine's `workerregistered`), open, closed (by us, by the engine, or lost).
 */
import { randomUUID } from 'node:crypto';
import { memberText, type ErrorBody } from '@trine/protocol';
import WebSocket from 'ws';
import { CliError, messageOf } from '../terminal/errors.js';

/** Longest wait for a connection that is neither accepted nor refused, in milliseconds. */
export const CONNECT_TIMEOUT_MS = 5_000;
/** Longest wait for the engine's side of a close, in milliseconds. */
const CLOSE_TIMEOUT_MS = 250;
/** Largest answer that is read, in bytes (the largest message of an engine). */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

export const TIMED_OUT =
  'Error: Timed out waiting for the engine (no response within the timeout). Is the engine running at the given address and port?';

export type Answer =
  | {
      readonly ok: true;
      /** Raw JSON; undefined when the function returned nothing. */ readonly resultJson: string | undefined;
    }
  | { readonly ok: false; readonly error: ErrorBody };

export interface InvokeOptions {
  readonly timeoutMs: number;
  readonly namespace?: string | undefined;
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
  readonly timer: NodeJS.Timeout;
}

/** The engine could not be reached at all: nothing listens, no such host, no answer. */
export class UnreachableError extends CliError {
  readonly reason: string;

  constructor(url: string, reason: string) {
    super(
      `Error: cannot reach an iii engine at ${url}: ${reason}. Start one with \`iii\`, or name its address with --address and --port or III_URL.`,
    );
    this.reason = reason;
  }
}

export class EngineConnection {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<string, Waiting>();
  #ended: CliError | undefined;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data, isBinary) => {
      if (!isBinary) this.#receive(rawText(data));
    });
    socket.on('error', (error) =>
      this.#end(new CliError(`Error: WebSocket error: ${messageOf(error)}`, { cause: error })),
    );
    socket.on('close', (code, reason) => {
      const why = reason.length > 0 ? `: ${reason.toString()}` : '';
      this.#end(
        new CliError(
          `Error: WebSocket error: the engine closed the connection (code ${code}${why}) before it answered`,
        ),
      );
    });
  }

  /**
   * Connects and says who we are.
   *
   * @param url - `ws://host:port`
   * @param name - the worker name shown by the engine while we are connected
   * @throws UnreachableError at once when the connection is refused, after `timeoutMs` at the latest
   */
  static async open(url: string, name: string, timeoutMs: number = CONNECT_TIMEOUT_MS): Promise<EngineConnection> {
    const connectMs = Math.min(timeoutMs, CONNECT_TIMEOUT_MS);
    const socket = new WebSocket(url, {
      perMessageDeflate: false,
      handshakeTimeout: connectMs,
      maxPayload: MAX_MESSAGE_BYTES,
    });
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => fail('nothing answered in time'), connectMs);
      const fail = (reason: string): void => {
        clearTimeout(timer);
        socket.removeAllListeners();
        socket.on('error', () => undefined); // what ending it reports is of no use any more
        socket.terminate();
        reject(new UnreachableError(url, reason));
      };
      socket.once('error', (error) => fail(connectFault(error)));
      socket.once('close', (code) => fail(`the connection was closed (code ${code})`));
      socket.once('message', (data, isBinary) => {
        if (isBinary || memberText(rawText(data), 'type') !== '"workerregistered"')
          return fail('what answers there is no iii engine');
        clearTimeout(timer);
        socket.removeAllListeners();
        resolve();
      });
    });
    const connection = new EngineConnection(socket);
    connection.#introduce(name);
    return connection;
  }

  /**
   * Calls a function and waits for its answer.
   *
   * @param dataJson - the payload as JSON text, sent as it is
   * @throws CliError when no answer comes: time is up, or the connection ends
   */
  invoke(functionId: string, dataJson: string, options: InvokeOptions): Promise<Answer> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = randomUUID();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new CliError(TIMED_OUT));
      }, options.timeoutMs);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.send(invokeFrame(id, functionId, dataJson, options.namespace));
    });
  }

  /** Closes with a Close frame and waits shortly for the other side's. Idempotent. */
  async close(): Promise<void> {
    const socket = this.#socket;
    if (socket.readyState === WebSocket.CLOSED) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        socket.terminate();
        resolve();
      }, CLOSE_TIMEOUT_MS);
      socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      socket.close(1000);
    });
  }

  #introduce(name: string): void {
    const data = {
      runtime: 'node',
      version: process.versions.node,
      name,
      os: `${process.platform} (${process.arch})`,
      pid: process.pid,
    };
    const json = JSON.stringify(data);
    this.#socket.send(
      `{"type":"invokefunction","function_id":"engine::workers::register","data":${json},"action":{"type":"void"}}`,
    );
  }

  #receive(text: string): void {
    const id = memberText(text, 'invocation_id');
    if (id === undefined || memberText(text, 'type') !== '"invocationresult"') return;
    const key = JSON.parse(id) as string;
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return;
    this.#waiting.delete(key);
    clearTimeout(waiting.timer);
    const error = memberText(text, 'error');
    waiting.resolve(
      error === undefined || error === 'null'
        ? { ok: true, resultJson: memberText(text, 'result') }
        : { ok: false, error: errorBody(error) },
    );
  }

  #end(error: CliError): void {
    this.#ended ??= error;
    for (const waiting of this.#waiting.values()) {
      clearTimeout(waiting.timer);
      waiting.reject(this.#ended);
    }
    this.#waiting.clear();
  }
}

function invokeFrame(id: string, functionId: string, dataJson: string, namespace: string | undefined): string {
  const place = namespace === undefined ? '' : `,"namespace":${JSON.stringify(namespace)}`;
  return `{"type":"invokefunction","invocation_id":"${id}","function_id":${JSON.stringify(functionId)},"data":${dataJson}${place}}`;
}

function errorBody(json: string): ErrorBody {
  const value = JSON.parse(json) as Partial<Record<keyof ErrorBody, unknown>> | null;
  const { code, message, stacktrace } = value ?? {};
  const body = {
    code: typeof code === 'string' ? code : 'invocation_failed',
    message: typeof message === 'string' ? message : json,
  };
  return typeof stacktrace === 'string' ? { ...body, stacktrace } : body;
}

function rawText(data: WebSocket.RawData): string {
  if (Buffer.isBuffer(data)) return data.toString();
  return Array.isArray(data) ? Buffer.concat(data).toString() : Buffer.from(data).toString();
}

function connectFault(error: Error): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ECONNREFUSED') return 'connection refused';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'no such host';
  // An engine says 403 (this origin) and 503 (it stops): those are told as they are.
  const status = /^Unexpected server response: (\d+)$/.exec(error.message)?.[1];
  if (status !== undefined && !['403', '503'].includes(status))
    return `what answers there is no worker port of an iii engine (HTTP ${status})`;
  return messageOf(error);
}
