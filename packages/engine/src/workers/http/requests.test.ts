import { RawWorker, httpEngine, rawExchange, waitFor, type HttpEngine } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let http: HttpEngine;

beforeAll(async () => {
  http = await httpEngine({ body_limit: 1000 });
});
afterAll(() => http.stop());

/** A handler that answers with what it received. */
const echo = (request: unknown): unknown => ({ body: request });

async function received(response: Response): Promise<Record<string, unknown>> {
  return (await response.json()) as Record<string, unknown>;
}

describe('the request object', () => {
  it('has the fields and spellings that handlers know', async () => {
    await http.route('s/:code', echo);
    const response = await http.fetch('/s/a%2Fb?q=x+y&q=z', { headers: { 'X-One': 'a' } });
    const { headers, request_body, response: writer, ...rest } = await received(response);
    const channel = { channel_id: expect.any(String) as string, access_key: expect.any(String) as string };
    expect([request_body, writer]).toEqual([
      { ...channel, direction: 'read' },
      { ...channel, direction: 'write' },
    ]);
    expect(rest).toEqual({
      query_params: { q: 'z' },
      path_params: { code: 'a%2Fb' },
      path: 's/:code',
      method: 'GET',
      body: null,
      trigger: { type: 'http', path: 's/:code', method: 'GET' },
      url_path: '/s/a%2Fb',
      raw_query: 'q=x+y&q=z',
    });
    expect(headers).toMatchObject({ 'x-one': 'a', host: `127.0.0.1:${http.port}` });
  });

  it('takes bad escapes, empty segments and long values as they are', async () => {
    await http.route('/raw/:v/x', echo);
    for (const value of ['%zz', '%', '', 'x'.repeat(1000), '%00']) {
      const text = await http.raw(`GET /raw/${value}/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
      expect(text).toMatch(/^HTTP\/1\.1 200 /);
      expect(text).toContain(`"path_params":{"v":"${value}"}`);
    }
  });

  it('does not let names from outside touch prototypes', async () => {
    await http.route('/proto', echo);
    const text = await http.raw(
      'GET /proto?__proto__=q&constructor=c HTTP/1.1\r\nhost: x\r\n__proto__: h\r\nconnection: close\r\n\r\n',
    );
    expect(text).toContain('"query_params":{"__proto__":"q","constructor":"c"}');
    expect(text).toContain('"__proto__":"h"');
    expect(({} as Record<string, unknown>)['q']).toBeUndefined();
  });

  it('carries the metadata of the trigger', async () => {
    http.worker.registerFunction('test::meta', (_, metadata) => ({ body: metadata ?? 'none' }));
    await http.worker.registerTrigger({
      type: 'http',
      function_id: 'test::meta',
      config: { api_path: '/meta' },
      metadata: { a: 1 },
    }).ready;
    expect(await (await http.fetch('/meta')).json()).toEqual({ a: 1 });
  });

  it('passes trace headers on', async () => {
    const worker = await RawWorker.connect(http.engine.url);
    worker.serve('test::trace', (_, frame) => ({
      body: { traceparent: frame['traceparent'] ?? null, baggage: frame['baggage'] ?? null },
    }));
    worker.send({
      type: 'registertrigger',
      id: 'trace',
      trigger_type: 'http',
      function_id: 'test::trace',
      config: { api_path: '/trace' },
    });
    await waitFor(async () => (await http.fetch('/trace')).status === 200);
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const response = await http.fetch('/trace', { headers: { traceparent, baggage: 'a=b' } });
    expect(await response.json()).toMatchObject({ traceparent });
    const { baggage } = await received(await http.fetch('/trace', { headers: { traceparent, baggage: 'a=b' } }));
    expect(baggage).toContain('a=b');
    await worker.close();
    await waitFor(async () => (await http.fetch('/trace')).status === 404, {
      what: 'the route to leave with its worker',
    });
  });
});

describe('bodies', () => {
  const post = (path: string, body: string, type?: string): Promise<Response> =>
    http.fetch(path, { method: 'POST', body, headers: type === undefined ? {} : { 'content-type': type } });

  beforeAll(() => http.route('/echo', echo, { http_method: 'POST' }));

  it.each([
    ['application/json', '{"a":[1,2]}', { a: [1, 2] }],
    ['application/json; charset=utf-8', '"x"', 'x'],
    ['application/json', '{bad', null],
    ['application/json', '', null],
    ['application/json', '['.repeat(200) + ']'.repeat(200), null],
    ['APPLICATION/JSON', '{"a":1}', null],
    ['application/problem+json', '{"a":1}', null],
    ['text/plain', '{"a":1}', null],
    ['not a type;;;', '{"a":1}', null],
    ['application/x-www-form-urlencoded', 'a=1', null],
  ])('of type %s: %s', async (type, body, expected) => {
    const response = await post('/echo', body, type);
    expect(response.status).toBe(200);
    expect((await received(response))['body']).toEqual(expected);
  });

  it('keeps large numbers whole on the way to a worker', async () => {
    const worker = await RawWorker.connect(http.engine.url);
    worker.serve('test::numbers', () => ({ body: 'ok' }));
    worker.send({
      type: 'registertrigger',
      id: 'numbers',
      trigger_type: 'http',
      function_id: 'test::numbers',
      config: { api_path: '/numbers', http_method: 'POST' },
    });
    await waitFor(
      async () => (await post('/numbers', '{"id":12345678901234567890,"p":1.0}', 'application/json')).status === 200,
    );
    expect(worker.texts.some((text) => text.includes('"body":{"id":12345678901234567890,"p":1.0}'))).toBe(true);
    await worker.close();
  });

  it('are read on GET too, and bytes that are no UTF-8 are no JSON', async () => {
    await http.route('/get-body', echo);
    const head = 'GET /get-body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n';
    expect(await http.raw(`${head}content-length: 7\r\n\r\n{"a":1}`)).toContain('"body":{"a":1}');
    const response = await http.fetch('/echo', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from([34, 255, 34]),
    });
    expect((await received(response))['body']).toBeNull();
  });

  it('over the limit are refused before the handler runs, by length or while they come', async () => {
    const envelope = '{"error":{"code":"PAYLOAD_TOO_LARGE","message":"Request body too large"}}';
    const large = await post('/echo', JSON.stringify('x'.repeat(2000)), 'application/json');
    expect([large.status, await large.text()]).toEqual([413, envelope]);
    expect(large.headers.get('access-control-allow-origin')).toBe('*');
    const chunk = `400\r\n${'x'.repeat(1024)}\r\n`;
    const head =
      'POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n';
    const text = await http.raw(`${head}${chunk}${chunk}0\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 413 /);
    expect(text).toContain(envelope);
  });

  it('of unread requests do not spoil the connection for the next one', async () => {
    const text = await http.raw(
      'POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello' +
        'POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi' +
        'GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n',
    );
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 404']);
  });
});

describe('methods', () => {
  it('answers 404 and 405 in the envelope, with what is allowed', async () => {
    await http.route('/only-get', echo);
    const missing = await http.fetch('/nothing');
    expect([missing.status, await missing.text()]).toEqual([
      404,
      '{"error":{"code":"NOT_FOUND","message":"Not Found"}}',
    ]);
    expect(missing.headers.get('content-type')).toBe('application/json');
    for (const method of ['POST', 'PROPFIND', 'TRACE']) {
      const text = await http.raw(`${method} /only-get HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
      expect(text).toMatch(/^HTTP\/1\.1 405 /);
      expect(text).toMatch(/^allow: GET,HEAD\r$/im);
      expect(text).toContain('{"error":{"code":"METHOD_NOT_ALLOWED","message":"Method Not Allowed"}}');
    }
  });

  it('runs the GET handler for HEAD and leaves the body out', async () => {
    await http.route('/head', (request: { method: string }) => ({
      status_code: 203,
      headers: { 'x-m': request.method },
      body: 'hello',
    }));
    const response = await http.fetch('/head', { method: 'HEAD' });
    expect([response.status, response.headers.get('x-m'), response.headers.get('content-length')]).toEqual([
      203,
      'HEAD',
      '7',
    ]);
    expect(await response.text()).toBe('');
  });

  it('lets a function serve OPTIONS unless it is a preflight', async () => {
    await http.route('/opt', () => ({ body: 'mine' }), { http_method: 'OPTIONS' });
    expect(await (await http.fetch('/opt', { method: 'OPTIONS' })).text()).toBe('"mine"');
    const preflight = await http.fetch('/opt', {
      method: 'OPTIONS',
      headers: { 'access-control-request-method': 'PUT' },
    });
    expect([preflight.status, await preflight.text()]).toEqual([200, '']);
  });
});

describe('answers', () => {
  it('carry status, headers and body of the function', async () => {
    await http.route('/go/:x', () => ({ status_code: 302, headers: { Location: 'https://example.com' } }));
    const response = await http.fetch('/go/1');
    expect([response.status, response.headers.get('location'), await response.text()]).toEqual([
      302,
      'https://example.com',
      '{}',
    ]);
    await http.route('/cookies', () => ({ headers: ['Set-Cookie: a=1', 'Set-Cookie: b=2', 'vary: accept'], body: '' }));
    const cookies = await http.fetch('/cookies');
    expect(cookies.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    expect(cookies.headers.get('vary')).toBe(
      'accept, origin, access-control-request-method, access-control-request-headers',
    );
  });

  it('are 204 after a moment for its channel when the function returns nothing', async () => {
    await http.route('/void', () => undefined);
    const response = await http.fetch('/void');
    expect([response.status, await response.text(), response.headers.get('content-type')]).toEqual([204, '', null]);
  });

  it('that cannot end a request are errors, and the server lives', async () => {
    await http.route('/early', () => ({ status_code: 103, body: 1 }));
    const response = await http.fetch('/early');
    expect(response.status).toBe(500);
    expect(await response.json()).toMatchObject({ error: { code: 'INTERNAL_ERROR' } });
  });

  it('to a client that is no client are short', async () => {
    expect(await http.raw('nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    expect(await http.raw(`GET / HTTP/1.1\r\nx: ${'a'.repeat(70_000)}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
    expect((await http.fetch('/nothing')).status).toBe(404);
  });
});

describe('routes at run time', () => {
  it('survives every path that a worker can think of', async () => {
    for (const path of [
      '/files/*/x',
      '/:',
      '/{',
      '/}',
      '/{a',
      '/**',
      '',
      '/%',
      '/a{b}c',
      ':',
      '*',
      '/\u0000',
      '/\n',
      'x'.repeat(10_000),
    ]) {
      const config = { api_path: path, http_method: 'PUT' };
      const trigger = http.worker.registerTrigger({ type: 'http', function_id: 'nowhere', config });
      await trigger.ready.catch(() => undefined);
      await http.fetch('/nothing');
      trigger.unregister();
    }
    await http.route('/alive', echo);
    expect((await http.fetch('/alive')).status).toBe(200);
  });

  it('keeps a conflicting route aside and serves it when the way is free', async () => {
    const first = await RawWorker.connect(http.engine.url);
    const second = await RawWorker.connect(http.engine.url);
    const add = (worker: RawWorker, name: string, path: string): void => {
      worker.serve(`conflict::${name}`, () => ({ body: name }));
      worker.send({
        type: 'registertrigger',
        id: name,
        trigger_type: 'http',
        function_id: `conflict::${name}`,
        config: { api_path: path },
      });
    };
    add(first, 'first', '/conflict/:a');
    await waitFor(async () => (await http.fetch('/conflict/1')).status === 200);
    add(second, 'second', '/conflict/:b');
    const refusal = await second.frame('triggerregistrationresult');
    expect(refusal['error']).toEqual({
      code: 'trigger_registration_failed',
      message:
        "Route 'GET /conflict/:b' conflicts with already-registered route 'GET /conflict/:a': " +
        'routes with identical structure but different path-parameter names are not supported',
    });
    expect(await (await http.fetch('/conflict/1')).text()).toBe('"first"');
    const listed = async (): Promise<unknown[]> => {
      const answer = await second.call('engine::registered-triggers::list', { function_id: 'conflict::second' });
      return (answer as { registered_triggers: unknown[] }).registered_triggers;
    };
    expect(await listed()).toEqual([]);
    await first.close();
    await waitFor(async () => (await (await http.fetch('/conflict/1')).text()) === '"second"');
    expect(await listed()).toMatchObject([{ id: 'second', status: 'active' }]);
    second.send({ type: 'unregistertrigger', id: 'second' });
    await waitFor(async () => (await http.fetch('/conflict/1')).status === 404, {
      what: 'the activated route to end with its trigger',
    });
    expect(await listed()).toEqual([]);
  });

  it('forgets a route kept aside when its worker leaves', async () => {
    const [first, second] = [await RawWorker.connect(http.engine.url), await RawWorker.connect(http.engine.url)];
    const add = (worker: RawWorker, id: string, path: string): void => {
      worker.serve(`aside::${id}`, () => ({ body: id }));
      worker.send({
        type: 'registertrigger',
        id,
        trigger_type: 'http',
        function_id: `aside::${id}`,
        config: { api_path: path },
      });
    };
    add(first, 'one', '/aside/:a');
    await waitFor(async () => (await http.fetch('/aside/1')).status === 200);
    add(second, 'two', '/aside/:b');
    await second.frame('triggerregistrationresult');
    await second.close();
    await first.close();
    await waitFor(async () => (await http.fetch('/aside/1')).status === 404);
  });

  it('serves 10,000 of them and takes them back', async () => {
    const worker = http.engine.worker('many');
    worker.registerFunction('many::echo', (request: unknown) => ({ body: request }));
    const ready = Array.from({ length: 10_000 }, (_, i) =>
      worker.registerTrigger({ type: 'http', function_id: 'many::echo', config: { api_path: `/many/r${i}/:id` } }),
    );
    await Promise.all(ready.map((trigger) => trigger.ready));
    expect((await received(await http.fetch('/many/r9999/x')))['path_params']).toEqual({ id: 'x' });
    await worker.shutdown();
    await waitFor(async () => (await http.fetch('/many/r9999/x')).status === 404);
    expect((await http.fetch('/nothing')).status).toBe(404);
  });
});

it('answers on IPv6 loopback under the same port', async () => {
  await http.route('/v6', () => ({ body: 6 }));
  const response = await fetch(`http://[::1]:${http.port}/v6`);
  expect(await response.text()).toBe('6');
  expect(await rawExchange(http.port, 'GET /v6 HTTP/1.0\r\n\r\n')).toContain('\r\n\r\n6');
});
