import { httpEngine, type HttpEngine } from '@trine/testing';
import { afterEach, describe, expect, it } from 'vitest';

let http: HttpEngine;
afterEach(() => http.stop());

describe('middleware', () => {
  it('runs global ones by priority, then the condition, then those of the route, then the function', async () => {
    http = await httpEngine({
      middleware: [
        { function_id: 'mw::second', priority: 2 },
        { function_id: 'mw::never', phase: 'onResponse' },
        { function_id: 'mw::first', priority: 1 },
      ],
    });
    const order: string[] = [];
    for (const name of ['first', 'second', 'third', 'never']) {
      http.worker.registerFunction(`mw::${name}`, () => {
        order.push(name);
        return { action: 'continue' };
      });
    }
    http.worker.registerFunction('mw::condition', () => {
      order.push('condition');
      return null;
    });
    await http.route(
      '/a',
      () => {
        order.push('function');
        return { body: 1 };
      },
      { condition_function_id: 'mw::condition', middleware_function_ids: ['mw::third'] },
    );
    expect((await http.fetch('/a')).status).toBe(200);
    expect(order).toEqual(['first', 'second', 'condition', 'third', 'function']);
    order.length = 0;
    expect((await http.fetch('/unknown')).status).toBe(404);
    expect(order).toEqual([]);
  });

  it('sees the request without its body and hands its context to those after it', async () => {
    http = await httpEngine();
    const seen: unknown[] = [];
    http.worker.registerFunction('mw::auth', (input: unknown) => {
      seen.push(input);
      return { action: 'continue', context: { user: 'ada', role: 'guest' } };
    });
    http.worker.registerFunction('mw::role', (input: { context: unknown }) => {
      seen.push(input.context);
      return { action: 'continue', context: JSON.parse('{"role":"admin","__proto__":{"x":1}}') as unknown };
    });
    await http.route('/m/:id', (request: { context: unknown }) => ({ body: request.context }), {
      middleware_function_ids: ['mw::auth', 'mw::role'],
    });
    const response = await http.fetch('/m/7?q=1', { headers: { 'x-key': 'k' } });
    expect(await response.text()).toBe('{"user":"ada","role":"admin","__proto__":{"x":1}}');
    expect(seen[0]).toMatchObject({
      phase: 'preHandler',
      request: { path_params: { id: '7' }, query_params: { q: '1' }, headers: { 'x-key': 'k' }, method: 'GET' },
      context: {},
    });
    expect(Object.keys(seen[0] as object)).toEqual(['phase', 'request', 'context']);
    expect(Object.keys((seen[0] as { request: object }).request)).toEqual([
      'path_params',
      'query_params',
      'headers',
      'method',
    ]);
    expect(seen[1]).toEqual({ user: 'ada', role: 'guest' });
  });

  it('can answer itself: nothing after it runs', async () => {
    http = await httpEngine();
    let ran = false;
    http.worker.registerFunction('mw::deny', () => ({
      action: 'respond',
      response: { status_code: 401, headers: { 'x-why': 'key' }, body: { error: 'no' } },
    }));
    await http.route('/denied', () => (ran = true), { middleware_function_ids: ['mw::deny'] });
    const response = await http.fetch('/denied');
    expect([response.status, response.headers.get('x-why'), await response.text()]).toEqual([
      401,
      'key',
      '{"error":"no"}',
    ]);
    expect(ran).toBe(false);
  });

  it('goes on after an odd answer and stops at an error or a function that is not there', async () => {
    http = await httpEngine();
    http.worker.registerFunction('mw::odd', () => 5);
    http.worker.registerFunction('mw::fails', () => {
      throw new Error('broken');
    });
    await http.route('/odd', () => ({ body: 1 }), { middleware_function_ids: ['mw::odd', 7] });
    await http.route('/fails', () => ({ body: 1 }), { middleware_function_ids: ['mw::fails'] });
    await http.route('/absent', () => ({ body: 1 }), { middleware_function_ids: ['mw::absent'] });
    expect((await http.fetch('/odd')).status).toBe(200);
    expect(await (await http.fetch('/fails')).json()).toMatchObject({
      error: { code: 'invocation_failed', message: 'broken' },
    });
    expect(await (await http.fetch('/absent')).json()).toMatchObject({ error: { code: 'function_not_found' } });
  });
});

describe('conditions', () => {
  it.each([
    [false, 422],
    [true, 200],
    [null, 200],
    [0, 200],
    ['', 200],
    [undefined, 200],
  ])('that answer %s lead to %s', async (verdict, status) => {
    http = await httpEngine();
    http.worker.registerFunction('cond::it', () => verdict);
    await http.route('/c', () => ({ body: 1 }), { condition_function_id: 'cond::it' });
    const response = await http.fetch('/c');
    expect(response.status).toBe(status);
    if (status === 422) {
      expect(await response.text()).toBe(
        '{"error":{"code":"CONDITION_NOT_MET","message":"Request condition not met"},"skipped":true}',
      );
    }
  });

  it('see the body, and their failure is the answer', async () => {
    http = await httpEngine();
    http.worker.registerFunction('cond::body', (request: { body: { go: boolean } }) => {
      if (request.body === null) throw new Error('no body');
      return request.body.go;
    });
    await http.route('/c', () => ({ body: 1 }), { condition_function_id: 'cond::body', http_method: 'POST' });
    const post = (body: string): Promise<Response> =>
      http.fetch('/c', { method: 'POST', body, headers: { 'content-type': 'application/json' } });
    expect((await post('{"go":true}')).status).toBe(200);
    expect((await post('{"go":false}')).status).toBe(422);
    const failed = await post('nonsense');
    expect(failed.status).toBe(500);
    expect(await failed.json()).toMatchObject({ error: { code: 'invocation_failed', message: 'no body' } });
  });
});
