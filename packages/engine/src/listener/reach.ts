/** How a client on this machine reaches what listens on a host. */
import { isIPv6 } from 'node:net';
import { formatAddress } from './format-address.js';

/** Hosts that listen on the loopback address 127.0.0.1 too, and those that stand for it. */
const ON_LOOPBACK: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '0.0.0.0', '[::]']);

/**
 * @param host - as configured; undefined = both loopback addresses
 * @param loopback - how loopback is to be called
 * @returns `HOST:PORT`, ready for a URL
 */
export function reachableAt(host: string | undefined, port: number, loopback: 'localhost' | '127.0.0.1'): string {
  return formatAddress(host === undefined || ON_LOOPBACK.has(plain(host)) ? loopback : host, port);
}

/** IPv6 has many spellings of one address. */
function plain(host: string): string {
  const url = `http://[${host}]`;
  return isIPv6(host) && URL.canParse(url) ? new URL(url).hostname : host.toLowerCase();
}
