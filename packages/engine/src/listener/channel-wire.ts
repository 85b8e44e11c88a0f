/**
 * What is on the wire of a channel beside its messages: the address `/ws/channels/{id}?key={key}&dir={read|write}`,
 * as all SDKs build it (other query keys are theirs to add), and the Close code.
 */
import type { ChannelDirection } from '../core/channel.js';

/** The Close code of an aborted channel; a clean end is a Close without one. */
export const ABORTED = 1011;

const PREFIX = '/ws/channels/';

export interface ChannelUrl {
  readonly id: string;
  readonly key: string;
  readonly direction: ChannelDirection;
}

export function isChannelPath(path: string): boolean {
  return path.startsWith(PREFIX);
}

/** @returns undefined where the key or the direction is missing or cannot be */
export function readChannelUrl(target: string): ChannelUrl | undefined {
  const mark = target.indexOf('?');
  if (mark < 0) return undefined;
  const query = new URLSearchParams(target.slice(mark + 1));
  const key = query.get('key');
  const direction = query.get('dir');
  if (key === null || key === '' || (direction !== 'read' && direction !== 'write')) return undefined;
  return { id: target.slice(PREFIX.length, mark), key, direction };
}
