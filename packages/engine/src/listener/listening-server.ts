import { createServer as createHttpServer, type Server, type ServerOptions } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { Server as NetServer, Socket } from 'node:net';
import type { TlsFiles } from './tls-files.js';

/**
 * An HTTP server, with TLS where there is a certificate.
 *
 * @param options - `headersTimeout` is also the time for a TLS handshake, in milliseconds
 */
export function createListeningServer(options: ServerOptions, tls: TlsFiles | undefined): Server {
  if (tls === undefined) return createHttpServer(options);
  const { headersTimeout } = options;
  const handshake = headersTimeout === undefined ? {} : { handshakeTimeout: headersTimeout };
  const server = createHttpsServer({ ...options, ...tls.pair, ...handshake });
  renewWith(server, tls);
  endHandshakesAtClose(server);
  return server;
}

/** Is what a server serves encrypted? */
export function isSecure(server: Server): server is Server & SecureServer {
  return 'setSecureContext' in server;
}

type SecureServer = Pick<HttpsServer, 'setSecureContext' | 'once'>;

/** From now on a server that has a certificate takes it from other files. */
export function renew(server: Server, tls: TlsFiles): void {
  if (!isSecure(server)) throw new Error('a server without TLS has no certificate');
  server.setSecureContext(tls.pair);
  renewWith(server, tls);
}

/** A renewed certificate serves the connections made from then on, until the server closes. */
function renewWith(server: SecureServer, tls: TlsFiles): void {
  const forget = tls.onChange((pair) => server.setSecureContext(pair));
  server.once('close', forget);
}

function endHandshakesAtClose(server: NetServer): void {
  // Sockets in the middle of a handshake belong to nobody yet: `close` would wait for them.
  const shaking = new Map<string, Socket>();
  server.on('connection', (socket: Socket) => {
    const peer = peerOf(socket);
    shaking.set(peer, socket);
    socket.once('close', () => shaking.delete(peer));
  });
  server.on('secureConnection', (socket: Socket) => shaking.delete(peerOf(socket)));
  const close = server.close.bind(server);
  server.close = (callback) => {
    for (const socket of shaking.values()) socket.destroy();
    return close(callback);
  };
}

/** A TLS socket and the one under it have the same peer. */
function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}
