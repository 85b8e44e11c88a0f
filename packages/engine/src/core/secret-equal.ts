import { createHash, timingSafeEqual } from 'node:crypto';

/**
 * Compares two secrets (a channel's key, a reattach token) in a time that tells nothing about where
 * they differ, nor how long the right one is.
 */
export function secretsEqual(given: string, right: string): boolean {
  return timingSafeEqual(digest(given), digest(right));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
