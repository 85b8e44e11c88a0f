import { WebSocket } from 'ws';
import { waitFor } from './wait-for.js';

export interface StreamFrame {
  readonly type: string;
  readonly timestamp: number;
  readonly streamName: string;
  readonly groupId: string;
  readonly id: string | null;
  readonly event: { readonly type: string; readonly data?: unknown; readonly event?: unknown };
}

/**
 * A client of the stream socket.
 *
 * @example
 * const client = await StreamClient.connect(engine.ports['stream']);
 * client.join('one', 'clicks', 'all');
 * await client.event('sync');
 */
export class StreamClient {
  readonly #ws: WebSocket;
  readonly frames: StreamFrame[] = [];
  /** The text of every frame, as received. */
  readonly texts: string[] = [];
  closeCode: number | undefined;
  #failure: Error | undefined;

  private constructor(url: string, headers: Record<string, string>) {
    this.#ws = new WebSocket(url, { headers });
    this.#ws.on('message', (data: Buffer) => {
      this.texts.push(data.toString());
      this.frames.push(JSON.parse(data.toString()) as StreamFrame);
    });
    this.#ws.on('close', (code) => (this.closeCode = code));
    this.#ws.on('error', (error) => (this.#failure = error));
  }

  /** @throws Error when the upgrade is refused, e.g. `Unexpected server response: 401` */
  static async connect(
    port: number | undefined,
    options: { readonly path?: string; readonly headers?: Record<string, string> } = {},
  ): Promise<StreamClient> {
    const client = new StreamClient(`ws://127.0.0.1:${port}${options.path ?? '/'}`, options.headers ?? {});
    await waitFor(() => client.isOpen || client.#failure !== undefined, { what: 'the stream socket to open' });
    if (client.#failure !== undefined) throw client.#failure;
    return client;
  }

  get isOpen(): boolean {
    return this.#ws.readyState === WebSocket.OPEN;
  }

  join(subscriptionId: string, streamName: string, groupId: string, id?: string | null): void {
    this.send({ type: 'join', data: { subscriptionId, streamName, groupId, ...(id === undefined ? {} : { id }) } });
  }

  leave(subscriptionId: string, streamName: string, groupId: string, id?: string): void {
    this.send({ type: 'leave', data: { subscriptionId, streamName, groupId, ...(id === undefined ? {} : { id }) } });
  }

  send(message: unknown, options: { readonly binary?: boolean } = {}): void {
    this.#ws.send(typeof message === 'string' ? message : JSON.stringify(message), { binary: options.binary ?? false });
  }

  /** Waits for a frame whose event has this type and that `match` accepts. */
  event(type: string, match: (frame: StreamFrame) => boolean = () => true): Promise<StreamFrame> {
    return waitFor(() => this.frames.find((frame) => frame.event.type === type && match(frame)), {
      what: `an event ${type}`,
    });
  }

  /** The events so far: their types, or type and data. */
  get types(): string[] {
    return this.frames.map(({ event }) => event.type);
  }

  /** Answers when the engine has handled everything sent before: it handles messages in order. */
  async settled(): Promise<void> {
    const group = `settled-${this.frames.length}-${Date.now()}`;
    this.join('settled', 'settled', group);
    await this.event('sync', ({ groupId }) => groupId === group);
  }

  /** Stops reading, as a stuck client does. */
  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }

  drop(): void {
    this.#ws.terminate();
  }

  async close(): Promise<void> {
    this.#ws.close();
    await waitFor(() => this.#ws.readyState === WebSocket.CLOSED, { what: 'the stream socket to close' });
  }
}
