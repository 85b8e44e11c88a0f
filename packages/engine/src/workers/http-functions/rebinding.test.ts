import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Payload, type TrineError } from '@trine/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import type { HttpFunctionHandler, HttpFunctionServer, RunningWorker, WorkerHost } from '../../core/worker-host.js';
import { httpFunctionsWorker } from './index.js';
import { MAX_REQUESTS_PER_WORKER } from './remote-functions.js';
import type { HostAddress } from './url-guard.js';

/**
 * Two servers on one port: 127.0.0.2 plays the public address of an attacker, 127.0.0.1 the machine's own
 * that must not be reached. The name exists in the test's resolver only: a connection that asked the system
 * would fail.
 */
const OUTSIDE = '127.0.0.2';
const INSIDE = '127.0.0.1';

let servers: Server[];
let port: number;
let reached: string[];
let answers: (readonly HostAddress[])[];
let asked: number;
let worker: RunningWorker;
let functions: HttpFunctionServer;

async function listen(address: string, onPort: number): Promise<number> {
  const server = createServer((request, response) => {
    reached.push(`${address} as ${request.headers.host ?? ''}`);
    request.resume();
    request.on('end', () => response.end('1'));
  });
  server.listen(onPort, address);
  await once(server, 'listening');
  servers.push(server);
  return (server.address() as AddressInfo).port;
}

beforeEach(async () => {
  [servers, reached, answers, asked] = [[], [], [], 0];
  port = await listen(INSIDE, 0);
  await listen(OUTSIDE, port);
  const host: Partial<WorkerHost> = {
    log: silentLog,
    clock: systemClock,
    serveHttpFunctions: (server) => {
      functions = server;
      return { remove: () => undefined };
    },
  };
  const definition = httpFunctionsWorker(() => ({
    env: {},
    isPublic: (address) => address === OUTSIDE,
    resolve: async () => {
      asked++;
      return (answers.length > 1 ? answers.shift() : answers[0]) ?? [];
    },
  }));
  worker = await definition.start(host as WorkerHost, { security: { require_https: false } });
});

afterEach(async () => {
  await worker.stop();
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
});

/** Registers a function whose name resolves to what is given: once each, the last one for ever. */
async function open(...resolved: string[][]): Promise<HttpFunctionHandler> {
  answers = [[{ address: OUTSIDE, family: 4 }]];
  const invocation = { url: `http://rebind.test:${port}/` };
  const handler = functions.open({ functionId: 'f', invocation, workerId: 'w', worker: 'w' });
  await new Promise((resolve) => setImmediate(resolve)); // the early check has asked
  answers = resolved.map((addresses) => addresses.map((address) => ({ address, family: 4 })));
  asked = 0;
  return handler;
}

const call = (handler: HttpFunctionHandler): Promise<Payload | undefined> =>
  handler({ invocationId: 'i', payload: Payload.null, traceparent: undefined, signal: new AbortController().signal });

describe('a name that changes where it leads', () => {
  it('is asked once per call, and only the checked address is connected to', async () => {
    const handler = await open([OUTSIDE], [INSIDE]);
    expect((await call(handler))?.value).toBe(1);
    expect(asked).toBe(1);
    expect(reached).toEqual([`${OUTSIDE} as rebind.test:${port}`]);
  });

  it('is refused at the next call, once it leads inside', async () => {
    const handler = await open([OUTSIDE], [INSIDE]);
    await call(handler);
    await expect(call(handler)).rejects.toMatchObject({ code: 'url_validation_failed', message: 'Private IP blocked' });
    expect(reached).toHaveLength(1);
  });

  it('is refused when it leads outside and inside at once', async () => {
    const handler = await open([OUTSIDE, INSIDE]);
    await expect(call(handler)).rejects.toMatchObject({ message: 'Private IP blocked' });
    expect(reached).toEqual([]);
  });

  it('is judged by the rules of the moment', async () => {
    const handler = await open([INSIDE]);
    await expect(call(handler)).rejects.toMatchObject({ message: 'Private IP blocked' });
    await worker.reconfigure?.({ security: { require_https: false, block_private_ips: false } });
    expect((await call(handler))?.value).toBe(1);
    await worker.reconfigure?.({ security: { require_https: false, url_allowlist: ['elsewhere.test'] } });
    await expect(call(handler)).rejects.toMatchObject({ message: 'URL not in allowlist' });
  });

  it('may be slow, but not for longer than the timeout', async () => {
    const slow = httpFunctionsWorker(() => ({ env: {}, resolve: () => new Promise(() => undefined) }));
    const host: Partial<WorkerHost> = {
      log: silentLog,
      clock: systemClock,
      serveHttpFunctions: (server) => {
        functions = server;
        return { remove: () => undefined };
      },
    };
    const running = await slow.start(host as WorkerHost, undefined);
    const invocation = { url: 'https://rebind.test/', timeout_ms: 20 };
    const handler = functions.open({ functionId: 'f', invocation, workerId: 'w', worker: 'w' });
    await expect(call(handler)).rejects.toMatchObject({
      code: 'http_request_failed',
      message: 'POST https://rebind.test/: no response within 20 ms',
    });
    await running.stop();
  });
});

describe('requests under way', () => {
  it('are bounded per worker', async () => {
    const invocation = { url: `http://rebind.test:${port}/` };
    answers = [[{ address: OUTSIDE, family: 4 }]];
    const flooding = functions.open({ functionId: 'f', invocation, workerId: 'flood', worker: 'flood' });
    const victim = functions.open({ functionId: 'g', invocation, workerId: 'victim', worker: 'victim' });
    const calls = Array.from({ length: MAX_REQUESTS_PER_WORKER + 5 }, () =>
      call(flooding).then(
        () => 'answered',
        (error: TrineError) => error.code,
      ),
    );
    expect((await call(victim))?.value).toBe(1);
    const results = await Promise.all(calls);
    expect(results.filter((result) => result === 'http_request_failed').length).toBe(5);
    expect(results.filter((result) => result === 'answered').length).toBe(MAX_REQUESTS_PER_WORKER);
    expect((await call(flooding))?.value).toBe(1);
  });
});
