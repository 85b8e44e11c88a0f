/**
 * A WebSocket as the transport of a session: one write per turn of the event loop, and the socket's
 * own account of what the peer has not taken.
 *
 * Hot path. Guarded by the routed-call rows of the benchmarks.
 */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Transport } from '../core/remote-session.js';

export class WorkerSocket implements Transport {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  #corked = false;
  readonly #uncork = (): void => {
    this.#corked = false;
    this.#socket.uncork();
  };
  /** Told when the peer has taken what was buffered. */
  onDrain: (() => void) | undefined;
  onTerminate: ((reason: string) => void) | undefined;

  constructor(ws: WebSocket, socket: Socket) {
    this.#ws = ws;
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('drain', () => this.onDrain?.());
  }

  send(text: string): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(this.#uncork);
    }
    this.#ws.send(text);
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  pauseReading(): void {
    this.#ws.pause();
  }

  resumeReading(): void {
    this.#ws.resume();
  }

  terminate(reason: string): void {
    this.onTerminate?.(reason);
    this.#ws.terminate();
  }
}
