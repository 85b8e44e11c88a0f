/** One request on one connection of its own, to addresses that were checked before. */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import { requestFailed, responseFailed } from './errors.js';
import { hostOf, type HostAddress } from './url-guard.js';

/** Largest response body that becomes a result, in bytes. What a request carries is bounded by the frames of workers. */
export const MAX_RESPONSE_BYTES = 16 * 1024 * 1024;

/**
 * No connection is used twice: one that the other side is about to close would lose a request, and sending
 * it again could run the function twice. TLS sessions are resumed.
 */
const httpAgent = new HttpAgent({ keepAlive: false });
const httpsAgent = new HttpsAgent({ keepAlive: false });

export interface OutboundRequest {
  readonly url: URL;
  /** The only addresses that are connected to. */
  readonly addresses: readonly HostAddress[];
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

export interface InboundResponse {
  readonly status: number;
  readonly body: Buffer;
}

/**
 * Sends a request and reads the whole response. Redirects are responses like any other.
 *
 * @param signal - its reason ends the request
 * @throws TrineError `http_request_failed` before a response, `http_response_failed` while reading it
 */
export function send(request: OutboundRequest, signal: AbortSignal): Promise<InboundResponse> {
  const { url, method, body } = request;
  const where = whereOf(method, url);
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(requestFailed(where, signal.reason));
    const sent = (url.protocol === 'https:' ? httpsRequest : httpRequest)({
      ...optionsOf(request),
      agent: url.protocol === 'https:' ? httpsAgent : httpAgent,
    });
    const abort = (): void => {
      reject(requestFailed(where, signal.reason));
      sent.destroy();
    };
    signal.addEventListener('abort', abort, { once: true });
    sent.on('close', () => signal.removeEventListener('abort', abort));
    sent.on('error', (error) => reject(requestFailed(where, error)));
    // A server that switches protocols has answered, without a body.
    sent.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode ?? 101, body: Buffer.alloc(0) });
    });
    sent.on('response', (response) => {
      readBody(response).then(
        (bytes) => resolve({ status: response.statusCode ?? 0, body: bytes }),
        (error: unknown) => {
          reject(responseFailed(where, error));
          sent.destroy();
        },
      );
    });
    sent.end(body);
  });
}

/** How errors name a request: its query may hold secrets. */
export function whereOf(method: string, url: URL): string {
  return `${method} ${url.origin}${url.pathname}`;
}

function optionsOf({ url, addresses, method, headers, body }: OutboundRequest): RequestOptions {
  const auth = url.username === '' && url.password === '' ? undefined : `${plain(url.username)}:${plain(url.password)}`;
  return {
    hostname: hostOf(url),
    port: url.port === '' ? undefined : url.port,
    path: `${url.pathname}${url.search}`,
    method,
    headers: { ...headers, 'Content-Length': String(body.length) },
    lookup: pinned(addresses),
    ...(auth === undefined ? {} : { auth }),
  };
}

/** Answers every lookup of the connection with the addresses that were checked. */
function pinned(addresses: readonly HostAddress[]): LookupFunction {
  return (_host, options, callback) => {
    const wanted = options.family === 4 || options.family === 6 ? options.family : undefined;
    const usable = addresses.filter(({ family }) => wanted === undefined || family === wanted);
    const first = usable[0];
    if (first === undefined) {
      callback(Object.assign(new Error('no address of the wanted family'), { code: 'ENOTFOUND' }), '');
    } else if (options.all === true) {
      callback(null, [...usable]);
    } else {
      callback(null, first.address, first.family);
    }
  };
}

async function readBody(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_RESPONSE_BYTES) throw new Error(`its body is larger than ${MAX_RESPONSE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}

function plain(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
