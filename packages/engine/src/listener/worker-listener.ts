/**
 * The port that workers connect to: `/` is the worker protocol, `/otel` takes telemetry only.
 * Listening starts last and stops first, so that a client in backoff meets a refused connection and
 * never half an engine.
 */
import { createServer, STATUS_CODES, type IncomingMessage, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { AddressInfo, Socket } from 'node:net';
import { WebSocketServer, type RawData, type WebSocket } from 'ws';
import type { Core } from '../core/core.js';
import type { Log } from '../core/log.js';
import { MAX_MESSAGE_BYTES } from '../core/message-limit.js';
import { RemoteSession, type SessionLimits } from '../core/remote-session.js';
import { decodeTelemetry, isTelemetry, type TelemetrySink } from '../core/telemetry.js';
import { isLoopback, openAddresses } from './addresses.js';
import { formatAddress } from './format-address.js';
import { Heartbeat, type HeartbeatOptions } from './heartbeat.js';
import { WorkerSocket } from './worker-socket.js';

export interface WorkerListenerOptions {
  readonly core: Core;
  readonly telemetry: TelemetrySink;
  readonly host: string | undefined;
  readonly port: number;
  /** The entry in config.yaml, for errors. */
  readonly who: string;
  /** Time for a client to send its request head, in milliseconds. Default 10 s. */
  readonly handshakeTimeoutMs: number;
  readonly heartbeat?: Partial<HeartbeatOptions>;
  readonly sessionLimits?: Partial<SessionLimits>;
}

/** How often clients over the handshake timeout are looked for, in milliseconds. */
const TIMEOUT_CHECK_MS = 1_000;

/** The Close code of an engine that shuts down: clients of every language reconnect after it. */
const CLOSE_RESTART = 1012;

/**
 * Close codes of a client that means to leave (RFC 6455, 7.4.1: normal, going away, none given);
 * after any other end it may come back.
 */
const CLEAN_CLOSES: ReadonlySet<number> = new Set([1000, 1001, 1005]);

/** Lets a client know that the engine has switched Nagle off, so that it may too. */
const CAPABILITIES = 'x-iii-capabilities: tcp-nodelay';

export class WorkerListener {
  readonly #options: WorkerListenerOptions;
  readonly #core: Core;
  readonly #log: Log;
  readonly #wss: WebSocketServer;
  readonly #heartbeat: Heartbeat;
  readonly #sockets = new Set<{
    readonly ws: WebSocket;
    readonly transport: WorkerSocket | undefined;
    readonly closed: Promise<void>;
  }>();
  #servers: readonly Server[] = [];
  #drained = false;
  #port = 0;
  #stopped = false;

  constructor(options: WorkerListenerOptions) {
    this.#options = options;
    this.#core = options.core;
    this.#log = options.core.log.for('iii::worker_connections');
    this.#heartbeat = new Heartbeat(options.core.clock, options.heartbeat);
    this.#wss = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_BYTES,
      clientTracking: false,
    });
    this.#wss.on('headers', (headers) => headers.push(CAPABILITIES));
  }

  get port(): number {
    return this.#port;
  }

  /** @throws TrineError `port_taken`, `bind_failed` */
  async start(): Promise<void> {
    const { host, port, who } = this.#options;
    this.#servers = await openAddresses({
      host,
      port,
      who,
      open: (address, number) => this.#listen(address, number),
      portOf,
      close: closeServer,
    });
    const first = this.#servers[0] as Server;
    this.#port = portOf(first);
    const address = formatAddress((first.address() as AddressInfo).address, this.#port);
    this.#log.for('iii::engine').info(`Engine listening on address: ${address}`);
    if (!isLoopback(host)) {
      this.#log.warn('the worker port can be reached from other machines and has no access rules', {
        host,
        port: this.#port,
      });
    }
  }

  /** No new connections; those that live go on. */
  async drain(): Promise<void> {
    if (this.#drained) return;
    this.#drained = true;
    const closed = this.#servers.map(closeServer);
    for (const server of this.#servers) server.closeIdleConnections();
    // Upgraded sockets keep `close` waiting: it is over when the listening ends.
    void Promise.all(closed);
    await Promise.resolve();
  }

  /** Ends every connection: Close 1012, then the socket, without waiting for the peer. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.drain();
    // Those that connected and have not asked for anything yet: a closed server looks after them no more.
    for (const server of this.#servers) server.closeAllConnections();
    this.#heartbeat.stop();
    const ending = [...this.#sockets];
    for (const { ws, transport } of ending) {
      transport?.flush();
      ws.close(CLOSE_RESTART);
      // The frame leaves before the socket is destroyed.
      setImmediate(() => ws.terminate());
    }
    await Promise.all(ending.map(({ closed }) => closed));
  }

  #listen(host: string, port: number): Promise<Server> {
    const { handshakeTimeoutMs } = this.#options;
    const server = createServer({
      headersTimeout: handshakeTimeoutMs,
      requestTimeout: handshakeTimeoutMs,
      connectionsCheckingInterval: Math.min(handshakeTimeoutMs, TIMEOUT_CHECK_MS),
    });
    server.on('request', (request, response) => {
      const known = pathOf(request) === '/' || pathOf(request) === '/otel';
      const status = !known ? 404 : request.method === 'GET' ? 400 : 405;
      response
        .writeHead(status, { 'content-type': 'text/plain' })
        .end(known ? 'this is a WebSocket endpoint\n' : 'not found\n');
    });
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.removeListener('error', reject);
        resolve(server);
      });
    });
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    const path = pathOf(request);
    if (this.#stopped || (path !== '/' && path !== '/otel')) {
      const status = this.#stopped ? 503 : 404;
      // The other side may keep its end open for ever.
      socket.once('finish', () => socket.destroy());
      socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    this.#wss.handleUpgrade(request, socket, head, (ws) => {
      ws.binaryType = 'nodebuffer';
      if (path === '/') this.#acceptWorker(ws, socket as Socket, request);
      else this.#acceptTelemetry(ws, socket as Socket);
    });
  }

  #acceptWorker(ws: WebSocket, socket: Socket, request: IncomingMessage): void {
    const transport = new WorkerSocket(ws, socket);
    const session = new RemoteSession(this.#core, transport, {
      address: socket.remoteAddress,
      userAgent: request.headers['user-agent'],
      ...(this.#options.sessionLimits === undefined ? {} : { limits: this.#options.sessionLimits }),
    });
    transport.onDrain = () => session.drained();
    transport.onTerminate = (reason) => this.#log.warn('worker cut off', { worker: session.label, reason });
    ws.on('message', (data: RawData, isBinary: boolean) => {
      if (isBinary && isTelemetry(data as Buffer)) this.#telemetry(data as Buffer, session.info.name);
      else session.receive((data as Buffer).toString());
    });
    ws.on('pong', (payload) => session.pong(payload.toString('latin1')));
    this.#track(ws, transport, (code) => session.closed(this.#stopped || CLEAN_CLOSES.has(code)));
    this.#heartbeat.watch(
      ws,
      socket,
      () => session.executing.size > 0,
      (silentMs) => {
        this.#log.warn('worker cut off: no byte came from it', {
          worker: session.label,
          silent_ms: Math.round(silentMs),
        });
        ws.terminate();
      },
    );
  }

  #acceptTelemetry(ws: WebSocket, socket: Socket): void {
    ws.on('message', (data: RawData, isBinary: boolean) => {
      if (isBinary) this.#telemetry(data as Buffer, undefined);
    });
    this.#track(ws, undefined, () => Promise.resolve());
    this.#heartbeat.watch(
      ws,
      socket,
      () => false,
      () => ws.terminate(),
    );
  }

  #telemetry(frame: Buffer, workerName: string | undefined): void {
    this.#options.telemetry.accept(decodeTelemetry(frame), workerName === undefined ? {} : { workerName });
  }

  #track(ws: WebSocket, transport: WorkerSocket | undefined, onClose: (code: number) => Promise<void>): void {
    const closed = new Promise<void>((resolve) => {
      ws.once('close', (code) => {
        this.#sockets.delete(entry);
        onClose(code).then(resolve, (error: unknown) => {
          this.#log.error('a session did not end cleanly', { error });
          resolve();
        });
      });
    });
    const entry = { ws, transport, closed };
    this.#sockets.add(entry);
    ws.on('error', (error) => this.#log.debug('worker socket failed', { error: error.message }));
  }
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '/';
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}
