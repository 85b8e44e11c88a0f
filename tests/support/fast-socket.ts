import type { Socket } from 'node:net';
import { WebSocket } from 'ws';

/**
 * A WebSocket to the engine whose writes leave together: one system call per turn of the event loop.
 * For tests that send more frames than one write each could carry.
 */
export class FastSocket {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  #corked = false;
  readonly #uncork = (): void => {
    this.#corked = false;
    this.#socket.uncork();
  };

  private constructor(ws: WebSocket, socket: Socket) {
    this.#ws = ws;
    this.#socket = socket;
    socket.setNoDelay(true);
  }

  /**
   * @param onFrame - gets the text of each frame
   * @param onClose - called once, however the connection ends
   */
  static open(
    url: string,
    onFrame: (text: string) => void,
    onClose: (code: number) => void = () => undefined,
  ): Promise<FastSocket> {
    return new Promise((resolve, reject) => {
      const ws = new WebSocket(url, { perMessageDeflate: false });
      let socket: FastSocket | undefined;
      ws.once('upgrade', (response) => (socket = new FastSocket(ws, response.socket)));
      ws.once('open', () => {
        if (socket !== undefined) resolve(socket);
      });
      ws.on('message', (data: Buffer, isBinary: boolean) => {
        if (!isBinary) onFrame(data.toString('utf8'));
      });
      ws.on('error', reject);
      ws.once('close', onClose);
    });
  }

  get isOpen(): boolean {
    return this.#ws.readyState === WebSocket.OPEN;
  }

  /** Bytes that the engine has not taken yet. */
  get bufferedBytes(): number {
    return this.#ws.bufferedAmount;
  }

  send(frame: string | Buffer): void {
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      setImmediate(this.#uncork);
    }
    this.#ws.send(frame);
  }

  /** Drops the connection without a Close frame. */
  drop(): void {
    this.#ws.terminate();
  }
}
