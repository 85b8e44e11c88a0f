import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const OPCODES = { text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const;

/**
 * A WebSocket client for floods: what it sends is laid out by the caller, many frames per write, and
 * masked with zeros. It reads text frames, answers pings, and knows nothing of fragments.
 */
export class RawSocket {
  readonly #socket: Socket;
  readonly #onText: (text: string) => void;
  #unread: Buffer = Buffer.alloc(0);
  onClose: (reason: string) => void = () => undefined;

  private constructor(socket: Socket, onText: (text: string) => void) {
    this.#socket = socket;
    this.#onText = onText;
  }

  static async open(port: number, onText: (text: string) => void): Promise<RawSocket> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write(
      `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    const raw = new RawSocket(socket, onText);
    let head = Buffer.alloc(0);
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      const read = (chunk: Buffer): void => {
        head = Buffer.concat([head, chunk]);
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        socket.off('data', read).off('error', reject);
        if (!head.toString('latin1').startsWith('HTTP/1.1 101')) return reject(new Error(head.toString('latin1')));
        socket.on('data', (bytes: Buffer) => raw.#read(bytes));
        raw.#read(head.subarray(end + 4));
        resolve();
      };
      socket.on('data', read);
    });
    socket.on('error', (error) => raw.onClose(error.message));
    socket.on('close', () => raw.onClose('closed'));
    return raw;
  }

  /** The bytes of one frame. */
  static frame(payload: Buffer, kind: keyof typeof OPCODES): Buffer {
    const { length } = payload;
    const size = length < 126 ? 2 : length < 65_536 ? 4 : 10;
    const frame = Buffer.alloc(size + 4 + length);
    frame[0] = 0x80 | OPCODES[kind];
    frame[1] = 0x80 | (size === 2 ? length : size === 4 ? 126 : 127);
    if (size === 4) frame.writeUInt16BE(length, 2);
    else if (size === 10) frame.writeBigUInt64BE(BigInt(length), 2);
    payload.copy(frame, size + 4);
    return frame;
  }

  send(text: string): void {
    this.#socket.write(RawSocket.frame(Buffer.from(text), 'text'));
  }

  /** Writes whole frames; resolves when the socket takes more. */
  async write(bytes: Buffer): Promise<void> {
    if (this.#socket.destroyed || this.#socket.write(bytes)) return;
    const stop = new AbortController();
    const { signal } = stop;
    await Promise.race([once(this.#socket, 'drain', { signal }), once(this.#socket, 'close', { signal })]).finally(() =>
      stop.abort(),
    );
  }

  /** Drops the connection without a Close frame. */
  drop(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    let bytes = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    while (bytes.length >= 2) {
      const short = (bytes[1] as number) & 0x7f;
      const size = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (bytes.length < size) break;
      const length = size === 2 ? short : size === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
      if (bytes.length < size + length) break;
      this.#handle((bytes[0] as number) & 0x0f, bytes.subarray(size, size + length));
      bytes = bytes.subarray(size + length);
    }
    this.#unread = bytes;
  }

  #handle(opcode: number, payload: Buffer): void {
    if (opcode === OPCODES.text) this.#onText(payload.toString());
    else if (opcode === OPCODES.ping) this.#socket.write(RawSocket.frame(payload, 'pong'));
    else if (opcode === OPCODES.close) this.onClose(`Close ${payload.length >= 2 ? payload.readUInt16BE(0) : ''}`);
  }
}
