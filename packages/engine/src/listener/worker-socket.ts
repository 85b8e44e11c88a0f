/**
 * A WebSocket as the transport of a session: one write per turn of the event loop.
 *
 * Text frames of one turn are laid into one buffer and written at once; `ws` keeps reading, control
 * frames and the closing handshake. Whole frames only ever meet on the socket, so the two never mix.
 *
 * Hot path. Guarded by the routed-call rows of the benchmarks (a writev of two small buffers per
 * frame, which is what sending each by itself comes to, took a third of the engine's time).
 */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Transport } from '../core/remote-session.js';

/** First byte of an unfragmented, uncompressed text frame (RFC 6455, section 5.2: FIN and opcode 1). */
const TEXT_FRAME = 0x81;
/** Longest payload with a 7-bit length, and with a 16-bit one. */
const MAX_7_BIT = 125;
const MAX_16_BIT = 0xffff;
const MAX_HEADER_BYTES = 10;
/** Largest message sent as one frame, in bytes: some clients take no larger frames, whatever they take as messages. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;
/** Payload of one frame of a larger message, in bytes. */
const FRAGMENT_BYTES = 1024 * 1024;
/** First bytes of the frames of a fragmented message: opcode 1 or 0, FIN in the last one. */
const FIRST_FRAGMENT = 0x01;
const NEXT_FRAGMENT = 0x00;
const FIN = 0x80;

export class WorkerSocket implements Transport {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  #texts: string[] = [];
  #textUnits = 0;
  /** Told when the peer has taken what was buffered. */
  onDrain: (() => void) | undefined;
  onTerminate: ((reason: string) => void) | undefined;
  readonly #flush = (): void => this.flush();

  constructor(ws: WebSocket, socket: Socket) {
    this.#ws = ws;
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('drain', () => this.onDrain?.());
  }

  send(text: string): void {
    if (this.#texts.length === 0) setImmediate(this.#flush);
    this.#texts.push(text);
    this.#textUnits += text.length;
  }

  /** Writes what waits now: before a Close frame. */
  flush(): void {
    const texts = this.#texts;
    if (texts.length === 0) return;
    this.#texts = [];
    this.#textUnits = 0;
    if (this.#ws.readyState !== this.#ws.OPEN) return;
    this.#socket.write(texts.length === 1 ? frame(texts[0] as string) : frames(texts));
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength + this.#textUnits;
  }

  pauseReading(): void {
    this.#ws.pause();
  }

  resumeReading(): void {
    this.#ws.resume();
  }

  ping(payload: string): void {
    this.flush();
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.ping(payload);
  }

  terminate(reason: string): void {
    this.onTerminate?.(reason);
    this.#ws.terminate();
  }
}

function frame(text: string): Buffer {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_FRAME_BYTES) return fragments(Buffer.from(text));
  const buffer = Buffer.allocUnsafe(MAX_HEADER_BYTES + bytes);
  return buffer.subarray(0, put(buffer, 0, text, bytes));
}

function frames(texts: readonly string[]): Buffer {
  const sizes = new Array<number>(texts.length);
  let total = 0;
  for (let i = 0; i < texts.length; i++) {
    const bytes = Buffer.byteLength(texts[i] as string);
    if (bytes > MAX_FRAME_BYTES) return Buffer.concat(texts.map(frame));
    sizes[i] = bytes;
    total += bytes + MAX_HEADER_BYTES;
  }
  const buffer = Buffer.allocUnsafe(total);
  let at = 0;
  for (let i = 0; i < texts.length; i++) at = put(buffer, at, texts[i] as string, sizes[i] as number);
  return buffer.subarray(0, at);
}

/** A message that is too large for one frame. May split inside a character: receivers put messages together as bytes. */
function fragments(payload: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let from = 0; from < payload.length; from += FRAGMENT_BYTES) {
    const part = payload.subarray(from, from + FRAGMENT_BYTES);
    const header = Buffer.allocUnsafe(MAX_HEADER_BYTES);
    const size = putHeader(header, 0, part.length);
    header[0] = (from === 0 ? FIRST_FRAGMENT : NEXT_FRAGMENT) | (from + FRAGMENT_BYTES >= payload.length ? FIN : 0);
    parts.push(header.subarray(0, size), part);
  }
  return Buffer.concat(parts);
}

/** Lays one frame at `at` and returns where the next one goes. A server's frames are not masked. */
function put(buffer: Buffer, at: number, text: string, bytes: number): number {
  const start = putHeader(buffer, at, bytes);
  buffer.write(text, start, bytes, 'utf8');
  return start + bytes;
}

/** @returns where the payload starts */
function putHeader(buffer: Buffer, at: number, bytes: number): number {
  buffer[at] = TEXT_FRAME;
  if (bytes <= MAX_7_BIT) {
    buffer[at + 1] = bytes;
    return at + 2;
  }
  if (bytes <= MAX_16_BIT) {
    buffer[at + 1] = 126;
    buffer.writeUInt16BE(bytes, at + 2);
    return at + 4;
  }
  buffer[at + 1] = 127;
  buffer.writeUInt32BE(0, at + 2);
  buffer.writeUInt32BE(bytes, at + 6);
  return at + 10;
}
