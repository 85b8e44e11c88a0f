/** Who comes in: the auth function, on both sockets, and the origin of a page. */
import { RawWorker, waitFor } from '@trine/testing';
import { WebSocket } from 'ws';
import { afterEach, describe, expect, it } from 'vitest';
import { accessBed, knock, settled, type AccessBed } from './bed.js';

let bed: AccessBed;
afterEach(() => bed.stop());

interface AuthInput {
  readonly headers: Record<string, string>;
  readonly query_params: Record<string, string[]>;
  readonly ip_address: string;
}

/** Starts the engine with an auth function that answers as told. */
async function start(auth: (input: AuthInput) => unknown, extra: object = {}): Promise<AuthInput[]> {
  bed = await accessBed({ rbac: { auth_function_id: 'door::auth' }, access_timeout_ms: 300, ...extra });
  const asked: AuthInput[] = [];
  const keeper = await RawWorker.connect(bed.trusted);
  keeper.serve('door::auth', (data) => {
    asked.push(data as AuthInput);
    return auth(data as AuthInput);
  });
  await settled(keeper);
  return asked;
}

const refusal = (message: unknown): unknown => [{ type: 'error', error: { code: 'AUTH_ERROR', message } }];

describe('the auth function', () => {
  it('is asked once for a socket, with headers, decoded query and address', async () => {
    const asked = await start(() => ({}));
    const url = `${bed.guarded}/?token=a%20b&token=c+d&bad=%zz&flag&__proto__=x`;
    const worker = await RawWorker.connect(url, { headers: { Authorization: 'Bearer 1', 'X-Tenant': 'acme' } });
    await settled(worker);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.headers).toMatchObject({ authorization: 'Bearer 1', 'x-tenant': 'acme' });
    expect(Object.entries(asked[0]?.query_params ?? {})).toEqual([
      ['token', ['a b', 'c+d']],
      ['bad', ['%zz']],
      ['flag', ['']],
      ['__proto__', ['x']],
    ]);
    expect(asked[0]?.ip_address).toBe('127.0.0.1');
    expect(asked[0]).not.toHaveProperty('_caller_worker_id');
  });

  it('keeps frames that come before its answer, and their order', async () => {
    let open: () => void = () => undefined;
    await start(() => new Promise((resolve) => (open = () => resolve({ allowed_functions: ['own::echo'] }))), {
      access_timeout_ms: 20_000,
    });
    const ws = new WebSocket(bed.guarded);
    const texts: string[] = [];
    ws.on('message', (data: Buffer) => void texts.push(data.toString()));
    await waitFor(() => ws.readyState === WebSocket.OPEN);
    ws.send('{"type":"registerfunction","id":"own::echo"}');
    ws.send('{"type":"invokefunction","function_id":"own::echo","data":{"n":1}}');
    ws.send('{"type":"ping"}');
    expect(texts).toEqual([]);
    open();
    await waitFor(() => texts.some((text) => text.includes('pong')));
    expect(texts[0]).toContain('workerregistered');
    expect(texts.findIndex((text) => text.includes('own::echo'))).toBeGreaterThan(0);
    ws.terminate();
  });

  it('refuses with an error frame and Close 1008: what it throws, nothing, nonsense, and an empty prefix', async () => {
    const answers: (() => unknown)[] = [
      () => {
        throw new Error('bad token');
      },
      () => null,
      () => undefined,
      () => 'yes',
      () => ({ allowed_functions: 'all' }),
      () => ({ function_registration_prefix: '' }),
    ];
    await start(() => (answers.shift() as () => unknown)());
    for (const message of [
      'bad token',
      'auth function returned no result',
      'auth function returned no result',
      expect.stringMatching(/unusable result/),
      expect.stringMatching(/unusable result: allowed_functions/),
      expect.stringMatching(/unusable result: function_registration_prefix/),
    ]) {
      const { frames, end } = await knock(bed.guarded);
      expect(frames).toEqual(refusal(message));
      expect(end).toBe('1008 AUTH_ERROR');
    }
    expect(bed.log()).toContain('connection refused');
  });

  it('refuses when the answer does not come in time', async () => {
    await start(() => new Promise(() => undefined));
    const { frames, end } = await knock(bed.guarded);
    expect(frames).toEqual(refusal(expect.stringContaining('no answer within 300 ms')));
    expect(end).toBe('1008 AUTH_ERROR');
  });

  it('refuses when nobody serves it', async () => {
    bed = await accessBed({ rbac: { auth_function_id: 'door::gone' } });
    const { frames } = await knock(bed.guarded);
    expect(frames).toEqual(refusal(expect.stringContaining('not registered')));
  });

  it('is asked on /otel too, where a refusal ends telemetry alone', async () => {
    let let_in = true;
    const asked = await start(() => {
      if (let_in) return {};
      throw new Error('no telemetry');
    });
    const worker = await RawWorker.connect(bed.guarded);
    let_in = false;
    const { frames, end } = await knock(`${bed.guarded}/otel?k=v`);
    expect(frames).toEqual(refusal('no telemetry'));
    expect(end).toBe('1008 AUTH_ERROR');
    expect(asked).toHaveLength(2);
    expect(asked[1]?.query_params).toEqual({ k: ['v'] });
    await settled(worker);

    let_in = true;
    const ws = new WebSocket(`${bed.guarded}/otel`);
    await waitFor(() => ws.readyState === WebSocket.OPEN);
    await waitFor(() => asked.length === 3);
    ws.send(Buffer.from('LOGS{"resourceLogs":[]}'));
    let pong = false;
    ws.on('pong', () => (pong = true)).ping();
    await waitFor(() => pong);
    ws.terminate();
  });

  it('is not asked on the listener without rules', async () => {
    const asked = await start(() => ({}));
    await settled(await RawWorker.connect(bed.trusted));
    expect(asked).toEqual([]);
  });

  it('does not hold up a stop of the engine', async () => {
    await start(() => new Promise(() => undefined), { access_timeout_ms: 30_000 });
    const ws = new WebSocket(bed.guarded);
    let code: number | undefined;
    ws.on('close', (closed) => (code = closed)).on('error', () => undefined);
    await waitFor(() => ws.readyState === WebSocket.OPEN);
    await bed.engine.stop();
    await waitFor(() => code !== undefined);
    expect([1012, 1006]).toContain(code);
  });
});

describe('the origin of a page', () => {
  it('must be on the list; programs name none and are let in', async () => {
    bed = await accessBed({ allowed_origins: ['https://app.example'] });
    const from = (origin: string): Promise<RawWorker> => RawWorker.connect(bed.guarded, { headers: { origin } });
    await settled(await RawWorker.connect(bed.guarded));
    await settled(await from('https://app.example'));
    for (const path of ['/', '/otel', '/ws/channels/id?key=key&dir=read']) {
      const { end } = await knock(bed.guarded + path, { headers: { origin: 'https://evil.example' } });
      expect(end).toContain('403');
    }
    expect((await knock(bed.guarded, { headers: { origin: 'https://app.example.evil' } })).end).toContain('403');
    expect((await knock(bed.guarded, { headers: { origin: 'null' } })).end).toContain('403');
    expect(bed.log()).toContain('its origin is not allowed');
    await settled(await RawWorker.connect(bed.trusted, { headers: { origin: 'https://evil.example' } }));
  });
});
