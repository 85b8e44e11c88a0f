/**
 * Which IP addresses are public. Everything that IANA's special-purpose registries
 * (RFC 6890 and later) set aside is not, and neither is IPv6 outside the space given out to networks.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** The space that public IPv6 addresses are given out from (RFC 4291). */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3');

/**
 * Is this an address on the public internet?
 *
 * @param text - an IP address, IPv6 without brackets. Anything else is not public
 */
export function isPublicAddress(text: string): boolean {
  // Strict: `ipaddr.js` also reads short and octal spellings.
  if (isIP(text) === 0) return false;
  // IPv4 at the end of any prefix but that of mapped addresses reaches nothing public.
  if (text.includes(':') && text.includes('.') && !/^::ffff:\d+\./i.test(text)) return false;
  // `process` turns an IPv4 address in IPv6 clothes (::ffff:a.b.c.d) into what it is.
  const address = ipaddr.process(text);
  if (address.range() !== 'unicast') return false;
  return address.kind() === 'ipv4' || (address as ipaddr.IPv6).match(GLOBAL_UNICAST);
}
