import { createServer, Agent, request as httpRequest, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import { Payload } from '@trine/protocol';
import { rawExchange, waitFor } from '@trine/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { Channels } from '../../core/channels.js';
import { systemClock } from '../../core/clock.js';
import { Core } from '../../core/core.js';
import { LocalSession } from '../../core/local-session.js';
import type { Log } from '../../core/log.js';
import { systemRandom } from '../../core/random.js';
import type { Outcome, RunningWorker, TriggerTypeDefinition, WorkerHost } from '../../core/worker-host.js';
import { httpWorker } from './index.js';
import { Listener } from './listener.js';

/** The worker by itself, under a host of the test's own: what the engine would ask of it can be asked. */
class Bed {
  readonly lines: string[] = [];
  readonly #log: Log;
  readonly #channels = new Channels(systemClock, systemRandom);
  invoke: () => Promise<Outcome> = () => Promise.resolve({ ok: true, result: Payload.fromValue({ body: 'ok' }) });
  type: TriggerTypeDefinition | undefined;
  worker: RunningWorker | undefined;
  port = 0;

  constructor() {
    const write = (message: string, fields?: object): void =>
      void this.lines.push(fields === undefined ? message : `${message} ${JSON.stringify(fields)}`);
    this.#log = { trace: write, debug: write, info: write, warn: write, error: write, for: () => this.#log };
  }

  async start(config: unknown): Promise<void> {
    const owner = new LocalSession(
      new Core({ clock: systemClock, random: systemRandom, log: this.#log }),
      'engine',
      'http',
    );
    const host: Partial<WorkerHost> = {
      entryName: 'http',
      log: this.#log,
      clock: systemClock,
      random: systemRandom,
      registry: {
        hasFunction: () => false,
        onFunction: () => ({ remove: () => undefined }),
        onWorker: () => ({ remove: () => undefined }),
      },
      registerTriggerType: (type) => {
        this.type = type;
        return { remove: () => undefined };
      },
      invoke: ((_request: unknown, settled: (outcome: Outcome) => void) => {
        void this.invoke().then(settled);
      }) as WorkerHost['invoke'],
      channels: {
        create: (options) => this.#channels.create(owner, options),
        ended: this.#channels.ended,
        open: ({ channel_id, access_key }) => this.#channels.open(channel_id, access_key),
      },
      reportPort: (_, port) => (this.port = port),
    };
    this.worker = await httpWorker.start(host as WorkerHost, httpWorker.config.parse(config));
    await this.type?.bind({
      id: 't',
      type: 'http',
      functionId: 'f',
      namespace: 'default',
      config: { api_path: 'users/:id' },
      metadata: undefined,
      workerId: 'w',
      workerName: undefined,
    });
  }

  get(headers: Record<string, string> = {}, method = 'GET', path = '/users/1'): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.port}${path}`, { method, headers });
  }
}

const beds: Bed[] = [];
const servers: Server[] = [];
afterEach(async () => {
  for (const bed of beds.splice(0)) await bed.worker?.stop();
  for (const server of servers.splice(0)) server.close();
});

async function start(config: unknown): Promise<Bed> {
  const bed = new Bed();
  beds.push(bed);
  await bed.start(config);
  return bed;
}

async function occupy(host = '127.0.0.1'): Promise<number> {
  const server = createServer();
  servers.push(server);
  server.listen(0, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** An open connection and what came in on it. */
async function dial(
  port: number,
  text = '',
): Promise<{ readonly socket: Socket; readonly text: () => string; readonly ended: () => boolean }> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  let received = '';
  let ended = false;
  socket.on('data', (chunk) => (received += chunk.toString()));
  socket.on('close', () => (ended = true));
  socket.on('error', () => undefined);
  if (text !== '') socket.write(text);
  return { socket, text: () => received, ended: () => ended };
}

const GET = 'GET /users/1 HTTP/1.1\r\nhost: x\r\n\r\n';

describe('addresses', () => {
  it('logs the lines that people look for', async () => {
    const bed = await start({ port: 0 });
    expect(bed.lines).toContain('Initializing API adapter on port 0');
    expect(bed.lines).toContain(`API listening on address: 127.0.0.1:${bed.port}`);
    expect(bed.lines).toContain('[REGISTERED] Endpoint GET users/:id → f');
    await bed.type?.unbind(
      {
        id: 't',
        type: 'http',
        functionId: 'f',
        namespace: 'default',
        config: {},
        metadata: undefined,
        workerId: 'w',
        workerName: undefined,
      },
      'unregistered',
    );
    expect(bed.lines).toContain('Unregistering router GET:users/:id');
    expect(bed.lines.some((line) => line.includes('other machines'))).toBe(false);
  });

  it('says who holds a port and what to do', async () => {
    const port = await occupy();
    await expect(start({ port })).rejects.toMatchObject({
      code: 'port_taken',
      message: `address 127.0.0.1:${port} is already in use (worker http); stop the other program or set another port in config.yaml`,
    });
  });

  it('warns when other machines can reach it, and binds only what it is told', async () => {
    const bed = await start({ port: 0, host: '0.0.0.0' });
    expect(bed.lines.some((line) => line.includes('other machines') && line.includes(`0.0.0.0:${bed.port}`))).toBe(
      true,
    );
    const one = await start({ port: 0, host: '127.0.0.1' });
    await expect(fetch(`http://[::1]:${one.port}/`)).rejects.toThrow();
  });
});

describe('a changed configuration', () => {
  it('of the same address applies to the next request', async () => {
    const bed = await start({ port: 0 });
    const { port } = bed;
    await bed.worker?.reconfigure?.({ port: 0, cors: { allowed_origins: ['https://a.example'] }, default_timeout: 0 });
    expect(bed.port).toBe(port);
    const response = await bed.get({ origin: 'https://b.example' });
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([504, null]);
  });

  it('of another port moves there; open requests finish, idle connections end', async () => {
    const bed = await start({ port: 0, host: '127.0.0.1' });
    const old = bed.port;
    let finish: ((outcome: Outcome) => void) | undefined;
    bed.invoke = () => new Promise((resolve) => (finish = resolve));
    const open = await dial(old, GET);
    await waitFor(() => finish);
    const idle = await dial(old, 'GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n');
    await waitFor(() => idle.text().includes('404'));
    const next = await occupy();
    servers.pop()?.close();
    await bed.worker?.reconfigure?.({ port: next, host: '127.0.0.1' });
    expect(bed.port).toBe(next);
    await waitFor(idle.ended);
    await expect(dial(old)).rejects.toThrow();
    finish?.({ ok: true, result: Payload.fromValue({ body: 'late' }) });
    await waitFor(open.ended);
    expect(open.text()).toContain('"late"');
    expect(open.text().toLowerCase()).toContain('connection: close');
    bed.invoke = () => Promise.resolve({ ok: true, result: undefined });
    expect((await bed.get()).status).toBe(204);
  });

  it('that cannot be bound leaves everything as it was', async () => {
    const bed = await start({ port: 0 });
    const taken = await occupy();
    await expect(bed.worker?.reconfigure?.({ port: taken, default_timeout: 0 })).rejects.toMatchObject({
      code: 'port_taken',
    });
    expect((await bed.get()).status).toBe(200);
    expect(
      bed.lines.some(
        (line) => line.startsWith('the HTTP server stays where it is') && line.includes(`127.0.0.1:${bed.port}`),
      ),
    ).toBe(true);
  });

  it.each(['0.0.0.0', '::'])('of the host alone moves to %s under the same port, and back', async (host) => {
    const bed = await start({ port: 0 });
    const { port } = bed;
    let finish: ((outcome: Outcome) => void) | undefined;
    bed.invoke = () => new Promise((resolve) => (finish = resolve));
    const open = await dial(port, GET);
    await waitFor(() => finish);
    await bed.worker?.reconfigure?.({ port, host });
    expect(bed.port).toBe(port);
    finish?.({ ok: true, result: Payload.fromValue({ body: 'late' }) });
    await waitFor(open.ended);
    expect(open.text()).toContain('"late"');
    bed.invoke = () => Promise.resolve({ ok: true, result: undefined });
    expect((await bed.get()).status).toBe(204);
    expect(bed.lines.some((line) => line.includes('other machines'))).toBe(true);
    await bed.worker?.reconfigure?.({ port });
    expect((await bed.get()).status).toBe(204);
  });

  it('of the host alone that cannot be bound leaves it listening where it was', async () => {
    const bed = await start({ port: 0, host: '0.0.0.0' });
    const { port } = bed;
    const other = createServer();
    servers.push(other);
    other.listen({ port, host: '::1' });
    await once(other, 'listening');
    await expect(bed.worker?.reconfigure?.({ port })).rejects.toMatchObject({ code: 'port_taken' });
    expect((await bed.get()).status).toBe(200);
    other.close();
    await once(other, 'close');
    await bed.worker?.reconfigure?.({ port });
    expect((await bed.get()).status).toBe(200);
  });

  it('from one loopback address to both keeps the one that is open', async () => {
    const bed = await start({ port: 0, host: '127.0.0.1' });
    const { port } = bed;
    await bed.worker?.reconfigure?.({ port });
    const agent = new Agent({ keepAlive: true });
    const status = await new Promise((resolve, reject) => {
      httpRequest({ host: '::1', port, path: '/users/1', agent }, (response) => resolve(response.resume().statusCode))
        .on('error', reject)
        .end();
    });
    agent.destroy();
    expect([status, (await bed.get()).status]).toEqual([200, 200]);
  });
});

describe('stopping', () => {
  it('ends idle and silent connections at once and refuses new ones', async () => {
    const bed = await start({ port: 0 });
    const silent = await dial(bed.port);
    const idle = await dial(bed.port, GET);
    await waitFor(() => idle.text().includes('"ok"'));
    const started = performance.now();
    await bed.worker?.stop();
    expect(performance.now() - started).toBeLessThan(1_500);
    await waitFor(() => silent.ended() && idle.ended());
    await expect(dial(bed.port)).rejects.toThrow();
    await bed.worker?.stop();
  });

  it('lets running requests finish, and answers 503 to what comes on their connection', async () => {
    const bed = await start({ port: 0 });
    let finish: ((outcome: Outcome) => void) | undefined;
    bed.invoke = () => new Promise((resolve) => (finish = resolve));
    const open = await dial(bed.port, GET);
    const unsent = await dial(bed.port, 'GET /users/1 HTTP/1.1\r\n');
    await waitFor(() => finish);
    await bed.worker?.drain?.();
    unsent.socket.write('host: x\r\n\r\n');
    await waitFor(unsent.ended);
    expect(unsent.text()).toMatch(/^HTTP\/1\.1 503 /);
    expect(unsent.text()).toContain('"SERVICE_UNAVAILABLE"');
    const stopped = bed.worker?.stop();
    finish?.({ ok: true, result: Payload.fromValue({ body: 'x'.repeat(500_000) }) });
    await stopped;
    await waitFor(open.ended);
    expect(open.text()).toMatch(/x{500000}"$/);
  });

  it('does not wait for a function that never answers', async () => {
    const bed = await start({ port: 0 });
    let called = false;
    bed.invoke = () => {
      called = true;
      return new Promise(() => undefined);
    };
    const open = await dial(bed.port, GET);
    await waitFor(() => called);
    await bed.worker?.stop();
    await waitFor(open.ended);
    expect(open.text()).toBe('');
  });
});

it('ends a connection whose request head does not come', async () => {
  const listener = await Listener.open('127.0.0.1', 0, () => undefined, { headTimeoutMs: 100, timeoutCheckMs: 50 });
  try {
    expect(await rawExchange(listener.port, 'GET / HTTP/1.1\r\nhost:')).toMatch(/^HTTP\/1\.1 408 /);
  } finally {
    await listener.close();
  }
});

describe('cross-origin headers', () => {
  const VARY = 'origin, access-control-request-method, access-control-request-headers';
  const corsOf = (response: Response): Record<string, string> =>
    Object.fromEntries([...response.headers].filter(([name]) => name.startsWith('access-control') || name === 'vary'));

  it('allow everyone everything where nothing is said, and win over those of a function', async () => {
    const bed = await start({ port: 0 });
    bed.invoke = () =>
      Promise.resolve({
        ok: true,
        result: Payload.fromValue({ headers: { 'Access-Control-Allow-Origin': 'x', 'access-control-max-age': '5' } }),
      });
    const open = { 'access-control-allow-origin': '*', 'access-control-expose-headers': '*', vary: VARY };
    expect(corsOf(await bed.get())).toEqual({ ...open, 'access-control-max-age': '5' });
    expect(corsOf(await bed.get({}, 'GET', '/nowhere'))).toEqual(open);
    const preflight = await bed.get({ origin: 'https://a' }, 'OPTIONS');
    expect(corsOf(preflight)).toEqual({
      'access-control-allow-origin': '*',
      'access-control-allow-methods': '*',
      'access-control-allow-headers': '*',
      vary: VARY,
    });
    expect([preflight.status, preflight.headers.get('allow'), await preflight.text()]).toEqual([200, 'GET,HEAD', '']);
    expect((await bed.get({}, 'OPTIONS', '/nowhere')).status).toBe(200);
  });

  it('name the origin only when it is listed', async () => {
    const bed = await start({
      port: 0,
      cors: { allowed_origins: ['https://a.example', 'localhost'], allowed_methods: ['GET', 'PUT', 'no good'] },
    });
    expect(corsOf(await bed.get({ origin: 'https://a.example' }))).toEqual({
      'access-control-allow-origin': 'https://a.example',
      vary: VARY,
    });
    expect(corsOf(await bed.get({ origin: 'http://localhost' }))).toEqual({ vary: VARY });
    expect(corsOf(await bed.get({ origin: 'https://a.example' }, 'OPTIONS'))).toMatchObject({
      'access-control-allow-methods': 'GET,PUT',
    });
  });
});

describe('the configuration', () => {
  it.each([
    { prot: 1 },
    { cors: { origins: [] } },
    { middleware: [{ function_id: 'a', order: 1 }] },
    { port: 70_000 },
    { port: '3111' },
    { default_timeout: -1 },
    { middleware: [{}] },
  ])('refuses %j', (config) => {
    expect(httpWorker.config.safeParse(config).success).toBe(false);
  });

  it('may be left out, and what `worker add` writes is valid', () => {
    expect(httpWorker.config.safeParse(undefined).success).toBe(true);
    expect(httpWorker.config.safeParse(null).success).toBe(true);
    expect(httpWorker.config.safeParse(httpWorker.defaultBlock).success).toBe(true);
  });
});
