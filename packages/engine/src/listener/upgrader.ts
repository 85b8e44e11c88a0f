import { WebSocketServer, type ServerOptions } from 'ws';
import { MAX_MESSAGE_BYTES } from '../core/message-limit.js';

/** Lets a client know that the engine has switched Nagle off, so that it may too. */
const CAPABILITIES = 'x-iii-capabilities: tcp-nodelay';

/** An option of `ws` that its types do not know yet. */
interface UpgraderOptions extends ServerOptions {
  /** How long the peer may take to answer a Close frame until its socket is destroyed, in milliseconds. */
  readonly closeTimeout?: number;
}

/**
 * Turns requests into WebSockets, as the worker port has them.
 *
 * @param options - beside or instead of what all of them have
 */
export function createUpgrader(options: UpgraderOptions = {}): WebSocketServer {
  const all: UpgraderOptions = {
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    clientTracking: false,
    ...options,
  };
  const upgrader = new WebSocketServer(all);
  upgrader.on('headers', (headers) => headers.push(CAPABILITIES));
  return upgrader;
}
