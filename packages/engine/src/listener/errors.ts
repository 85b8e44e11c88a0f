import { TrineError } from '@trine/protocol';
import { formatAddress } from './format-address.js';

export const ListenerCode = {
  /** At start: another program listens on the address. */
  portTaken: 'port_taken',
  /** At start: the address cannot be listened on for another reason. */
  bindFailed: 'bind_failed',
  /** At start: the certificate or its key cannot be read, or they do not belong together. */
  tlsUnusable: 'tls_unusable',
} as const;

/**
 * A failed bind in the words of a person.
 *
 * @param who - the entry in config.yaml that sets the address
 */
export function bindError(host: string, port: number, who: string, error: NodeJS.ErrnoException): TrineError {
  const address = formatAddress(host, port);
  if (error.code === 'EADDRINUSE') {
    return new TrineError(
      ListenerCode.portTaken,
      `address ${address} is already in use (worker ${who}); stop the other program or set another port in config.yaml`,
      { cause: error },
    );
  }
  const fix = error.code === 'EACCES' ? 'ports below 1024 need a privilege' : 'check host and port in config.yaml';
  return new TrineError(
    ListenerCode.bindFailed,
    `failed to bind to ${address} (worker ${who}): ${error.code ?? error.message}; ${fix}`,
    { cause: error },
  );
}
