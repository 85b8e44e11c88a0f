/**
 * A `ws` socket whose writes are corked: one write per socket per turn of the event loop. Used by the
 * load programs always, and by a floor unless it is to be what anyone writes first: a plain send per
 * frame (`sendPlainly`).
 */
import type { Socket } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';

export type OnFrame = (frame: string, from: CorkedSocket) => void;

let corking = true;

/** From here on, sockets of this process send each frame by itself. */
export function sendPlainly(): void {
  corking = false;
}

export class CorkedSocket {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  #corked = false;
  readonly #uncork = (): void => {
    this.#corked = false;
    this.#socket.uncork();
  };

  constructor(ws: WebSocket, socket: Socket, onFrame: OnFrame) {
    this.#ws = ws;
    this.#socket = socket;
    socket.setNoDelay(true);
    // latin1: what the bench sends is ASCII, and this is the cheapest way to text.
    ws.on('message', (data: Buffer) => onFrame(data.toString('latin1'), this));
  }

  send(frame: string): void {
    if (corking && !this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      setImmediate(this.#uncork);
    }
    this.#ws.send(frame);
  }

  close(): Promise<void> {
    if (this.#ws.readyState === WebSocket.CLOSED) return Promise.resolve();
    return new Promise((resolve) => {
      this.#ws.once('close', () => resolve());
      this.#ws.terminate();
    });
  }
}

/** Connects, and resolves when the socket is open. */
export function connect(url: string, onFrame: OnFrame): Promise<CorkedSocket> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, { perMessageDeflate: false });
    let corked: CorkedSocket | undefined;
    ws.once('upgrade', (response) => {
      corked = new CorkedSocket(ws, response.socket, onFrame);
    });
    ws.once('open', () => {
      if (corked !== undefined) resolve(corked);
    });
    ws.once('error', reject);
  });
}

/** Serves corked sockets on a port of the loopback interface (0 = a free one); resolves to the port. */
export function serve(onFrame: OnFrame, port = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = new WebSocketServer({ host: '127.0.0.1', port, perMessageDeflate: false });
    server.on('connection', (ws, request) => {
      new CorkedSocket(ws, request.socket, onFrame);
      ws.on('error', () => ws.terminate());
    });
    server.once('error', reject);
    server.once('listening', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') reject(new Error('the floor has no port'));
      else resolve(address.port);
    });
  });
}
