/**
 * A WebSocket as the transport of a session: one write per turn of the event loop,
 * or per 64 frames, or per 64 KiB.
 *
 * Text frames of one turn are laid into one buffer and written at once; `ws` keeps reading, control
 * frames and the closing handshake. Whole frames only ever meet on the socket, so the two never mix.
 *
 * Hot path. Guarded by the routed-call rows of the benchmarks (a writev of two small buffers per
 * frame, which is what sending each by itself comes to, took a third of the engine's time).
 */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { MAX_FRAME_BYTES, PIECE_BYTES } from '../core/message-limit.js';
import type { Transport } from '../core/remote-session.js';

/** First byte of a frame (RFC 6455, section 5.2): FIN, and the opcode for text or for a continuation. */
const FIN = 0x80;
const TEXT = 0x01;
const CONTINUATION = 0x00;
/** Longest payload with a 7-bit length, and with a 16-bit one. */
const MAX_7_BIT = 125;
const MAX_16_BIT = 0xffff;
const MAX_HEADER_BYTES = 10;
/**
 * Frames that wait for the end of the turn at most: a peer starts on the first of many while the engine is at the
 * others, and 64 share the cost of a write well enough (with 256 calls in flight, a third more calls a second).
 */
const MAX_FRAMES = 64;
/** The same for what waits in UTF-16 units: as much as the kernel hands over at once. */
const MAX_UNITS = 64 * 1024;

/** Sockets with something to write at the end of this turn: one timer for all, a publish may reach thousands. */
let waiting: WorkerSocket[] = [];

function flushWaiting(): void {
  const sockets = waiting;
  waiting = [];
  for (const socket of sockets) {
    try {
      socket.flush();
    } catch (error) {
      // Its messages are lost, so the connection is; those of the others are not.
      socket.terminate(`a message could not be written: ${(error as Error).message}`);
    }
  }
}

export class WorkerSocket implements Transport {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  #texts: string[] = [];
  #textUnits = 0;
  /** Told when the peer has taken what was buffered. */
  onDrain: (() => void) | undefined;
  onTerminate: ((reason: string) => void) | undefined;
  #isPaused = false;
  #isHeld = false;

  constructor(ws: WebSocket, socket: Socket) {
    this.#ws = ws;
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('drain', () => this.onDrain?.());
  }

  send(text: string): void {
    if (this.#texts.length === 0 && waiting.push(this) === 1) setImmediate(flushWaiting);
    this.#textUnits += text.length;
    if (this.#texts.push(text) >= MAX_FRAMES || this.#textUnits >= MAX_UNITS) this.flush();
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
    this.#isPaused = true;
    this.#ws.pause();
  }

  resumeReading(): void {
    this.#isPaused = false;
    if (!this.#isHeld) this.#ws.resume();
  }

  /** Reads nothing while the engine has more to store than the disk takes, whatever the session wants. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    if (isHeld) this.#ws.pause();
    else if (!this.#isPaused) this.#ws.resume();
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
  const buffer = Buffer.allocUnsafe(room(bytes));
  return buffer.subarray(0, put(buffer, 0, text, bytes));
}

/** Bytes that a message takes at most, with its headers. */
function room(bytes: number): number {
  return bytes <= MAX_FRAME_BYTES
    ? MAX_HEADER_BYTES + bytes
    : MAX_HEADER_BYTES * Math.ceil(bytes / PIECE_BYTES) + bytes;
}

/**
 * What is written is cut from slabs, as Node does with small buffers: a thousand writes a second would
 * else make as many pieces of foreign memory to be found again. A slab is kept while one of its writes waits.
 */
const SLAB_BYTES = 64 * 1024;
let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let slabUsed = 0;

function frames(texts: readonly string[]): Buffer {
  const sizes = new Array<number>(texts.length);
  let total = 0;
  for (let i = 0; i < texts.length; i++) {
    const bytes = Buffer.byteLength(texts[i] as string);
    sizes[i] = bytes;
    total += room(bytes);
  }
  const isLarge = total > SLAB_BYTES / 4;
  if (!isLarge && slabUsed + total > SLAB_BYTES) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    slabUsed = 0;
  }
  const buffer = isLarge ? Buffer.allocUnsafe(total) : slab;
  const start = isLarge ? 0 : slabUsed;
  let at = start;
  for (let i = 0; i < texts.length; i++) at = put(buffer, at, texts[i] as string, sizes[i] as number);
  if (!isLarge) slabUsed = at;
  return buffer.subarray(start, at);
}

/** Lays one message at `at` and returns where the next one goes. A server's frames are not masked. */
function put(buffer: Buffer, at: number, text: string, bytes: number): number {
  if (bytes > MAX_FRAME_BYTES) return putPieces(buffer, at, Buffer.from(text));
  const start = putHeader(buffer, at, FIN | TEXT, bytes);
  buffer.write(text, start, bytes, 'utf8');
  return start + bytes;
}

/** Characters may be cut in two: only the whole message is text. */
function putPieces(buffer: Buffer, at: number, message: Buffer): number {
  let to = at;
  for (let from = 0; from < message.length; from += PIECE_BYTES) {
    const end = Math.min(from + PIECE_BYTES, message.length);
    const first = (from === 0 ? TEXT : CONTINUATION) | (end === message.length ? FIN : 0);
    to = putHeader(buffer, to, first, end - from);
    to += message.copy(buffer, to, from, end);
  }
  return to;
}

function putHeader(buffer: Buffer, at: number, first: number, bytes: number): number {
  buffer[at] = first;
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
