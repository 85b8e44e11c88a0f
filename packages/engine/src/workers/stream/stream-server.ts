/**
 * The port for stream clients: one path, `/`, which is a WebSocket. The address can move while
 * connections stay; they end with the worker.
 */
import { STATUS_CODES, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { WebSocketServer } from 'ws';
import type { WorkerHost } from '../../core/worker-host.js';
import {
  createListeningServer,
  formatAddress,
  Heartbeat,
  isLoopback,
  isSecure,
  moveAddresses,
  renew,
  TlsFiles,
  type TlsSettings,
} from '../../listener/index.js';
import { authorize } from './authorize.js';
import { StreamConnection, type ConnectionParts } from './connection.js';

/** Largest message of a client, in bytes: joins and leaves are small. */
export const MAX_MESSAGE_BYTES = 64 * 1024;
/** Clients at the same time. */
export const MAX_CONNECTIONS = 10_000;
/** Clients that wait for the auth function. */
export const MAX_PENDING_CLIENTS = 1_000;
/** Time for a client to send its request head, in milliseconds. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** How often clients over the handshake timeout are looked for, in milliseconds. */
const TIMEOUT_CHECK_MS = 1_000;
/** Close code of an engine that shuts down: clients connect again. */
const CLOSE_RESTART = 1012;

interface Address {
  readonly host?: string | undefined;
  readonly port: number;
  readonly tls?: TlsSettings | null | undefined;
}

interface Listening {
  readonly host: string;
  readonly port: number;
  readonly server: Server;
}

export class StreamServer {
  readonly #host: WorkerHost;
  readonly #parts: ConnectionParts;
  readonly #wss = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    clientTracking: false,
  });
  readonly #heartbeat: Heartbeat;
  readonly #connections = new Set<StreamConnection>();
  /** Function that is asked before every connection. */
  authFunction: string | undefined;
  #listening: readonly Listening[] = [];
  #asked: Address | undefined;
  #tls: TlsFiles | undefined;
  #pending = 0;
  #stopped = false;

  constructor(parts: Omit<ConnectionParts, 'onEnd'>) {
    this.#host = parts.host;
    this.#parts = { ...parts, onEnd: (connection) => void this.#connections.delete(connection) };
    this.#heartbeat = new Heartbeat(parts.host.clock);
  }

  /**
   * Listens on an address; where it listened before is closed afterwards. What both have in common
   * stays open, and so do all connections.
   *
   * @throws TrineError `port_taken`, `bind_failed`, `tls_unusable`; the old addresses stay then
   */
  async open({ host, port, tls: settings }: Address): Promise<void> {
    const asked = { host, port, tls: settings ?? undefined };
    if (isDeepStrictEqual(this.#asked, asked)) return;
    const before = this.#listening;
    const tls = await this.#tlsFor(asked.tls);
    const { listening, error } = await moveAddresses<Listening>({
      before,
      host,
      port,
      who: this.#host.entryName,
      open: (address, number) => this.#open(address, number, tls),
      reopen: (address, number) => this.#open(address, number, this.#tls),
      fits: ({ server }) => isSecure(server) === (tls !== undefined),
      hostOf: (each) => each.host,
      portOf: (each) => each.port,
      release: (each) => void shut(each),
      close: shut,
    });
    this.#listening = listening;
    if (error !== undefined) {
      if (tls !== this.#tls) tls?.stop();
      throw error;
    }
    if (tls !== this.#tls) {
      if (tls !== undefined)
        for (const { server } of listening.filter((each) => before.includes(each))) renew(server, tls);
      this.#tls?.stop();
      this.#tls = tls;
    }
    this.#asked = asked;
    this.#host.reportPort('stream', listening[0]?.port ?? 0);
    for (const each of listening) {
      if (before.includes(each)) continue;
      this.#host.log.info(`Stream API listening on address: ${formatAddress(each.host, each.port)}`);
    }
    for (const each of before) if (!listening.includes(each)) void shut(each);
  }

  /** The certificate that is in use, or another one, which has been read and found right. */
  async #tlsFor(settings: TlsSettings | undefined): Promise<TlsFiles | undefined> {
    if (settings === undefined) return undefined;
    if (this.#tls !== undefined && isDeepStrictEqual(this.#asked?.tls, settings)) return this.#tls;
    const { projectDir, entryName: who, clock, log } = this.#host;
    return TlsFiles.open({ settings, projectDir, who, clock, log });
  }

  /** Tells of an address that others can reach and that asks nobody. */
  warnIfOpen(): void {
    if (this.authFunction !== undefined || isLoopback(this.#asked?.host)) return;
    this.#host.log.warn(
      'the stream port can be reached from other machines and has no auth_function: anyone may read streams',
      { host: this.#asked?.host },
    );
  }

  /** All clients get what they subscribed to anew. */
  resync(): void {
    for (const connection of this.#connections) connection.resync();
  }

  /** No new connections; those that live go on. */
  drain(): void {
    this.#stopped = true;
    for (const listening of this.#listening) void shut(listening);
    this.#listening = [];
    this.#tls?.stop();
  }

  async stop(): Promise<void> {
    this.drain();
    this.#heartbeat.stop();
    const ending = [...this.#connections];
    for (const connection of ending) connection.close(CLOSE_RESTART);
    await Promise.all(ending.map(({ closed }) => closed));
  }

  async #open(host: string, port: number, tls: TlsFiles | undefined): Promise<Listening> {
    const server = createListeningServer(
      {
        headersTimeout: HANDSHAKE_TIMEOUT_MS,
        requestTimeout: HANDSHAKE_TIMEOUT_MS,
        connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      },
      tls,
    );
    server.on('request', (request, response) => {
      const known = pathOf(request) === '/';
      response
        .writeHead(known ? 400 : 404, { 'content-type': 'text/plain' })
        .end(known ? 'this is a WebSocket endpoint\n' : 'not found\n');
    });
    server.on('upgrade', (request, socket, head) => void this.#upgrade(request, socket, head));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
    return { host, port: (server.address() as AddressInfo).port, server };
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy());
    if (pathOf(request) !== '/') return answer(socket, 404);
    const full = this.#connections.size >= MAX_CONNECTIONS || this.#pending >= MAX_PENDING_CLIENTS;
    if (this.#stopped || full) {
      if (full) this.#host.log.warn('stream client refused: too many are connected', { limit: MAX_CONNECTIONS });
      return answer(socket, 503);
    }
    const context = await this.#contextOf(request);
    if (context === undefined) return answer(socket, 401);
    if (this.#stopped) return answer(socket, 503);
    this.#wss.handleUpgrade(request, socket, head, (ws) => {
      ws.binaryType = 'nodebuffer';
      const connection = new StreamConnection(ws, socket as Socket, context, this.#parts);
      this.#connections.add(connection);
      this.#heartbeat.watch(
        ws,
        socket as Socket,
        () => connection.isBusy,
        () => ws.terminate(),
      );
    });
  }

  /** @returns raw JSON; undefined = the client may not connect */
  async #contextOf(request: IncomingMessage): Promise<string | undefined> {
    if (this.authFunction === undefined) return 'null';
    const functionId = this.authFunction;
    this.#pending++;
    const authorization = await authorize(this.#host, functionId, request);
    this.#pending--;
    if (authorization.allowed) return authorization.context;
    this.#host.log.warn('stream client refused by the auth function', {
      function: functionId,
      reason: authorization.reason,
    });
    return undefined;
  }
}

function answer(socket: Duplex, status: number): void {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}

/** Upgraded sockets live on. */
function shut({ server }: Listening): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  return closed;
}

function pathOf(request: IncomingMessage): string {
  const target = request.url ?? '/';
  const query = target.indexOf('?');
  return query < 0 ? target : target.slice(0, query);
}
