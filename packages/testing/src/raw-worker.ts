import { WebSocket } from 'ws';
import { waitFor } from './wait-for.js';

export type Frame = Record<string, unknown> & { readonly type: string };

/**
 * A worker that speaks the protocol by hand: for frames that no SDK would send, and for reading
 * exactly what the engine sends.
 *
 * @example
 * const worker = await RawWorker.connect(engine.url);
 * worker.serve('math::double', (data) => (data as { n: number }).n * 2);
 * await worker.call('math::double', { n: 2 }); // 4
 */
export class RawWorker {
  readonly #ws: WebSocket;
  readonly frames: Frame[] = [];
  /** The text of every frame, as received. */
  readonly texts: string[] = [];
  closeCode: number | undefined;
  readonly #handlers = new Map<string, (data: unknown, frame: Frame) => unknown>();
  readonly #answers = new Map<string, (frame: Frame) => void>();
  #calls = 0;

  private constructor(ws: WebSocket) {
    this.#ws = ws;
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) return;
      const text = data.toString();
      const frame = JSON.parse(text) as Frame;
      this.texts.push(text);
      this.frames.push(frame);
      if (frame.type === 'invokefunction') void this.#run(frame);
      if (frame.type === 'invocationresult') this.#answers.get(String(frame['invocation_id']))?.(frame);
    });
    ws.on('close', (code) => (this.closeCode = code));
    ws.on('error', () => undefined);
  }

  /** Connects and waits for the engine's first frame. */
  static async connect(url: string, options: { readonly headers?: Record<string, string> } = {}): Promise<RawWorker> {
    const worker = new RawWorker(new WebSocket(url, { headers: options.headers ?? {} }));
    await worker.frame('workerregistered');
    return worker;
  }

  get id(): string {
    return String(this.frames[0]?.['worker_id']);
  }

  /** What a later connection must show to take over from this one. */
  get reattachToken(): string {
    return String(this.frames[0]?.['reattach_token']);
  }

  /** Takes over from an earlier connection, as SDKs do with their first frame. */
  reattach(previous: { readonly id: string; readonly reattachToken: string }): void {
    this.send({ type: 'reattach', previous_worker_id: previous.id, reattach_token: previous.reattachToken });
  }

  get isOpen(): boolean {
    return this.#ws.readyState === WebSocket.OPEN;
  }

  send(frame: unknown): void {
    this.#ws.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  sendBinary(data: Buffer): void {
    this.#ws.send(data);
  }

  /** Waits for a frame of a type that `match` accepts. */
  frame(type: string, match: (frame: Frame) => boolean = () => true): Promise<Frame> {
    return waitFor(() => this.frames.find((frame) => frame.type === type && match(frame)), { what: `a frame ${type}` });
  }

  /** Registers a function whose handler's value is the result; a thrown error is an error answer. */
  serve(id: string, handler: (data: unknown, frame: Frame) => unknown, extra: object = {}): void {
    this.#handlers.set(id, handler);
    this.send({ type: 'registerfunction', id, ...extra });
  }

  /** Describes itself, as SDKs do after connecting. */
  describe(info: {
    name: string;
    runtime?: string;
    version?: string;
    pid?: number;
    namespace?: string;
    features?: readonly string[];
  }): void {
    this.send({
      type: 'invokefunction',
      function_id: 'engine::workers::register',
      data: { runtime: 'node', ...info },
      action: { type: 'void' },
    });
  }

  /** Calls a function and waits for the whole answer frame. */
  ask(functionId: string, data: unknown, extra: object = {}): Promise<Frame> {
    const id = `00000000-0000-4000-8000-${(++this.#calls).toString(16).padStart(12, '0')}`;
    const answer = new Promise<Frame>((resolve) => this.#answers.set(id, resolve));
    this.send({ type: 'invokefunction', invocation_id: id, function_id: functionId, data, ...extra });
    return answer.finally(() => this.#answers.delete(id));
  }

  /** Calls a function; resolves with the result, rejects with the error's code and message. */
  async call(functionId: string, data: unknown, extra: object = {}): Promise<unknown> {
    const frame = await this.ask(functionId, data, extra);
    const error = frame['error'] as { code: string; message: string } | undefined;
    if (error !== undefined) throw Object.assign(new Error(error.message), { code: error.code });
    return frame['result'];
  }

  /** Stops reading from the socket, as a stuck client does. */
  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }

  /** Drops the connection without a Close frame. */
  drop(): void {
    this.#ws.terminate();
  }

  async close(): Promise<void> {
    this.#ws.close();
    await waitFor(() => this.#ws.readyState === WebSocket.CLOSED, { what: 'the socket to close' });
  }

  async #run(frame: Frame): Promise<void> {
    const handler = this.#handlers.get(String(frame['function_id']));
    if (handler === undefined) return;
    const answer = {
      type: 'invocationresult',
      invocation_id: frame['invocation_id'],
      function_id: frame['function_id'],
    };
    try {
      const result = await handler(frame['data'], frame);
      if (this.isOpen) this.send({ ...answer, ...(result === undefined ? {} : { result }) });
    } catch (error) {
      if (this.isOpen)
        this.send({ ...answer, error: { code: 'invocation_failed', message: (error as Error).message } });
    }
  }
}
