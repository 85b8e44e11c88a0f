import { z } from 'zod';

/** The address of another engine's worker port, in a configuration. */
export const remoteUrl = z
  .string()
  .refine(isWebSocketUrl, { error: 'must be the address of a worker port, e.g. "ws://127.0.0.1:49134"' });

function isWebSocketUrl(text: string): boolean {
  try {
    const { protocol } = new URL(text);
    return protocol === 'ws:' || protocol === 'wss:';
  } catch {
    return false;
  }
}
