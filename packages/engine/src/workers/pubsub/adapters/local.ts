import type { Delivery } from '../delivery.js';
import type { PubsubAdapter } from './index.js';

/** Messages stay inside this engine. */
export function openLocal(delivery: Delivery): PubsubAdapter {
  return {
    publish: (message) => delivery.publish(message),
    listen: () => undefined,
    close: () => undefined,
  };
}
