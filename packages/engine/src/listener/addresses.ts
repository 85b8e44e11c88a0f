/**
 * Which addresses a host name means. No host and `localhost` mean both loopback addresses under one
 * port number; anything else is bound alone. A machine without IPv6 is not an error.
 */
import { bindError } from './errors.js';

const LOOPBACK_V4 = '127.0.0.1';
const LOOPBACK_V6 = '::1';
/** Free ports tried until one is free on both loopback addresses. */
const MAX_PORT_TRIES = 20;
/** A machine without IPv6 answers one of these. */
const NO_IPV6: ReadonlySet<string | undefined> = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EPROTONOSUPPORT']);

export interface AddressOptions<Listening> {
  readonly host: string | undefined;
  /** 0 = a free one. */
  readonly port: number;
  /** The entry in config.yaml, for errors. */
  readonly who: string;
  /** Listens on one address; rejects with the error of the system call. */
  open(host: string, port: number): Promise<Listening>;
  portOf(listening: Listening): number;
  /** Takes back one that cannot be part of the pair. */
  close(listening: Listening): Promise<unknown>;
}

/** @throws TrineError `port_taken`, `bind_failed` */
export async function openAddresses<Listening>(options: AddressOptions<Listening>): Promise<Listening[]> {
  const { host, port } = options;
  if (host !== undefined && host !== 'localhost') return [await openOne(options, host, port)];
  for (let attempt = 1; ; attempt++) {
    const v4 = await openOne(options, LOOPBACK_V4, port);
    const chosen = options.portOf(v4);
    try {
      return [v4, await options.open(LOOPBACK_V6, chosen)];
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (NO_IPV6.has(code)) return [v4];
      await options.close(v4);
      const again = port === 0 && code === 'EADDRINUSE' && attempt < MAX_PORT_TRIES;
      if (!again) throw bindError(LOOPBACK_V6, chosen, options.who, error as NodeJS.ErrnoException);
    }
  }
}

async function openOne<Listening>(options: AddressOptions<Listening>, host: string, port: number): Promise<Listening> {
  try {
    return await options.open(host, port);
  } catch (error) {
    throw bindError(host, port, options.who, error as NodeJS.ErrnoException);
  }
}

export function isLoopback(host: string | undefined): boolean {
  return host === undefined || host === 'localhost' || host === LOOPBACK_V6 || host.startsWith('127.');
}
