/**
 * How many bridges a call has crossed. The count travels in its W3C baggage, which engines and the SDKs'
 * trace context carry along, so that a loop is cut wherever it closes.
 */

/** Bridges that one call may cross. */
export const MAX_HOPS = 8;

const KEY = 'trine-bridge-hops';

/**
 * The baggage of a call that is about to cross one more bridge; undefined when it has crossed them all.
 *
 * @param baggage - as it came with the call
 */
export function crossBridge(baggage: string | undefined): string | undefined {
  const members = (baggage ?? '').split(',').filter((member) => member.trim() !== '');
  const others: string[] = [];
  let hops = 0;
  for (const member of members) {
    const [key, value] = splitMember(member);
    if (key === KEY) hops = Math.max(hops, countOf(value));
    else others.push(member);
  }
  if (hops >= MAX_HOPS) return undefined;
  return [...others, `${KEY}=${hops + 1}`].join(',');
}

function splitMember(member: string): [string, string] {
  const at = member.indexOf('=');
  return at < 0 ? [member.trim(), ''] : [member.slice(0, at).trim(), member.slice(at + 1).trim()];
}

/** A count that cannot be read has been tampered with: the call goes no further. */
function countOf(value: string): number {
  const count = Number(value);
  return Number.isInteger(count) && count >= 0 ? count : MAX_HOPS;
}
