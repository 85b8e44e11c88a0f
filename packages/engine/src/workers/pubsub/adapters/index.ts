import type { Message } from '../delivery.js';

/** How messages travel from a publisher to the engines whose workers listen. */
export interface PubsubAdapter {
  /**
   * Sends a message to every engine that listens to its topic, this one included.
   *
   * @throws TrineError `publish_failed`, at once or through the promise
   */
  publish(message: Message): void | Promise<void>;
  /** Somebody listens to a topic on this engine, or nobody does any more. */
  listen(topic: string, wanted: boolean): void | Promise<void>;
  /** Of a server elsewhere. */
  health?(): { readonly state: 'ready' | 'degraded' | 'unreachable'; readonly detail?: string | undefined };
  close(): void;
}

export { openLocal } from './local.js';
