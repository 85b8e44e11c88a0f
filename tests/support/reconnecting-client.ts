import { FastSocket } from './fast-socket.js';

/** Wait before another try, in milliseconds. */
const RETRY_MS = 20;

const ID_PREFIX = '00000000-0000-4000-8000-';

/** How a call ended. `lost`: the connection went before an answer came; it may or may not have had an effect. */
export type Answer =
  | { readonly kind: 'result'; readonly result: unknown }
  | { readonly kind: 'error'; readonly code: string; readonly message: string }
  | { readonly kind: 'lost' };

export interface Delivery {
  readonly data: unknown;
  readonly metadata: { readonly queue?: QueueMetadata } | undefined;
  /** The connection it came on; no other one of this client had or will have this name. */
  readonly connection: string;
}

/** What the queue tells a handler about its delivery. */
export interface QueueMetadata {
  readonly receipt: string;
  readonly attempt: number;
  readonly redelivered: boolean;
}

interface Frame extends Omit<Delivery, 'connection'> {
  readonly type: string;
  readonly invocation_id?: string;
  readonly function_id?: string;
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/**
 * A worker that comes back after each loss of the engine and registers all it has again, as the SDKs
 * do, without ever repeating a call by itself: its log of what was acknowledged is exact.
 *
 * States: `stopped` -> start() -> `connecting` <-> `open` -> stop() -> `stopped`.
 */
export class ReconnectingClient {
  readonly #url: string;
  readonly #name: string | undefined;
  readonly #functions = new Map<string, (delivery: Delivery) => unknown>();
  readonly #triggers: string[] = [];
  readonly #asked = new Map<string, (answer: Answer) => void>();
  #waiting: (() => void)[] = [];
  #socket: FastSocket | undefined;
  #running = false;
  #calls = 0;
  #connections = 0;
  /** Answers that nothing was waiting for. */
  strayAnswers = 0;

  /** @param name - what it calls itself on each connection; workers of one name share their jobs */
  constructor(url: string, name?: string) {
    this.#url = url;
    this.#name = name;
  }

  /** Serves a function on each connection. Its value is the answer, a thrown error an error answer. */
  serve(id: string, handler: (delivery: Delivery) => unknown): void {
    this.#functions.set(id, handler);
  }

  /** Binds a trigger on each connection. */
  bind(triggerType: string, functionId: string, config: unknown): void {
    const id = `${triggerType}/${functionId}`;
    this.#triggers.push(
      JSON.stringify({ type: 'registertrigger', id, trigger_type: triggerType, function_id: functionId, config }),
    );
  }

  get isOpen(): boolean {
    return this.#socket?.isOpen === true;
  }

  /** The connection of this moment. */
  get connection(): string {
    return `${this.#name ?? 'client'}#${this.#connections}`;
  }

  /** Drops the connection as a crash does, and comes back at once. */
  cut(): void {
    this.#socket?.drop();
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#connect();
  }

  stop(): void {
    this.#running = false;
    this.#socket?.drop();
    this.#release();
  }

  /** Resolves while connected, or when stopped. */
  connected(): Promise<void> {
    if (this.isOpen || !this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** One call on the connection of this moment; `lost` at once where there is none. */
  ask(functionId: string, data: unknown, action?: unknown): Promise<Answer> {
    const socket = this.#socket;
    if (socket === undefined || !socket.isOpen) return Promise.resolve({ kind: 'lost' });
    const id = ID_PREFIX + (++this.#calls).toString(16).padStart(12, '0');
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
      socket.send(JSON.stringify({ type: 'invokefunction', invocation_id: id, function_id: functionId, data, action }));
    });
  }

  /** The result of a call that has to succeed. */
  async call<T>(functionId: string, data: unknown): Promise<T> {
    const answer = await this.ask(functionId, data);
    if (answer.kind === 'result') return answer.result as T;
    throw new Error(
      `${functionId}: ${answer.kind === 'error' ? `${answer.code}: ${answer.message}` : 'the connection was lost'}`,
    );
  }

  async #connect(): Promise<void> {
    while (this.#running && !this.isOpen) {
      const opened: { socket?: FastSocket } = {};
      try {
        opened.socket = await FastSocket.open(
          this.#url,
          (text) => this.#receive(text, opened.socket as FastSocket),
          () => this.#closed(opened.socket),
        );
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        continue;
      }
      this.#socket = opened.socket;
      this.#connections++;
      if (!this.#running) return this.#socket.drop();
      for (const id of this.#functions.keys()) this.#socket.send(JSON.stringify({ type: 'registerfunction', id }));
      for (const trigger of this.#triggers) this.#socket.send(trigger);
      if (this.#name !== undefined) this.#socket.send(description(this.#name));
      this.#release();
    }
  }

  #closed(socket: FastSocket | undefined): void {
    if (socket === undefined || this.#socket !== socket) return;
    this.#socket = undefined;
    const lost = [...this.#asked.values()];
    this.#asked.clear();
    for (const settle of lost) settle({ kind: 'lost' });
    if (this.#running) void this.#connect();
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  #receive(text: string, socket: FastSocket): void {
    const frame = JSON.parse(text) as Frame;
    if (frame.type === 'invokefunction') void this.#run(frame, socket);
    if (frame.type !== 'invocationresult' || frame.invocation_id === undefined) return;
    const settle = this.#asked.get(frame.invocation_id);
    if (settle === undefined) this.strayAnswers++;
    this.#asked.delete(frame.invocation_id);
    settle?.(frame.error === undefined ? { kind: 'result', result: frame.result } : { kind: 'error', ...frame.error });
  }

  async #run(frame: Frame, socket: FastSocket): Promise<void> {
    const handler = this.#functions.get(frame.function_id ?? '');
    if (handler === undefined) return;
    const answer = { type: 'invocationresult', invocation_id: frame.invocation_id, function_id: frame.function_id };
    const { connection } = this;
    let end: object;
    try {
      end = { result: (await handler({ ...frame, connection })) ?? null };
    } catch (error) {
      end = { error: { code: 'invocation_failed', message: (error as Error).message } };
    }
    if (socket.isOpen) socket.send(JSON.stringify({ ...answer, ...end }));
  }
}

/** What an SDK says of itself after connecting. */
function description(name: string): string {
  return JSON.stringify({
    type: 'invokefunction',
    function_id: 'engine::workers::register',
    data: { name, runtime: 'node' },
    action: { type: 'void' },
  });
}
