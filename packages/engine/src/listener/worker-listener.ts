/**
 * The port that workers connect to: `/` is the worker protocol, `/otel` takes telemetry only,
 * `/ws/channels/...` are the ends of channels.
 * Listening starts last and stops first, so that a client in backoff meets a refused connection and
 * never half an engine.
 */
import { STATUS_CODES, type IncomingMessage, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { AddressInfo, Socket } from 'node:net';
import type { RawData, WebSocket, WebSocketServer } from 'ws';
import type { Core } from '../core/core.js';
import type { Log } from '../core/log.js';
import type { Registration } from '../core/worker-host.js';
import { RemoteSession, type SessionLimits } from '../core/remote-session.js';
import type { SessionAccess } from '../core/session-access.js';
import { decodeTelemetry, isTelemetry, type TelemetrySink } from '../core/telemetry.js';
import { isLoopback, moveAddresses } from './addresses.js';
import { ChannelSockets } from './channel-sockets.js';
import { isChannelPath } from './channel-wire.js';
import { formatAddress } from './format-address.js';
import type { Gate } from './gate.js';
import { Heartbeat, type HeartbeatOptions } from './heartbeat.js';
import { createListeningServer, renew } from './listening-server.js';
import { originAllowed } from './origin.js';
import type { TlsFiles } from './tls-files.js';
import { createUpgrader } from './upgrader.js';
import { WorkerSocket } from './worker-socket.js';

/** What may change while it listens. */
export interface WorkerPortSettings {
  readonly host: string | undefined;
  /** 0 = a free one. */
  readonly port: number;
  /** Time for a client to send its request head, in milliseconds. */
  readonly handshakeTimeoutMs: number;
  /** Access rules; undefined where there are none. */
  readonly gate?: Gate | undefined;
  /** Origins of the pages that may connect; undefined = any. */
  readonly allowedOrigins?: readonly string[] | undefined;
  /** Certificate and key; undefined = no TLS. */
  readonly tls?: TlsFiles | undefined;
}

interface Listening {
  readonly host: string;
  readonly port: number;
  readonly server: Server;
  readonly isSecure: boolean;
}

export interface WorkerListenerOptions {
  readonly core: Core;
  readonly telemetry: TelemetrySink;
  /** The entry in config.yaml, for errors. */
  readonly who: string;
  readonly heartbeat?: Partial<HeartbeatOptions>;
  readonly sessionLimits?: Partial<SessionLimits>;
  /** Tells when sockets must not be read, because too much waits for the disk, and when they may be again. */
  readonly pressure?: Pressure;
}

export interface Pressure {
  on(listener: (isPressed: boolean) => void): Registration;
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

export class WorkerListener {
  readonly #options: WorkerListenerOptions;
  readonly #core: Core;
  readonly #log: Log;
  readonly #wss: WebSocketServer;
  readonly #heartbeat: Heartbeat;
  readonly #channelSockets: ChannelSockets;
  readonly #sockets = new Set<{
    readonly ws: WebSocket;
    readonly transport: WorkerSocket | undefined;
    readonly closed: Promise<void>;
  }>();
  #listening: readonly Listening[] = [];
  #asked: WorkerPortSettings | undefined;
  /** Who is let in now, and how. */
  #door: Pick<WorkerPortSettings, 'gate' | 'allowedOrigins'> | undefined;
  /** Connections that the engine has ended: nobody comes back to them. */
  readonly #ended = new WeakSet<WebSocket>();
  readonly #pressure: Registration | undefined;
  #isPressed = false;
  #drained = false;
  #stopped = false;

  constructor(options: WorkerListenerOptions) {
    this.#options = options;
    this.#core = options.core;
    this.#log = options.core.log.for('iii::worker_connections');
    this.#heartbeat = new Heartbeat(options.core.clock, options.heartbeat);
    this.#wss = createUpgrader();
    this.#channelSockets = new ChannelSockets(options.core);
    this.#pressure = options.pressure?.on((isPressed) => {
      this.#isPressed = isPressed;
      for (const { transport } of this.#sockets) transport?.hold(isPressed);
    });
  }

  /** The real port, also when 0 was asked for. */
  get port(): number {
    return this.#listening[0]?.port ?? 0;
  }

  /**
   * Listens, or listens elsewhere: the old addresses are given up once the new ones are open.
   * Connected workers stay, unless other rules are to hold: those begin again under the new ones.
   *
   * @throws TrineError `port_taken`, `bind_failed`; the old addresses and rules stay then
   */
  async listen(settings: WorkerPortSettings): Promise<void> {
    const { host, port, handshakeTimeoutMs, tls } = settings;
    const [before, asked] = [this.#listening, this.#asked];
    const isSecure = tls !== undefined;
    // Nobody may come in before there is a door.
    this.#door ??= settings;
    if (asked === undefined || asked.host !== host || asked.port !== port || (asked.tls !== undefined) !== isSecure) {
      const { listening, error } = await moveAddresses<Listening>({
        before,
        host,
        port,
        who: this.#options.who,
        open: (address, number) => this.#open(address, number, handshakeTimeoutMs, tls),
        reopen: (address, number) => this.#open(address, number, handshakeTimeoutMs, asked?.tls),
        fits: (each) => each.isSecure === isSecure,
        hostOf: (each) => each.host,
        portOf: (each) => each.port,
        release: (each) => void closeServer(each),
        close: closeServer,
      });
      this.#listening = listening;
      if (error !== undefined) throw error;
      for (const each of before) if (!listening.includes(each)) void closeServer(each);
      this.#tell(host, settings.gate);
    }
    if (tls !== undefined && tls !== asked?.tls) for (const { server } of this.#listening) renew(server, tls);
    const isOtherDoor = this.#door.gate !== settings.gate || this.#door.allowedOrigins !== settings.allowedOrigins;
    this.#door = settings;
    this.#asked = settings;
    if (isOtherDoor) void Promise.all(this.#endConnections());
    for (const { server } of this.#listening) setHandshakeTimeout(server, handshakeTimeoutMs);
  }

  /** No new connections; those that live go on. */
  async drain(): Promise<void> {
    if (this.#drained) return;
    this.#drained = true;
    // Upgraded sockets keep `close` waiting: it is over when the listening ends.
    for (const each of this.#listening) void closeServer(each);
    await Promise.resolve();
  }

  /** Ends every connection: Close 1012, then the socket, without waiting for the peer. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.drain();
    // Those that connected and have not asked for anything yet: a closed server looks after them no more.
    for (const { server } of this.#listening) server.closeAllConnections();
    this.#heartbeat.stop();
    this.#pressure?.remove();
    await Promise.all([this.#channelSockets.stop(), ...this.#endConnections()]);
  }

  /** @returns promises that settle when all is over */
  #endConnections(): Promise<void>[] {
    const ending = [...this.#sockets];
    for (const { ws, transport } of ending) {
      this.#ended.add(ws);
      transport?.flush();
      ws.close(CLOSE_RESTART);
      // The frame leaves before the socket is destroyed.
      setImmediate(() => ws.terminate());
    }
    return ending.map(({ closed }) => closed);
  }

  #tell(host: string | undefined, gate: Gate | undefined): void {
    const [first] = this.#listening as [Listening];
    const address = formatAddress((first.server.address() as AddressInfo).address, first.port);
    this.#log.for('iii::engine').info(`Engine listening on address: ${address}`);
    const exposure = isLoopback(host) ? undefined : exposureOf(gate);
    if (exposure !== undefined) this.#log.warn(exposure, { host, port: first.port });
  }

  #open(host: string, port: number, handshakeTimeoutMs: number, tls: TlsFiles | undefined): Promise<Listening> {
    const server = createListeningServer(
      {
        headersTimeout: handshakeTimeoutMs,
        requestTimeout: handshakeTimeoutMs,
        connectionsCheckingInterval: Math.min(handshakeTimeoutMs, TIMEOUT_CHECK_MS),
      },
      tls,
    );
    server.on('request', (request, response) => {
      const path = pathOf(request);
      const known = path === '/' || path === '/otel' || isChannelPath(path);
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
        resolve({ host, port: (server.address() as AddressInfo).port, server, isSecure: tls !== undefined });
      });
    });
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    const path = pathOf(request);
    const known = path === '/' || path === '/otel' || isChannelPath(path);
    const admitted = originAllowed(this.#door ?? {}, request);
    if (this.#drained || !known || !admitted) {
      const status = this.#drained ? 503 : known ? 403 : 404;
      if (!admitted)
        this.#log.warn('connection refused: its origin is not allowed', { origin: request.headers.origin });
      // The other side may keep its end open for ever.
      socket.once('finish', () => socket.destroy());
      socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    if (isChannelPath(path)) return this.#channelSockets.upgrade(request, socket, head, this.#door?.gate?.rules);
    this.#wss.handleUpgrade(request, socket, head, (ws) => {
      ws.binaryType = 'nodebuffer';
      const enter = (access?: SessionAccess): void => {
        if (path === '/') this.#acceptWorker(ws, socket as Socket, request, access);
        else this.#acceptTelemetry(ws, socket as Socket);
      };
      const gate = this.#door?.gate;
      if (gate === undefined) return enter();
      this.#track(ws, undefined, () => Promise.resolve());
      void gate.admit(ws, request, enter);
    });
  }

  #acceptWorker(ws: WebSocket, socket: Socket, request: IncomingMessage, access: SessionAccess | undefined): void {
    const transport = new WorkerSocket(ws, socket);
    if (this.#isPressed) transport.hold(true);
    const session = new RemoteSession(this.#core, transport, {
      address: socket.remoteAddress,
      userAgent: request.headers['user-agent'],
      access,
      ...(this.#options.sessionLimits === undefined ? {} : { limits: this.#options.sessionLimits }),
    });
    transport.onDrain = () => session.drained();
    transport.onTerminate = (reason) => this.#log.warn('worker cut off', { worker: session.label, reason });
    ws.on('message', (data: RawData, isBinary: boolean) => {
      if (isBinary && isTelemetry(data as Buffer)) this.#telemetry(data as Buffer, session.info.name);
      else session.receive((data as Buffer).toString());
    });
    ws.on('pong', (payload) => session.pong(payload.toString('latin1')));
    this.#track(ws, transport, (code) =>
      session.closed(this.#stopped || this.#ended.has(ws) || CLEAN_CLOSES.has(code)),
    );
    this.#heartbeat.watch(
      ws,
      socket,
      () => session.executing.size > 0 || this.#isPressed,
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

function setHandshakeTimeout(server: Server, timeoutMs: number): void {
  server.headersTimeout = timeoutMs;
  server.requestTimeout = timeoutMs;
}

/** What to warn of on a port that other machines reach. */
function exposureOf(gate: Gate | undefined): string | undefined {
  if (gate?.rules.restricted !== true)
    return 'the worker port can be reached from other machines and has no access rules';
  return gate.rules.authFunctionId === undefined
    ? 'the worker port can be reached from other machines and has no auth function: whoever connects may register'
    : undefined;
}

/** Stops listening at once, and ends idle connections; resolves when none is left. */
function closeServer({ server }: Listening): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}

function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '/';
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}
