/**
 * The socket of a channel's reader. It is always read from, so that pings are answered and a peer that
 * leaves is noticed at once; what the peer sends is ignored.
 *
 *   open -> ending    everything was delivered: Close without status; or aborted: Close 1011 with the reason
 *   open -> gone      the peer closed or was lost: the channel is aborted, its writer hears of it
 */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { AbortReason, Channel, ChannelSink } from '../core/channel.js';
import { CHANNEL_UNIT_BYTES } from '../core/channel.js';
import { MAX_FRAME_BYTES, OLD_PYTHON_MESSAGE_BYTES, PIECE_BYTES } from '../core/message-limit.js';
import { ABORTED } from './channel-wire.js';

/** What may wait on the way to the peer before the channel is held back, in bytes: enough to keep a socket busy. */
const HIGH_WATER_BYTES = 256 * 1024;

/**
 * What may be on the way to a reader in Python, in bytes, told by the pongs that it sends: the pong to its own
 * ping lies behind that, and it cuts the connection itself when it does not get there within 20 s.
 */
const PYTHON_WINDOW_BYTES = 1024 * 1024;

export class ChannelReaderSocket implements ChannelSink {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #channel: Channel;
  readonly #isPython: boolean;
  #isOver = false;
  #isFull = false;
  /** Counted for readers in Python only, by the pings that follow the bytes. */
  #sentBytes = 0;
  #pingedBytes = 0;
  #confirmedBytes = 0;

  /** @param isPython - the peer takes messages up to 1 MiB only */
  constructor(ws: WebSocket, socket: Socket, channel: Channel, isPython: boolean) {
    this.#ws = ws;
    this.#socket = socket;
    this.#channel = channel;
    this.#isPython = isPython;
    ws.on('message', () => undefined);
    ws.on('close', () => {
      this.#isOver = true;
      channel.abort('reader_gone');
    });
    socket.on('drain', () => this.#goOn());
    if (isPython) {
      ws.on('pong', (payload) => {
        this.#confirmedBytes = Math.max(this.#confirmedBytes, Number(payload.toString('latin1')) || 0);
        this.#goOn();
      });
    }
  }

  deliver(data: Buffer, isText: boolean): boolean {
    if (this.#isOver) return false;
    if (this.#isPython && data.length > CHANNEL_UNIT_BYTES) {
      if (!isText) this.#sendSplit(data);
      else if (data.length <= OLD_PYTHON_MESSAGE_BYTES) this.#ws.send(data, TEXT);
      else this.#channel.abort('message_too_large');
    } else if (data.length > MAX_FRAME_BYTES) {
      this.#sendContinued(data, isText);
    } else {
      this.#ws.send(data, isText ? TEXT : BINARY);
    }
    if (this.#isPython) this.#askToConfirm(data.length);
    this.#isFull = !this.#hasRoom;
    return !this.#isFull;
  }

  end(): void {
    this.#isOver = true;
    this.#ws.close();
  }

  abort(reason: AbortReason): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#ws.close(ABORTED, reason);
  }

  get #hasRoom(): boolean {
    if (this.#socket.writableLength > HIGH_WATER_BYTES) return false;
    return this.#sentBytes - this.#confirmedBytes <= PYTHON_WINDOW_BYTES;
  }

  #goOn(): void {
    if (!this.#isFull || !this.#hasRoom) return;
    this.#isFull = false;
    this.#channel.pull();
  }

  #askToConfirm(bytes: number): void {
    this.#sentBytes += bytes;
    if (this.#isOver || this.#sentBytes - this.#pingedBytes < PYTHON_WINDOW_BYTES / 2) return;
    this.#pingedBytes = this.#sentBytes;
    this.#ws.ping(String(this.#sentBytes));
  }

  #sendSplit(data: Buffer): void {
    for (let at = 0; at < data.length; at += CHANNEL_UNIT_BYTES)
      this.#ws.send(data.subarray(at, at + CHANNEL_UNIT_BYTES), BINARY);
  }

  #sendContinued(data: Buffer, isText: boolean): void {
    for (let at = 0; at < data.length; at += PIECE_BYTES) {
      const fin = at + PIECE_BYTES >= data.length;
      this.#ws.send(data.subarray(at, at + PIECE_BYTES), { binary: !isText, fin });
    }
  }
}

const TEXT = { binary: false } as const;
const BINARY = { binary: true } as const;
