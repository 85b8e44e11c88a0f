/**
 * One address with fastify under it. fastify brings the server, its limits and its graceful close; what
 * it thinks of paths, bodies and content types does not apply: every request is taken over before it
 * looks at them.
 *
 * States: `listening` -> `closing` (no new connections, idle ones ended, open requests finish) -> `closed`.
 */
import type { IncomingMessage, ServerOptions, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import { createListeningServer, formatAddress, isSecure, renew, type TlsFiles } from '../../listener/index.js';

/** A client has this long to send the head of a request, in milliseconds. Its body has limits of its own. */
const HEAD_TIMEOUT_MS = 15_000;
/** How often the server looks for clients over these, in milliseconds. */
const TIMEOUT_CHECK_MS = 5_000;
/** Idle connections are kept this long, in milliseconds: longer than the 60 s of common proxies. */
const KEEP_ALIVE_MS = 72_000;
/** Largest head of a request in bytes: long URLs and cookies pass. */
const MAX_HEAD_BYTES = 64 * 1024;

export interface ListenerLimits {
  readonly headTimeoutMs?: number;
  readonly timeoutCheckMs?: number;
}

/** @param target - the request target as it was sent */
export type Serve = (req: IncomingMessage, res: ServerResponse, target: string, listener: Listening) => void;

export interface Listening {
  /** The connection should be closed with the answer. */
  readonly closing: boolean;
}

export class Listener implements Listening {
  readonly host: string;
  readonly #app: FastifyInstance;
  readonly #sockets = new Set<Socket>();
  #port = 0;
  #closing: Promise<void> | undefined;

  private constructor(host: string, app: FastifyInstance) {
    this.host = host;
    this.#app = app;
  }

  /** @throws the error of the system call, e.g. with `code: 'EADDRINUSE'` */
  static async open(
    host: string,
    port: number,
    serve: Serve,
    limits: ListenerLimits = {},
    tls?: TlsFiles,
  ): Promise<Listener> {
    const app = fastify({
      logger: false,
      // All paths are one route to fastify, so it decodes and refuses none; the original stays readable.
      rewriteUrl: () => '/',
      // No schemas here: their compilers, which fastify loads otherwise, cost 40 ms at start.
      schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
      return503OnClosing: false,
      forceCloseConnections: 'idle',
      serverFactory: (handler) => {
        const options: ServerOptions = {
          maxHeaderSize: MAX_HEAD_BYTES,
          headersTimeout: limits.headTimeoutMs ?? HEAD_TIMEOUT_MS,
          connectionsCheckingInterval: limits.timeoutCheckMs ?? TIMEOUT_CHECK_MS,
          keepAliveTimeout: KEEP_ALIVE_MS,
          requestTimeout: 0, // an upload takes as long as it takes
        };
        return createListeningServer(options, tls).on('request', handler);
      },
      clientErrorHandler: refuseConnection,
    });
    const listener = new Listener(host, app);
    app.addHook('onRequest', (request, reply) => {
      reply.hijack();
      serve(request.raw, reply.raw, request.originalUrl, listener);
    });
    app.all('/', () => undefined);
    // What a request is served on, not what is under its encryption: that one would cut off what is written last.
    app.server.on(isSecure(app.server) ? 'secureConnection' : 'connection', (socket: Socket) => {
      listener.#sockets.add(socket);
      socket.once('close', () => listener.#sockets.delete(socket));
    });
    try {
      await app.listen({ host, port });
    } catch (error) {
      await app.close();
      throw error;
    }
    listener.#port = (app.server.address() as AddressInfo).port;
    return listener;
  }

  /** The real port, also when 0 was asked for. */
  get port(): number {
    return this.#port;
  }

  /** `127.0.0.1:3111`, `[::1]:3111`. */
  get address(): string {
    return formatAddress(this.host, this.#port);
  }

  /** Is what it serves encrypted? */
  get isSecure(): boolean {
    return isSecure(this.#app.server);
  }

  /** Serves connections made from now on with another certificate. */
  renew(tls: TlsFiles): void {
    renew(this.#app.server, tls);
  }

  get closing(): boolean {
    return this.#closing !== undefined;
  }

  /** Gives the address free at once. To be followed by `close`, which ends the connections. */
  release(): void {
    this.#app.server.close();
  }

  /** Stops listening and ends idle connections; resolves when the last connection is closed. */
  close(): Promise<void> {
    return (this.#closing ??= this.#app.close());
  }

  /** Ends all connections, what is written going out first. */
  endConnections(): void {
    for (const socket of this.#sockets) socket.destroySoon();
  }

  /** Ends all connections now. */
  destroyConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

function noSchemas(): never {
  throw new Error('routes of this server have no schemas');
}

/** Answers what is no request: the connection cannot be used any more. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code !== 'ECONNRESET' && socket.writable) {
    const status =
      error.code === 'HPE_HEADER_OVERFLOW'
        ? '431 Request Header Fields Too Large'
        : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? '408 Request Timeout'
          : '400 Bad Request';
    socket.write(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
  }
  socket.destroySoon();
}
