import { CliError, USAGE_EXIT } from '../terminal/errors.js';

export const DEFAULT_HOST = 'localhost';
export const DEFAULT_PORT = 49134;

export interface AddressOptions {
  readonly address?: string | undefined;
  readonly port?: string | undefined;
}

/**
 * Where the engine listens for workers: `--address` and `--port` when either is given, else
 * `III_URL`, else the given port and host.
 *
 * @returns a `ws://` or `wss://` URL without a trailing slash
 */
export function engineUrl(
  options: AddressOptions,
  env: NodeJS.ProcessEnv,
  fallbackPort: number = DEFAULT_PORT,
  fallbackHost: string = DEFAULT_HOST,
): string {
  const { address, port } = options;
  if (address !== undefined || port !== undefined) {
    return `ws://${address === undefined ? DEFAULT_HOST : parseAddress(address)}:${port === undefined ? DEFAULT_PORT : parsePort(port)}`;
  }
  const url = env['III_URL'];
  if (url !== undefined && url !== '') return checkedUrl(url);
  return `ws://${bracketed(fallbackHost)}:${fallbackPort}`;
}

/** A host name or IP address from the command line, as a URL has it. */
function parseAddress(text: string): string {
  const host = bracketed(text);
  const url = URL.canParse(`ws://${host}`) ? new URL(`ws://${host}`) : undefined;
  if (url !== undefined && url.pathname === '/' && url.username === '') return host;
  const remedy = /^[^:/]+:\d+$/.test(text) ? 'give the port with --port' : 'give a host name or an IP address';
  throw new CliError(`error: invalid value '${text}' for '--address <HOST>': ${remedy}`, { exitCode: USAGE_EXIT });
}

/** A port number from the command line: 1 to 65535. */
export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65_535) {
    throw new CliError(`error: invalid value '${text}' for '--port <PORT>': a port is a number from 1 to 65535`, {
      exitCode: USAGE_EXIT,
    });
  }
  return port;
}

/** `HOST` or `HOST:PORT`, as `--host` takes it, as a URL. */
export function hostUrl(host: string): string {
  if (/^wss?:\/\//.test(host)) return checkedUrl(host);
  const match = /^(\[[^\]]+\]|[^:[\]]+)(?::(\d+))?$/.exec(host);
  if (match === null)
    throw new CliError(`error: invalid value '${host}' for '--host <HOST[:PORT]>'`, { exitCode: USAGE_EXIT });
  return `ws://${match[1] ?? ''}:${match[2] === undefined ? DEFAULT_PORT : parsePort(match[2])}`;
}

function checkedUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['ws:', 'wss:'].includes(url.protocol) || url.hash !== '') {
    throw new CliError(
      `Error: III_URL is \`${text}\`, which is no address of an engine. Set it to one like ws://localhost:49134`,
    );
  }
  return text.replace(/\/$/, '');
}

/** IPv6 addresses go into brackets in a URL. */
function bracketed(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
}
