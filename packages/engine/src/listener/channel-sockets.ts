/**
 * Sockets of channels on the worker port: refused before the upgrade, or handed to the end they are for.
 * The key is the credential.
 */
import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { WebSocket, WebSocketServer } from 'ws';
import type { Channel, ChannelDirection } from '../core/channel.js';
import type { Timer } from '../core/clock.js';
import type { Core } from '../core/core.js';
import { ChannelReaderSocket } from './channel-reader-socket.js';
import { ABORTED, readChannelUrl } from './channel-wire.js';
import { ChannelWriterSocket } from './channel-writer-socket.js';

/**
 * How often sockets of readers are pinged, in milliseconds: proxies in between cut what is silent for a minute.
 * A reader is not cut for missing pongs, because one that stands still (its own reader is slow) reads none;
 * TCP finds those that are gone, and a channel ends with its owner. Writers are never pinged: some (the Rust
 * SDK) never read, and a socket that is closed with something unread in it throws away what it has not sent.
 */
const PING_EVERY_MS = 20_000;

export class ChannelSockets {
  readonly #core: Core;
  readonly #wss: WebSocketServer;
  readonly #sockets = new Map<WebSocket, Promise<void>>();
  readonly #readers = new Set<WebSocket>();
  #ping: Timer | undefined;

  constructor(core: Core, wss: WebSocketServer) {
    this.#core = core;
    this.#wss = wss;
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const url = readChannelUrl(request.url ?? '');
    if (url === undefined) return refuse(socket, 400, 'A channel needs ?key=...&dir=read or dir=write');
    const channel = this.#core.channels.open(url.id, url.key);
    if (channel === undefined) return refuse(socket, 404, 'Channel not found');
    this.#wss.handleUpgrade(request, socket, head, (ws) => {
      this.#track(ws, socket as Socket);
      const isPython = request.headers['user-agent']?.toLowerCase().includes('websockets') ?? false;
      if (!this.#attach(ws, socket as Socket, channel, url.direction, isPython)) ws.close();
    });
  }

  /** Ends every connection, without waiting for the peers. */
  async stop(): Promise<void> {
    this.#ping?.cancel();
    this.#ping = undefined;
    const ending = [...this.#sockets];
    for (const [ws] of ending) {
      ws.close(ABORTED, 'engine_stopping');
      // The frame leaves before the socket is destroyed.
      setImmediate(() => ws.terminate());
    }
    await Promise.all(ending.map(([, closed]) => closed));
  }

  /** False when somebody has that end already. */
  #attach(ws: WebSocket, socket: Socket, channel: Channel, direction: ChannelDirection, isPython: boolean): boolean {
    if (direction === 'write') {
      if (channel.hasWriter || channel.isOver) return false;
      return channel.takeWriter(new ChannelWriterSocket(ws, channel, this.#core.clock, isPython));
    }
    if (channel.hasReader || channel.isOver) return false;
    const reader = new ChannelReaderSocket(ws, socket, channel, isPython);
    if (!channel.takeReader(reader)) return false;
    this.#readers.add(ws);
    this.#armPing();
    channel.pull();
    return true;
  }

  #track(ws: WebSocket, socket: Socket): void {
    ws.binaryType = 'nodebuffer';
    socket.setNoDelay(true);
    socket.setKeepAlive(true, PING_EVERY_MS);
    const closed = new Promise<void>((resolve) => {
      ws.once('close', () => {
        this.#sockets.delete(ws);
        this.#readers.delete(ws);
        resolve();
      });
    });
    this.#sockets.set(ws, closed);
    ws.on('error', (error) => this.#core.log.debug('channel socket failed', { error: error.message }));
  }

  #armPing(): void {
    this.#ping ??= this.#core.clock.setTimer(() => {
      this.#ping = undefined;
      for (const ws of this.#readers) if (ws.readyState === ws.OPEN) ws.ping();
      if (this.#readers.size > 0) this.#armPing();
    }, PING_EVERY_MS);
  }
}

/** An answer to a request that stays HTTP. */
function refuse(socket: Duplex, status: number, body: string): void {
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\ncontent-type: text/plain\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
