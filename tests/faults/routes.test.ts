import { performance } from 'node:perf_hooks';
import { httpEngine, RawWorker, waitFor, type HttpEngine } from '@trine/testing';
import { afterEach, describe, expect, test } from 'vitest';

const ROUTES = 10_000;
const LOOKUPS = 400;
/** The median of a request in the large table over that in a small one, measured in turns. */
const MAX_RATIO = 3;

const started: HttpEngine[] = [];
afterEach(async () => {
  for (const http of started.splice(0)) await http.stop();
});

async function start(): Promise<{ http: HttpEngine; worker: RawWorker }> {
  const http = await httpEngine();
  started.push(http);
  const worker = await RawWorker.connect(http.engine.url);
  worker.serve('routes::echo', (data) => ({ status_code: 200, body: (data as { path_params: unknown }).path_params }));
  return { http, worker };
}

function bind(worker: RawWorker, id: string, config: unknown): void {
  worker.send({ type: 'registertrigger', id, trigger_type: 'http', function_id: 'routes::echo', config });
}

describe('routes - nothing that a worker registers takes the HTTP server down', () => {
  test('two routes of one shape with different parameter names: the second is refused and told, the first serves', async () => {
    const { http, worker } = await start();
    bind(worker, 'first', { api_path: 'users/:id', http_method: 'GET' });
    bind(worker, 'second', { api_path: 'users/:name', http_method: 'GET' });
    const told = await worker.frame('triggerregistrationresult', (frame) => frame['id'] === 'second');
    expect(told['error']).toMatchObject({ message: expect.stringContaining('users/:id') as string });
    expect(await (await http.fetch('/users/7')).json()).toEqual({ id: '7' });
    // When the route in its way leaves, the other one serves.
    worker.send({ type: 'unregistertrigger', id: 'first' });
    await waitFor(async () => 'name' in ((await (await http.fetch('/users/7')).json()) as object));
    await worker.close();
  });

  test('paths and configurations that make no route are refused and told, one by one', async () => {
    const { http, worker } = await start();
    bind(worker, 'good', { api_path: 'good' });
    const bad: unknown[] = [
      ...[
        'a/{b',
        'a/b}c',
        'x/:',
        'x/*/y',
        'x/{*}',
        '{',
        '**',
        'a/{b}{c}',
        'a*b',
        `long/${'x'.repeat(9_000)}`,
        'a/'.repeat(300),
      ].map((api_path) => ({ api_path })),
      { api_path: 5 },
      { api_path: null },
      { api_path: ['a'] },
      {},
      null,
      'text',
      [],
      { api_path: 'x', http_method: 'FETCH' },
      { api_path: 'x', http_method: '' },
    ];
    bad.forEach((config, i) => bind(worker, `bad-${i}`, config));
    for (let i = 0; i < bad.length; i++) {
      const told = await worker.frame('triggerregistrationresult', (frame) => frame['id'] === `bad-${i}`);
      const { code, message } = told['error'] as { code: string; message: string };
      expect(code).not.toBe('');
      expect(message, JSON.stringify(bad[i])).toMatch(/api_path|method/i);
      expect(message).not.toMatch(/\n\s+at /);
    }
    // Odd, and a route: what these match is their own affair, what counts is that the server stands.
    for (const [i, api_path] of [
      '',
      '/',
      '//',
      '%',
      'a%2Fb',
      '%zz',
      'é/ü',
      '../up',
      '__proto__/constructor',
      ' ',
      '?q',
      '#f',
      'a\u0000b',
    ].entries()) {
      bind(worker, `odd-${i}`, { api_path });
    }
    for (const path of [
      '/',
      '//',
      '/%',
      '/a%2Fb',
      '/%zz',
      '/__proto__/constructor',
      '/constructor',
      '/toString',
      '/..%2f',
      `/${'y'.repeat(5_000)}`,
    ]) {
      expect(
        (await http.raw(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)).slice(0, 12),
        path,
      ).toMatch(/^HTTP\/1\.1 [2-4]/);
    }
    expect((await http.fetch('/good')).status).toBe(200);
    await worker.close();
  });

  test(`a table of ${ROUTES} routes, registered over one socket, is looked up as fast as a small one`, async () => {
    const [small, large] = [await start(), await start()];
    const last = ROUTES - 1;
    const path = (i: number): string => `/table/area-${i % 100}/item-${i}/5`;
    const add = (worker: RawWorker, i: number): void =>
      bind(worker, `route-${i}`, { api_path: `table/area-${i % 100}/item-${i}/:id` });
    for (let i = 0; i < 10; i++) add(small.worker, i);
    for (let i = 0; i < ROUTES; i++) add(large.worker, i);
    await waitFor(async () => (await large.http.fetch(path(last))).status === 200, {
      timeoutMs: 60_000,
      everyMs: 50,
      what: 'the last route',
    });
    await waitFor(async () => (await small.http.fetch(path(9))).status === 200);
    const times: { small: number[]; large: number[] } = { small: [], large: [] };
    const timed = async (http: HttpEngine, i: number, into: number[]): Promise<void> => {
      const before = performance.now();
      const response = await http.fetch(path(i));
      expect(await response.json()).toEqual({ id: '5' });
      into.push(performance.now() - before);
    };
    for (let n = 0; n < LOOKUPS; n++) {
      await timed(small.http, n % 10, times.small);
      await timed(large.http, (n * 7_919) % ROUTES, times.large);
    }
    const ratio = median(times.large) / median(times.small);
    expect(ratio).toBeLessThan(MAX_RATIO);
    // A worker that leaves takes its routes along, all of them.
    large.worker.drop();
    await waitFor(async () => (await large.http.fetch(path(last))).status === 404, {
      timeoutMs: 30_000,
      what: 'the routes to go',
    });
    expect((await large.http.fetch(path(0))).status).toBe(404);
    await small.worker.close();
  });
});

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}
