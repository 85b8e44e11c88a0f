import { FakeClock, httpEngine, waitFor, type HttpEngine } from '@trine/testing';
import { TrineError } from '@trine/engine';
import { afterEach, describe, expect, it } from 'vitest';

let http: HttpEngine;
afterEach(() => http.stop());

const HEX_ID = /^[\da-f]{12}$/;

interface Envelope {
  readonly error: { readonly code: string; readonly message: string; readonly error_id?: string };
}

async function failure(response: Response): Promise<[number, Envelope['error']]> {
  return [response.status, ((await response.json()) as Envelope).error];
}

describe('errors of functions', () => {
  it('keep code and message, have an id and show no stack', async () => {
    http = await httpEngine();
    await http.route('/throws', () => {
      throw new Error('boom');
    });
    await http.route('/coded', () => {
      throw new TrineError('my_code', 'mine');
    });
    const [status, error] = await failure(await http.fetch('/throws'));
    expect([status, error]).toEqual([
      500,
      { code: 'invocation_failed', message: 'boom', error_id: expect.stringMatching(HEX_ID) as string },
    ]);
    const [, again] = await failure(await http.fetch('/throws'));
    expect(again.error_id).not.toBe(error.error_id);
    expect(await failure(await http.fetch('/coded'))).toMatchObject([500, { code: 'my_code', message: 'mine' }]);
  });

  it('name a function that is not there', async () => {
    http = await httpEngine();
    await http.worker.registerTrigger({ type: 'http', function_id: 'no::one', config: { api_path: '/gone' } }).ready;
    const error = { code: 'function_not_found', message: 'Function no::one not found in namespace default' };
    expect(await failure(await http.fetch('/gone'))).toMatchObject([500, error]);
  });

  it('tell of a worker that left in the middle', async () => {
    http = await httpEngine();
    const leaving = http.engine.worker('leaving');
    let called = false;
    leaving.registerFunction('leaving::hangs', () => {
      called = true;
      return new Promise(() => undefined);
    });
    await http.worker.registerTrigger({ type: 'http', function_id: 'leaving::hangs', config: { api_path: '/hang' } })
      .ready;
    const response = http.fetch('/hang');
    await waitFor(() => called);
    await leaving.shutdown();
    expect(await failure(await response)).toMatchObject([500, { code: 'invocation_stopped' }]);
  });
});

describe('time', () => {
  it('that runs out is 504 in the envelope, with cross-origin headers, at every step', async () => {
    const clock = new FakeClock();
    http = await httpEngine({ default_timeout: 1000 }, { clock });
    let calls = 0;
    const never = (): Promise<never> => {
      calls++;
      return new Promise(() => undefined);
    };
    http.worker.registerFunction('hang::it', never);
    await http.route('/handler', never);
    await http.route('/condition', () => ({ body: 1 }), { condition_function_id: 'hang::it' });
    await http.route('/middleware', () => ({ body: 1 }), { middleware_function_ids: ['hang::it'] });
    for (const [path, code, message] of [
      ['/handler', 'TIMEOUT', 'Request timed out'],
      ['/condition', 'TIMEOUT', 'Request timed out'],
      ['/middleware', 'MIDDLEWARE_TIMEOUT', 'Middleware timeout'],
    ] as const) {
      const before = calls;
      const pending = http.fetch(path);
      await waitFor(() => calls > before);
      await clock.advance(1000);
      const response = await pending;
      expect(response.headers.get('access-control-allow-origin')).toBe('*');
      expect(await failure(response)).toEqual([504, { code, message }]);
    }
  });

  it('of zero answers every routed request with 504', async () => {
    http = await httpEngine({ default_timeout: 0 });
    await http.route('/a', () => ({ body: 1 }));
    expect((await http.fetch('/a')).status).toBe(504);
  });

  it('ends a body that never ends', async () => {
    http = await httpEngine({ default_timeout: 300 });
    await http.route('/slow', () => ({ body: 1 }), { http_method: 'POST' });
    const text = await http.raw(
      'POST /slow HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"a"',
    );
    expect(text).toMatch(/^HTTP\/1\.1 504 /);
    expect(text).toContain('"TIMEOUT"');
  });
});

describe('the concurrency limit', () => {
  it('makes requests wait for a place and gives up those that wait too long', async () => {
    const clock = new FakeClock();
    http = await httpEngine({ concurrency_request_limit: 2, default_timeout: 1000 }, { clock });
    let running = 0;
    let most = 0;
    const open: (() => void)[] = [];
    await http.route('/work', async () => {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => open.push(resolve));
      running--;
      return { body: 'done' };
    });
    const answers = Array.from({ length: 6 }, () => http.fetch('/work').then((response) => response.status));
    for (let done = 0; done < 6; done += 2) {
      await waitFor(() => open.length === 2);
      for (const finish of open.splice(0)) finish();
    }
    expect(await Promise.all(answers)).toEqual([200, 200, 200, 200, 200, 200]);
    expect(most).toBe(2);

    const late = Array.from({ length: 3 }, () => http.fetch('/work').then((response) => response.status));
    await waitFor(() => open.length === 2);
    // Each running request has a timer of its call, the waiting one that of its place.
    await waitFor(() => clock.nextInMs !== undefined && clock.pending >= 3);
    await clock.advance(1000);
    expect(await Promise.all(late)).toEqual([504, 504, 504]);
    for (const finish of open.splice(0)) finish();
  });

  it('calls nothing for a client that left while it waited, and counts it no more', async () => {
    const clock = new FakeClock();
    http = await httpEngine({ concurrency_request_limit: 1 }, { clock });
    let finish: (() => void) | undefined;
    const called: string[] = [];
    await http.route('/work/:who', async ({ path_params }: { path_params: { who: string } }) => {
      called.push(path_params.who);
      if (path_params.who === 'first') await new Promise<void>((resolve) => (finish = resolve));
      return { body: 'done' };
    });
    const first = http.fetch('/work/first');
    await waitFor(() => finish);
    const before = clock.pending;
    const leaving = new AbortController();
    const left = http.fetch('/work/left', { signal: leaving.signal }).catch(() => 'left');
    await waitFor(() => clock.pending > before);
    leaving.abort();
    expect(await left).toBe('left');
    await waitFor(() => clock.pending === before);
    const last = http.fetch('/work/last');
    await waitFor(() => clock.pending > before);
    finish?.();
    expect([(await first).status, (await last).status]).toEqual([200, 200]);
    expect(called).toEqual(['first', 'last']);
    // A request that was still counted would keep the engine waiting at its stop.
    await http.engine.stop();
  });

  it('of 0 counts as 1', async () => {
    http = await httpEngine({ concurrency_request_limit: 0 });
    await http.route('/a', () => ({ body: 1 }));
    expect((await http.fetch('/a')).status).toBe(200);
  });
});

it('goes on serving when clients leave in the middle', async () => {
  http = await httpEngine({ concurrency_request_limit: 1 });
  let finish: (() => void) | undefined;
  let calls = 0;
  await http.route('/left', async () => {
    calls++;
    if (calls === 1) await new Promise<void>((resolve) => (finish = resolve));
    return { body: calls };
  });
  const leaving = new AbortController();
  const left = http.fetch('/left', { signal: leaving.signal }).catch(() => 'left');
  await waitFor(() => finish);
  leaving.abort();
  expect(await left).toBe('left');
  const next = http.fetch('/left');
  finish?.();
  expect((await next).status).toBe(200);
});
