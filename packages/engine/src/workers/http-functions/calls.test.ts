import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { RawWorker, tempFolder, waitFor, type Frame, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../core/log-writer.js';
import { createEngine, type Engine } from '../../index.js';

interface Arrived {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: string[];
  readonly body: string;
}

let folder: TempFolder;
let server: Server;
let base: string;
let arrived: Arrived[];
let respond: (response: ServerResponse, request: Arrived) => void;
let engine: Engine;
let worker: RawWorker;
let log: string;
const others: RawWorker[] = [];

const ENV = { HOOK_SECRET: 's3cret', HOOK_TOKEN: 'tok', HOOK_KEY: 'k-1', HOOK_EMPTY: '', HOOK_LINES: 'a\nb' };
const OPEN = { security: { require_https: false, block_private_ips: false } };

beforeEach(async () => {
  folder = await tempFolder();
  arrived = [];
  respond = (response) => response.end('{"ok":true}');
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => undefined);
    request.on('end', () => {
      const { method, url, headers, rawHeaders } = request;
      arrived.push({ method, url, headers, rawHeaders, body: Buffer.concat(chunks).toString() });
      respond(response, arrived.at(-1) as Arrived);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  for (const each of [worker, ...others.splice(0)]) each.drop();
  await engine.stop();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await folder.remove();
});

async function start(entry: object | null = { name: 'iii-http-functions', config: OPEN }): Promise<void> {
  log = '';
  engine = await createEngine({
    cwd: folder.path,
    env: ENV,
    log: createLog({ level: 'info', stream: { write: (text) => (log += text) } }),
    config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, ...(entry === null ? [] : [entry])] },
  });
  await engine.start();
  worker = await RawWorker.connect(engine.url);
}

function register(id: string, invocation: unknown, by = worker): void {
  by.send({ type: 'registerfunction', id, invocation });
}

async function errorOf(functionId: string, data: unknown = {}): Promise<{ code: string; message: string }> {
  return (await worker.ask(functionId, data))['error'] as { code: string; message: string };
}

function isRegistered(id: string): Promise<boolean> {
  return worker
    .call('engine::functions::list', {})
    .then((list) => (list as { functions: { function_id: string }[] }).functions.some((f) => f.function_id === id));
}

describe('a function behind an HTTP address', () => {
  it('is called with the payload as JSON, and the response is the result', async () => {
    await start();
    register('remote::add', { url: `${base}/add?x=1#part` });
    respond = (response) => response.end('{"sum": 3.0, "big": 12345678901234567890}');
    const id = 'aaaaaaaa-0000-4000-8000-000000000001';
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    worker.send({ type: 'invokefunction', invocation_id: id, function_id: 'remote::add', data: [1, 2.0], traceparent });
    const answer = await worker.frame('invocationresult', (frame) => frame['invocation_id'] === id);
    expect(answer['error']).toBeUndefined();
    expect(worker.texts.at(-1)).toContain('{"sum": 3.0, "big": 12345678901234567890}');
    expect(arrived).toHaveLength(1);
    expect(arrived[0]).toMatchObject({
      method: 'POST',
      url: '/add?x=1',
      body: '[1,2]',
      headers: {
        'content-type': 'application/json',
        'x-iii-function-path': 'remote::add',
        'x-iii-invocation-id': id,
        'x-iii-timestamp': expect.stringMatching(/^\d{10}$/) as string,
        'content-length': '5',
        traceparent,
      },
    });
  });

  it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])('is called with %s, with a body', async (method) => {
    await start();
    register('remote::it', { url: `${base}/it`, method });
    expect(await worker.call('remote::it', { a: 1 })).toEqual({ ok: true });
    expect(arrived[0]?.method).toBe(method);
    expect(JSON.parse(arrived[0]?.body ?? '')).toEqual({ a: 1, _caller_worker_id: worker.id });
  });

  it('sends each header once: its own type of content, never its own identity', async () => {
    await start();
    register('remote::häder', {
      url: `${base}/h`,
      headers: {
        'content-type': 'application/cloudevents+json',
        'X-Custom': 'c',
        'X-III-Invocation-Id': 'forged',
        authorization: 'forged',
      },
      auth: { type: 'bearer', token_key: 'HOOK_TOKEN' },
    });
    worker.send({
      type: 'invokefunction',
      invocation_id: 'aaaaaaaa-0000-4000-8000-000000000002',
      function_id: 'remote::häder',
      data: {},
      traceparent: 'no\r\nInjected: trace',
    });
    await waitFor(() => arrived.length === 1);
    const names = (arrived[0]?.rawHeaders ?? []).filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
    expect(names).toEqual([...new Set(names)]);
    expect(arrived[0]?.headers).toMatchObject({
      'content-type': 'application/cloudevents+json',
      'x-custom': 'c',
      'x-iii-invocation-id': 'aaaaaaaa-0000-4000-8000-000000000002',
      'x-iii-function-path': 'remote::h%C3%A4der',
      authorization: 'Bearer tok',
    });
    expect(names).not.toContain('traceparent');
    expect(names).not.toContain('injected');
  });

  it('signs with HMAC, or shows an API key', async () => {
    await start();
    register('remote::signed', { url: base, auth: { type: 'hmac', secret_key: 'HOOK_SECRET' } });
    register('remote::keyed', { url: base, auth: { type: 'api_key', header: 'X-Api-Key', value_key: 'HOOK_KEY' } });
    await worker.call('remote::signed', { text: 'ü' });
    const { headers, body } = arrived[0] as Arrived;
    const signed = `${String(headers['x-iii-timestamp'])}:${Buffer.from(body).toString('base64')}`;
    const expected = createHmac('sha256', 's3cret').update(signed).digest('hex');
    expect(headers['x-iii-signature']).toBe(`sha256=${expected}`);
    await worker.call('remote::keyed', null);
    expect(arrived[1]?.headers['x-api-key']).toBe('k-1');
    expect(arrived[1]?.body).toBe('null');
  });

  it.each([
    ['2xx without a body', 200, '', { absent: true }],
    ['204', 204, '', { absent: true }],
    ['2xx with null', 200, 'null', { result: null }],
    ['2xx with JSON', 201, ' [1] ', { result: [1] }],
    ['2xx without JSON', 200, '<html>', { code: 'invalid_response', message: 'Unexpected "<" at position 0' }],
    ['2xx in another encoding', 200, Buffer.from([0x22, 0xff, 0x22]), { code: 'invalid_response', message: 'encoded' }],
    ['3xx with JSON', 302, '{"moved":1}', { result: { moved: 1 } }],
    ['3xx without JSON', 301, 'moved', { absent: true }],
    [
      '4xx with an error',
      404,
      '{"error":{"code":"no_such_link","message":"gone"}}',
      { code: 'no_such_link', message: 'gone' },
    ],
    ['4xx with half an error', 400, '{"error":{}}', { code: 'http_error', message: 'HTTP request failed' }],
    [
      '4xx with an odd error',
      400,
      '{"error":{"code":7,"message":null}}',
      { code: 'http_error', message: 'HTTP request failed' },
    ],
    [
      '4xx with a text as error',
      422,
      '{"error":"bad"}',
      { code: 'http_error', message: 'HTTP 422 Unprocessable Entity' },
    ],
    ['5xx without JSON', 503, 'down', { code: 'http_error', message: 'HTTP 503 Service Unavailable' }],
    ['5xx of no known name', 599, '', { code: 'http_error', message: 'HTTP 599' }],
  ] as [string, number, string | Buffer, { absent?: boolean; result?: unknown; code?: string; message?: string }][])(
    '%s',
    async (_what, status, body, expected) => {
      await start();
      register('remote::it', { url: base });
      respond = (response) => response.writeHead(status, { location: `${base}/elsewhere` }).end(body);
      const answer = await worker.ask('remote::it', {});
      if (expected.code !== undefined) {
        expect(answer['error']).toMatchObject({
          code: expected.code,
          message: expect.stringContaining(expected.message ?? '') as string,
        });
      } else {
        expect(answer['error']).toBeUndefined();
        if (expected.absent) expect(answer).not.toHaveProperty('result');
        else expect(answer['result']).toEqual(expected.result);
      }
      expect(arrived).toHaveLength(1); // no redirect was followed
    },
  );

  it('answers 101 and 1xx as successes without a result', async () => {
    await start();
    register('remote::it', { url: base });
    respond = (response) => {
      response.writeProcessing();
      response.end('1');
    };
    expect(await worker.call('remote::it', {})).toBe(1);
    respond = (response) =>
      response.socket?.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    expect(await worker.ask('remote::it', {})).not.toHaveProperty('error');
  });

  it('reports what went wrong on the way', async () => {
    await start();
    register('remote::slow', { url: `${base}/slow?secret=1`, timeout_ms: 50 });
    register('remote::stalls', { url: base, timeout_ms: 200 });
    register('remote::cut', { url: base });
    register('remote::drops', { url: base });
    register('remote::huge', { url: base });
    register('remote::closed', { url: 'http://127.0.0.1:1/' });
    respond = () => undefined;
    expect(await errorOf('remote::slow')).toEqual({
      code: 'http_request_failed',
      message: `POST ${base}/slow: no response within 50 ms`,
    });
    respond = (response) => response.writeHead(200, { 'content-length': 100 }).write('half');
    expect(await errorOf('remote::stalls')).toMatchObject({
      code: 'http_request_failed',
      message: expect.stringMatching(/within 200 ms/) as string,
    });
    respond = (response) => {
      response.writeHead(200, { 'content-length': 100 }).write('half');
      setImmediate(() => response.socket?.destroy());
    };
    expect(await errorOf('remote::cut')).toMatchObject({ code: 'http_response_failed' });
    respond = (response) => response.socket?.destroy();
    expect(await errorOf('remote::drops')).toMatchObject({ code: 'http_request_failed' });
    let sent = 0;
    respond = (response) => {
      const chunk = Buffer.alloc(1024 * 1024, ' ');
      const more = (): void => {
        while (!response.destroyed && sent < 512 && response.write(chunk)) sent++;
      };
      response.on('drain', () => (sent++, more()));
      more();
    };
    expect(await errorOf('remote::huge')).toMatchObject({
      code: 'http_response_failed',
      message: expect.stringContaining('its body is larger than 16777216 bytes') as string,
    });
    expect(sent).toBeLessThan(128);
    expect(await errorOf('remote::closed')).toMatchObject({
      code: 'http_request_failed',
      message: 'POST http://127.0.0.1:1/: connect ECONNREFUSED 127.0.0.1:1',
    });
  });

  it('belongs to its worker: counted, replaced by a newer owner, gone with it', async () => {
    await start();
    worker.describe({ name: 'owner', pid: 1 });
    register('remote::it', { url: base });
    const newer = await RawWorker.connect(engine.url);
    others.push(newer);
    expect(await worker.call('remote::it', {})).toEqual({ ok: true });
    const { workers } = (await worker.call('engine::workers::list', {})) as { workers: Record<string, unknown>[] };
    expect(workers.find((each) => each['name'] === 'owner')).toMatchObject({ function_count: 1 });
    newer.serve('remote::it', () => 'newer');
    await waitFor(async () => (await worker.call('remote::it', {})) === 'newer');
    await newer.close();
    await waitFor(async () => JSON.stringify(await worker.call('remote::it', {})) === '{"ok":true}');
    worker.send({ type: 'unregisterfunction', id: 'remote::it' });
    expect(await errorOf('remote::it')).toMatchObject({ code: 'function_not_found' });
    register('remote::it', { url: base });
    expect(await isRegistered('remote::it')).toBe(true);
    const observer = engine.worker('observer');
    worker.drop();
    await waitFor(() =>
      observer.trigger({ function_id: 'remote::it', payload: {} }).then(
        () => false,
        (error: { code: string }) => error.code === 'function_not_found',
      ),
    );
  });

  it.each([
    ['no address', {}, /invocation\.url/],
    ['a bad address', { url: 'nowhere' }, /Invalid URL/],
    ['an unknown method', { url: 'http://x.net/', method: 'TRACE' }, /invocation\.method/],
    ['a header that cannot be sent', { url: 'http://x.net/', headers: { 'a b': 'c' } }, /'a b' is not a header/],
    ['a header in two lines', { url: 'http://x.net/', headers: { a: 'b\r\nc: d' } }, /'a' is not a header/],
    [
      'a header of the connection',
      { url: 'http://x.net/', headers: { Host: 'y.net' } },
      /'Host' belongs to the connection/,
    ],
    ['headers that are no texts', { url: 'http://x.net/', headers: { a: 1 } }, /invocation\.headers\.a/],
    ['an endless timeout', { url: 'http://x.net/', timeout_ms: 2 ** 31 }, /invocation\.timeout_ms/],
    ['an unknown kind of auth', { url: 'http://x.net/', auth: { type: 'basic' } }, /invocation\.auth/],
    [
      'an absent secret',
      { url: 'http://x.net/', auth: { type: 'hmac', secret_key: 'HOOK_NONE' } },
      /Secret not found: HOOK_NONE/,
    ],
    [
      'an empty token',
      { url: 'http://x.net/', auth: { type: 'bearer', token_key: 'HOOK_EMPTY' } },
      /Token not found: HOOK_EMPTY/,
    ],
    [
      'an absent key',
      { url: 'http://x.net/', auth: { type: 'api_key', header: 'k', value_key: 'HOOK_NONE' } },
      /API key not found: HOOK_NONE/,
    ],
    [
      'a secret that is no header',
      { url: 'http://x.net/', auth: { type: 'bearer', token_key: 'HOOK_LINES' } },
      /the value of HOOK_LINES cannot be sent/,
    ],
    ['something else', 'http://x.net/', /invocation/],
  ])('with %s is refused and logged', async (_what, invocation, message) => {
    await start();
    register('remote::bad', invocation);
    expect(await errorOf('remote::bad')).toMatchObject({ code: 'function_not_found' });
    expect(log).toMatch(/function refused/);
    expect(log).toMatch(message);
    expect(log).toMatch(/remote::bad/);
    expect(log).not.toContain('a\nb');
  });

  it('is refused by default where it is private or not https', async () => {
    await start({ name: 'http-functions' });
    register('remote::plain', { url: base });
    register('remote::local', { url: 'https://localhost/' });
    expect(await errorOf('remote::plain')).toMatchObject({ code: 'function_not_found' });
    expect(await errorOf('remote::local')).toMatchObject({ code: 'function_not_found' });
    expect(log).toMatch(/HTTPS is required: use https, or set security\.require_https: false/);
    expect(log).toMatch(/Private IP blocked: localhost is no public address/);
  });

  it.each([
    'https://127.0.0.1/',
    'https://127.1/',
    'https://2130706433/',
    'https://0x7f.0.0.1/',
    'https://169.254.169.254/latest/meta-data/',
    'https://100.64.0.1/',
    'https://[::1]/',
    'https://[::ffff:10.0.0.1]/',
    'https://[64:ff9b::7f00:1]/',
    'https://api.localhost./',
  ])('is refused when it is registered at %s, in whatever spelling', async (url) => {
    await start({ name: 'http-functions' });
    register('remote::inside', { url });
    expect(await errorOf('remote::inside')).toMatchObject({ code: 'function_not_found' });
    expect(log).toMatch(/function refused/);
    expect(log).toMatch(/Private IP blocked: .* is no public address/);
  });

  it('is refused without the worker, and the log says what to add', async () => {
    await start(null);
    register('remote::it', { url: base });
    expect(await errorOf('remote::it')).toMatchObject({ code: 'function_not_found' });
    expect(log).toMatch(/iii worker add http-functions/);
  });

  it('waits for nobody else: a function that hangs does not hold up frames behind it', async () => {
    await start();
    register('remote::hangs', { url: base });
    let release: (() => void) | undefined;
    respond = (response) => (release = () => void response.end());
    const pending: Promise<Frame> = worker.ask('remote::hangs', {});
    await waitFor(() => arrived.length === 1);
    expect(await worker.call('engine::functions::list', {})).toBeDefined();
    release?.();
    expect(await pending).not.toHaveProperty('error');
  });

  it('is given up when nobody waits for its answer any more', async () => {
    await start();
    register('remote::hangs', { url: base });
    const aborted: string[] = [];
    respond = (response, { body }) => response.on('close', () => response.writableFinished || aborted.push(body));
    const caller = await RawWorker.connect(engine.url);
    others.push(caller);
    void caller.ask('remote::hangs', { from: 'a worker' }).catch(() => undefined);
    await waitFor(() => arrived.length === 1);
    caller.drop();
    await waitFor(() => aborted.length === 1);
    const impatient = engine.worker('impatient');
    const call = { function_id: 'remote::hangs', payload: { from: 'inside' }, timeoutMs: 50 };
    await expect(impatient.trigger(call)).rejects.toMatchObject({ code: 'TIMEOUT' });
    await waitFor(() => aborted.length === 2);
    expect(aborted.map((body) => (JSON.parse(body) as { from: string }).from)).toEqual(['a worker', 'inside']);
  });

  it('runs to its end when nobody has ever waited for it', async () => {
    await start();
    register('remote::slow', { url: base });
    let finish: (() => void) | undefined;
    let isAborted = false;
    respond = (response) => {
      response.on('close', () => (isAborted ||= !response.writableFinished));
      finish = () => void response.end('1');
    };
    const caller = await RawWorker.connect(engine.url);
    others.push(caller);
    caller.send({ type: 'invokefunction', function_id: 'remote::slow', data: {}, action: { type: 'void' } });
    await waitFor(() => arrived.length === 1);
    const { id } = caller;
    caller.drop();
    await waitFor(async () => {
      const { workers } = (await worker.call('engine::workers::list', {})) as { workers: { id: string }[] };
      return workers.every((each) => each.id !== id);
    });
    finish?.();
    const open = (): Promise<number> => new Promise((resolve) => server.getConnections((_, count) => resolve(count)));
    await waitFor(async () => (await open()) === 0);
    expect(isAborted).toBe(false);
  });

  it('ends what is under way when the worker or the engine stops, and its functions go', async () => {
    await start();
    register('remote::hangs', { url: base });
    respond = () => undefined;
    const pending = worker.ask('remote::hangs', {});
    await waitFor(() => arrived.length === 1);
    const open = (): Promise<number> => new Promise((resolve) => server.getConnections((_, count) => resolve(count)));
    expect(await open()).toBe(1);
    void pending;
    await engine.stop({ drainMs: 0 });
    await waitFor(async () => (await open()) === 0);
  });
});
