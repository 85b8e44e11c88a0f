import { createServer, type Server, type ServerOptions } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bindError } from './errors.js';

/** Both loopback addresses: what "no host" and `localhost` mean. */
const LOOPBACK_V4 = '127.0.0.1';
const LOOPBACK_V6 = '::1';

/** Free ports tried until one is free on both loopback addresses. */
const MAX_PORT_TRIES = 20;

export interface BoundServers {
  readonly servers: readonly Server[];
  readonly port: number;
  /** `127.0.0.1:3111`, for the log. */
  readonly address: string;
}

export interface BindOptions {
  /** Undefined and `localhost` = 127.0.0.1 and ::1; anything else is bound alone. */
  readonly host: string | undefined;
  /** 0 = a free one. */
  readonly port: number;
  /** The entry in config.yaml, for errors. */
  readonly who: string;
  readonly server: ServerOptions;
  /** Wires one server before it listens. */
  prepare(server: Server): void;
}

/**
 * Listens on one host, or on both loopback addresses with one port number. A machine without IPv6
 * is not an error.
 *
 * @throws TrineError `port_taken`, `bind_failed`
 */
export async function bindServers(options: BindOptions): Promise<BoundServers> {
  const { host, who } = options;
  if (host !== undefined && host !== 'localhost') {
    const server = await listen(options, host, options.port).catch((error: NodeJS.ErrnoException) => {
      throw bindError(host, options.port, who, error);
    });
    return bound([server], host);
  }
  for (let attempt = 1; ; attempt++) {
    const v4 = await listen(options, LOOPBACK_V4, options.port).catch((error: NodeJS.ErrnoException) => {
      throw bindError(LOOPBACK_V4, options.port, who, error);
    });
    const { port } = v4.address() as AddressInfo;
    try {
      return bound([v4, await listen(options, LOOPBACK_V6, port)], LOOPBACK_V4);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EADDRINUSE') return bound([v4], LOOPBACK_V4); // no IPv6 here
      await closeServer(v4);
      if (options.port !== 0 || attempt >= MAX_PORT_TRIES)
        throw bindError(LOOPBACK_V6, port, who, error as NodeJS.ErrnoException);
    }
  }
}

export function isLoopback(host: string | undefined): boolean {
  return host === undefined || host === 'localhost' || host === LOOPBACK_V6 || host.startsWith('127.');
}

export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

function bound(servers: readonly Server[], host: string): BoundServers {
  const { port } = (servers[0] as Server).address() as AddressInfo;
  return { servers, port, address: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}` };
}

function listen(options: BindOptions, host: string, port: number): Promise<Server> {
  const server = createServer(options.server);
  options.prepare(server);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.removeListener('error', reject);
      resolve(server);
    });
  });
}
