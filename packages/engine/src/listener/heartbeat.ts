/**
 * Finds dead sockets. Alive = any byte read. A socket that is idle for one interval is pinged; after
 * three intervals without a byte it is cut, or, while its worker runs calls (a busy handler blocks
 * pongs, and cutting it would run its job twice), after the longer patience. Of a socket that the
 * engine itself does not read from at the moment, the bytes that its peer takes tell.
 *
 * Nobody is cut without having been asked: after a pause of the whole engine (a debugger, a suspended
 * machine) everyone seems silent.
 */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Clock, Timer } from '../core/clock.js';

export interface HeartbeatOptions {
  /** Idle time after which a socket is pinged, in milliseconds. Default 20 s. */
  readonly intervalMs: number;
  /** How long a silent socket is kept while its worker executes calls, in milliseconds. Default 5 min. */
  readonly busyPatienceMs: number;
}

export const defaultHeartbeat: HeartbeatOptions = { intervalMs: 20_000, busyPatienceMs: 5 * 60_000 };

/** Intervals without a byte, all but the first begun with a ping, after which an idle socket is cut. */
const MISSED_PINGS = 3;

interface Watched {
  readonly ws: WebSocket;
  readonly socket: Socket;
  readonly isBusy: () => boolean;
  readonly onDead: (silentMs: number) => void;
  bytesRead: number;
  bytesTaken: number;
  silentSince: number;
  /** Pings since the last byte. */
  pings: number;
}

export class Heartbeat {
  readonly #clock: Clock;
  readonly #options: HeartbeatOptions;
  readonly #watched = new Map<WebSocket, Watched>();
  #timer: Timer | undefined;

  constructor(clock: Clock, options: Partial<HeartbeatOptions> = {}) {
    this.#clock = clock;
    this.#options = { ...defaultHeartbeat, ...options };
  }

  watch(ws: WebSocket, socket: Socket, isBusy: () => boolean, onDead: (silentMs: number) => void): void {
    socket.setKeepAlive(true, this.#options.intervalMs);
    this.#watched.set(ws, {
      ws,
      socket,
      isBusy,
      onDead,
      bytesRead: socket.bytesRead,
      bytesTaken: bytesTaken(socket),
      silentSince: this.#clock.monotonic(),
      pings: 0,
    });
    ws.once('close', () => this.#watched.delete(ws));
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#watched.clear();
  }

  #arm(): void {
    this.#timer ??= this.#clock.setTimer(() => {
      this.#timer = undefined;
      for (const watched of this.#watched.values()) this.#check(watched);
      if (this.#watched.size > 0) this.#arm();
    }, this.#options.intervalMs);
  }

  #check(watched: Watched): void {
    const { bytesRead } = watched.socket;
    const taken = bytesTaken(watched.socket);
    const now = this.#clock.monotonic();
    const isRead = bytesRead !== watched.bytesRead;
    const isUnread = watched.ws.isPaused && taken !== watched.bytesTaken;
    watched.bytesRead = bytesRead;
    watched.bytesTaken = taken;
    if (isRead || isUnread) {
      watched.silentSince = now;
      watched.pings = 0;
    }
    if (isRead) return;
    const silentMs = now - watched.silentSince;
    const patience = watched.isBusy() ? this.#options.busyPatienceMs : MISSED_PINGS * this.#options.intervalMs;
    if (silentMs >= patience && watched.pings >= MISSED_PINGS - 1) {
      this.#watched.delete(watched.ws);
      watched.onDead(silentMs);
    } else if (watched.ws.readyState === watched.ws.OPEN) {
      watched.pings++;
      watched.ws.ping();
    }
  }
}

/** Bytes that the system took for the peer. */
function bytesTaken(socket: Socket): number {
  return socket.bytesWritten - socket.writableLength;
}
