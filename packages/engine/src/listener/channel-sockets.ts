/**
 * Sockets of channels on the worker port: refused before the upgrade, or handed to the end they are for.
 * The key is the credential, at the listeners where it counts: see `Channel.opensAt`.
 */
import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { AccessRules } from '../core/access-rules.js';
import type { Channel, ChannelDirection } from '../core/channel.js';
import type { Timer } from '../core/clock.js';
import type { Core } from '../core/core.js';
import { isPythonAgent } from '../core/message-limit.js';
import { ChannelReaderSocket } from './channel-reader-socket.js';
import { ABORTED, readChannelUrl } from './channel-wire.js';
import { ChannelWriterSocket } from './channel-writer-socket.js';
import { createUpgrader } from './upgrader.js';

/**
 * How often sockets of readers are pinged, in milliseconds: proxies in between cut what is silent for a minute.
 * Writers are never pinged: some (the Rust SDK) never read, and a socket that is closed with something unread in
 * it throws away what it has not sent. One that is gone is found by TCP.
 */
const PING_EVERY_MS = 20_000;

/**
 * A reader from which no byte came and that took none for this many pings (15 min) is gone. Far more than for a
 * worker: one that stands still, because what it has read keeps it busy, reads no ping either.
 */
const MISSED_PINGS = 45;
/** Taken in one interval, in bytes: so much may be our own ping, with TLS around it, in the kernel's buffer. */
const PING_COST_BYTES = 128;

/**
 * How long a reader may take to read to its Close frame, in milliseconds: what it has not read lies before it and
 * would be thrown away with its socket. As long as TCP (on Linux) tries to reach a peer that is gone.
 */
const READER_CLOSE_TIMEOUT_MS = 15 * 60_000;

export class ChannelSockets {
  readonly #core: Core;
  readonly #writerUpgrader = createUpgrader();
  readonly #readerUpgrader = createUpgrader({ closeTimeout: READER_CLOSE_TIMEOUT_MS });
  readonly #sockets = new Map<WebSocket, Promise<void>>();
  readonly #readers = new Map<WebSocket, WatchedReader>();
  #ping: Timer | undefined;

  constructor(core: Core) {
    this.#core = core;
  }

  /** @param rules - of the listener that was asked; undefined where it has none */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, rules: AccessRules | undefined): void {
    const url = readChannelUrl(request.url ?? '');
    if (url === undefined) return refuse(socket, 400, 'A channel needs ?key=...&dir=read or dir=write');
    const channel = this.#core.channels.open(url.id, url.key);
    if (channel === undefined) return refuse(socket, 404, 'Channel not found');
    if (!channel.opensAt(rules)) {
      this.#core.log.for('iii::access').warn('channel refused: it was made through another listener', {
        listener: rules?.who,
        ip_address: request.socket.remoteAddress,
        fix: 'let the worker behind the access rules make the channel: a listener without rules opens it too',
      });
      return refuse(socket, 403, 'This channel was made through another listener: its key does not count at this one');
    }
    const upgrader = url.direction === 'read' ? this.#readerUpgrader : this.#writerUpgrader;
    upgrader.handleUpgrade(request, socket, head, (ws) => {
      this.#track(ws, socket as Socket);
      const isPython = isPythonAgent(request.headers['user-agent']);
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
    this.#readers.set(ws, { socket, bytesRead: 0, bytesTaken: 0, pings: 0 });
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
      for (const [ws, reader] of this.#readers) {
        if (ws.readyState !== ws.OPEN) continue;
        if (!isAlive(reader) && reader.pings >= MISSED_PINGS) {
          ws.terminate();
          continue;
        }
        reader.pings++;
        ws.ping();
      }
      if (this.#readers.size > 0) this.#armPing();
    }, PING_EVERY_MS);
  }
}

interface WatchedReader {
  readonly socket: Socket;
  bytesRead: number;
  bytesTaken: number;
  /** Since its last sign of life. */
  pings: number;
}

/** Has a reader sent or taken anything since this was asked before? */
function isAlive(reader: WatchedReader): boolean {
  const { bytesRead, bytesWritten, writableLength } = reader.socket;
  const bytesTaken = bytesWritten - writableLength;
  const isIt = bytesRead !== reader.bytesRead || bytesTaken - reader.bytesTaken > PING_COST_BYTES;
  reader.bytesRead = bytesRead;
  reader.bytesTaken = bytesTaken;
  if (isIt) reader.pings = 0;
  return isIt;
}

/** An answer to a request that stays HTTP. */
function refuse(socket: Duplex, status: number, body: string): void {
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\ncontent-type: text/plain\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
