/**
 * Which addresses a host name means. No host and `localhost` mean both loopback addresses under one
 * port number; anything else is bound alone. A machine without IPv6 is not an error.
 */
import { TrineError } from '@trine/protocol';
import { bindError, ListenerCode } from './errors.js';

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

export interface MoveOptions<Listening> extends AddressOptions<Listening> {
  /** What listens now. */
  readonly before: readonly Listening[];
  /** The address that one was opened with. */
  hostOf(listening: Listening): string;
  /** May one that listens now go on as it is? Default: yes. */
  fits?(listening: Listening): boolean;
  /** Listens on an address as before, where moving was in vain. Default: `open`. */
  reopen?(host: string, port: number): Promise<Listening>;
  /** Gives its address free at once; its connections go on. */
  release(listening: Listening): void;
}

/** Where it listens now. With an error: it did not move, and listens where it did. */
export interface Moved<Listening> {
  readonly listening: Listening[];
  readonly error?: TrineError;
}

/**
 * Listens elsewhere. The new addresses are open before the old ones are given up, which is the
 * caller's to do; what both have in common stays. Only where an old one is in the way of a new one
 * (127.0.0.1 of 0.0.0.0 under the same port, or one that does not fit) it is released first, and opened again if that was in vain.
 */
export async function moveAddresses<Listening>(options: MoveOptions<Listening>): Promise<Moved<Listening>> {
  const { before, host, port } = options;
  const wanted = host === undefined || host === 'localhost' ? [LOOPBACK_V4, LOOPBACK_V6] : [host];
  const reopen = (address: string): Promise<Listening> =>
    openOne(
      { ...options, open: (where, number) => options.reopen?.(where, number) ?? options.open(where, number) },
      address,
      port,
    );
  const fits = (each: Listening): boolean => options.fits?.(each) !== false;
  const open = (present: readonly Listening[]): Promise<Listening[]> =>
    openAddresses({
      ...options,
      open: (address, number) => {
        const kept = present.find(
          (each) => fits(each) && options.hostOf(each) === address && options.portOf(each) === number,
        );
        return kept === undefined ? options.open(address, number) : Promise.resolve(kept);
      },
      close: async (listening) => {
        if (!present.includes(listening)) await options.close(listening);
      },
    });
  try {
    return { listening: await open(before) };
  } catch (error) {
    const refusal = error as TrineError;
    const inTheWay = before.filter(
      (each) => options.portOf(each) === port && !(fits(each) && wanted.includes(options.hostOf(each))),
    );
    if (refusal.code !== ListenerCode.portTaken || inTheWay.length === 0)
      return { listening: [...before], error: refusal };
    const present = before.filter((each) => !inTheWay.includes(each));
    for (const each of inTheWay) options.release(each);
    try {
      return { listening: await open(present) };
    } catch (again) {
      const reopened = await Promise.allSettled(inTheWay.map((each) => reopen(options.hostOf(each))));
      const listening = reopened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
      const lost = reopened.flatMap((each) =>
        each.status === 'rejected' ? [(each.reason as TrineError).message] : [],
      );
      const { code, message } = again as TrineError;
      const error = new TrineError(code, [message, ...lost].join('; and again where it was: '), { cause: again });
      return { listening: [...present, ...listening], error };
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
