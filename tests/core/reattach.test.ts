/** A client that comes back within the grace finds its calls as they were, in both roles. */
import { createEngine, type Engine } from '@trine/engine';
import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, describe, expect, it } from 'vitest';

const LONG_GRACE_MS = 60_000;
const SDK = { runtime: 'node', version: '0.22.1' } as const;

let engine: Engine;
let folder: TempFolder;

async function start(reattachGraceMs: number): Promise<void> {
  engine = await createEngine({
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'http', config: { host: '127.0.0.1', port: 0 } },
        { name: 'queue', config: { queue_configs: { jobs: { type: 'standard', max_retries: 3 } } } },
      ],
    },
    cwd: (folder = await tempFolder()).path,
    logLevel: 'error',
    limits: { reattachGraceMs },
  });
  await engine.start();
}

afterEach(async () => {
  await engine.stop();
  await folder.remove();
});

/** Connects and describes itself. */
async function worker(name: string, info: { version?: string } = {}): Promise<RawWorker> {
  const connected = await RawWorker.connect(engine.url);
  connected.describe({ name, ...SDK, ...info });
  await settled(connected);
  return connected;
}

async function settled(connected: RawWorker): Promise<void> {
  await connected.ask('nobody::here', null);
}

/** A function whose answers the test gives. */
function serveByHand(server: RawWorker, id: string): { readonly calls: string[]; answer(value: unknown): void } {
  const calls: string[] = [];
  let release: (value: unknown) => void = () => undefined;
  const answered = new Promise<unknown>((resolve) => (release = resolve));
  server.serve(id, (_data, frame) => {
    calls.push(String(frame['invocation_id']));
    return answered;
  });
  return { calls, answer: release };
}

/** Its pong has told that the worker has received the call that it runs. */
async function confirmed(server: RawWorker): Promise<void> {
  const session = engine.core.session(server.id);
  await waitFor(() => [...(session?.executing ?? [])].some((call) => session?.hasConfirmed(call)), {
    what: 'the worker to confirm its call',
  });
}

describe('a caller whose connection dropped', () => {
  it('gets the answer of its call on the connection that reattaches', async () => {
    await start(LONG_GRACE_MS);
    const server = await worker('server');
    const work = serveByHand(server, 'slow::work');
    await settled(server);
    const caller = await worker('caller');
    const id = '11111111-1111-4111-8111-111111111111';
    caller.send({ type: 'invokefunction', invocation_id: id, function_id: 'slow::work', data: {} });
    await waitFor(() => work.calls.length === 1);
    caller.drop();
    const again = await RawWorker.connect(engine.url);
    again.reattach(caller);
    again.describe({ name: 'caller', ...SDK });
    await settled(again);
    work.answer({ done: true });
    const answer = await again.frame('invocationresult', (frame) => frame['invocation_id'] === id);
    expect(answer['result']).toEqual({ done: true });
  });

  it('gets results again that came while it was away, enqueue receipts included', async () => {
    await start(LONG_GRACE_MS);
    const server = await worker('server');
    const work = serveByHand(server, 'slow::work');
    await settled(server);
    const caller = await worker('caller');
    const [call, job] = ['11111111-1111-4111-8111-111111111111', '22222222-2222-4222-8222-222222222222'];
    caller.send({ type: 'invokefunction', invocation_id: call, function_id: 'slow::work', data: {} });
    await waitFor(() => work.calls.length === 1);
    caller.send({
      type: 'invokefunction',
      invocation_id: job,
      function_id: 'nobody::yet',
      data: {},
      action: { type: 'enqueue', queue: 'jobs' },
    });
    await settled(caller);
    caller.drop();
    await waitFor(() => engine.core.session(caller.id)?.state === 'detached');
    work.answer('while away');
    await waitFor(() => engine.core.session(caller.id)?.waiting.size === 0);
    const again = await RawWorker.connect(engine.url);
    again.reattach(caller);
    const answer = await again.frame('invocationresult', (frame) => frame['invocation_id'] === call);
    expect(answer['result']).toBe('while away');
    const receipt = await again.frame('invocationresult', (frame) => frame['invocation_id'] === job);
    expect(receipt['result']).toEqual({ messageReceiptId: expect.any(String) as unknown });
  });
});

describe('an answer that is larger than what is kept for a caller that is away', () => {
  it('is an error when it is back, and no silence', async () => {
    await start(LONG_GRACE_MS);
    const server = await worker('server');
    const work = serveByHand(server, 'slow::work');
    await settled(server);
    const caller = await worker('caller');
    const id = '11111111-1111-4111-8111-111111111111';
    caller.send({ type: 'invokefunction', invocation_id: id, function_id: 'slow::work', data: {} });
    await waitFor(() => work.calls.length === 1);
    caller.drop();
    await waitFor(() => engine.core.session(caller.id)?.state === 'detached');
    work.answer('x'.repeat(5 * 1024 * 1024));
    await waitFor(() => engine.core.session(caller.id)?.waiting.size === 0);
    const again = await RawWorker.connect(engine.url);
    again.reattach(caller);
    const answer = await again.frame('invocationresult', (frame) => frame['invocation_id'] === id);
    expect(answer['error']).toMatchObject({
      code: 'invocation_stopped',
      message: expect.stringContaining('larger than what is kept') as unknown,
    });
  });
});

describe('a client that takes large messages', () => {
  it('takes them on the connection that reattaches, before it has described itself again', async () => {
    await start(LONG_GRACE_MS);
    const server = await worker('server');
    server.serve('large', () => 'x'.repeat(2 * 1024 * 1024));
    await settled(server);
    // Of an unknown version it would be taken for one that closes at 1 MiB.
    const python = { headers: { 'user-agent': 'Python/3.12 websockets/15.0' } };
    const caller = await RawWorker.connect(engine.url, python);
    await expect(caller.call('large', {})).rejects.toMatchObject({ code: 'payload_too_large' });
    caller.describe({ name: 'caller', runtime: 'python', version: '0.25.0' });
    expect(await caller.call('large', {})).toHaveLength(2 * 1024 * 1024);
    caller.drop();
    const again = await RawWorker.connect(engine.url, python);
    again.reattach(caller);
    expect(await again.call('large', {})).toHaveLength(2 * 1024 * 1024);
  });
});

describe('a worker whose connection dropped while it ran a call', () => {
  it('answers on the connection that reattaches, when it had confirmed the call', async () => {
    await start(LONG_GRACE_MS);
    const server = await worker('server');
    const work = serveByHand(server, 'slow::work');
    await settled(server);
    const caller = await worker('caller');
    const answer = caller.call('slow::work', {});
    await waitFor(() => work.calls.length === 1);
    await confirmed(server);
    server.drop();
    const again = await RawWorker.connect(engine.url);
    again.reattach(server);
    again.send({ type: 'invocationresult', invocation_id: work.calls[0], function_id: 'slow::work', result: 7 });
    expect(await answer).toBe(7);
  });

  it('ends the call when it had not confirmed it, and says that it may have run', async () => {
    await start(LONG_GRACE_MS);
    const server = await worker('server');
    server.serve('slow::work', () => new Promise(() => undefined));
    await settled(server);
    const caller = await worker('caller');
    server.pause();
    const answer = caller.ask('slow::work', {});
    await waitFor(() => engine.core.session(server.id)?.executing.size === 1);
    server.drop();
    expect((await answer)['error']).toMatchObject({
      code: 'invocation_stopped',
      message: expect.stringContaining('may or may not have run') as unknown,
    });
  });

  it('has an unconfirmed job delivered again without a charge', async () => {
    await start(LONG_GRACE_MS);
    const [server, caller] = [await worker('server'), await worker('caller')];
    server.serve('job::run', () => new Promise(() => undefined));
    await settled(server);
    server.pause();
    await caller.call('job::run', { n: 1 }, { action: { type: 'enqueue', queue: 'jobs' } });
    await waitFor(() => engine.core.session(server.id)?.executing.size === 1);
    server.drop();
    const metadata: unknown[] = [];
    const again = await RawWorker.connect(engine.url);
    again.reattach(server);
    again.serve('job::run', (_data, frame) => {
      metadata.push(frame['metadata']);
      return null;
    });
    again.describe({ name: 'server', ...SDK });
    await waitFor(() => metadata.length === 1);
    expect(metadata[0]).toMatchObject({ queue: { attempt: 1, redelivered: true } });
  });

  it('keeps its calls when the engine still holds its old socket for open', async () => {
    await start(LONG_GRACE_MS);
    const server = await worker('server');
    const work = serveByHand(server, 'slow::work');
    await settled(server);
    const caller = await worker('caller');
    const answer = caller.call('slow::work', {});
    await waitFor(() => work.calls.length === 1);
    await confirmed(server);
    const again = await RawWorker.connect(engine.url);
    again.reattach(server);
    again.send({ type: 'invocationresult', invocation_id: work.calls[0], function_id: 'slow::work', result: 'late' });
    expect(await answer).toBe('late');
    await waitFor(() => !server.isOpen);
  });

  it.each([
    ['after it has described itself', true],
    ['before it could describe itself', false],
  ])('keeps its calls over a second cut, %s', async (_when, describes) => {
    await start(LONG_GRACE_MS);
    const server = await worker('server');
    server.serve('quick::work', () => null);
    const work = serveByHand(server, 'slow::work');
    await settled(server);
    const caller = await worker('caller');
    // The number under which the call is written is one that the next connection will not reach.
    for (let i = 0; i < 5; i++) await caller.call('quick::work', {});
    const answer = caller.call('slow::work', {});
    await waitFor(() => work.calls.length === 1);
    await confirmed(server);
    server.drop();
    const second = await RawWorker.connect(engine.url);
    second.reattach(server);
    if (describes) second.describe({ name: 'server', ...SDK });
    await settled(second);
    second.drop();
    await waitFor(() => engine.core.session(second.id)?.state === 'detached');
    const third = await RawWorker.connect(engine.url);
    third.reattach(second);
    third.describe({ name: 'server', ...SDK });
    await settled(third);
    third.send({ type: 'invocationresult', invocation_id: work.calls[0], function_id: 'slow::work', result: 7 });
    expect(await answer).toBe(7);
    // Nothing is left of the connections before, what they offered included.
    expect([server, second].map(({ id }) => engine.core.session(id))).toEqual([undefined, undefined]);
    await expect(caller.call('quick::work', {})).rejects.toMatchObject({ code: 'function_not_found' });
  });

  it('ends everything when the grace is over', async () => {
    await start(50);
    const server = await worker('server');
    const work = serveByHand(server, 'slow::work');
    await settled(server);
    const caller = await worker('caller');
    const answer = caller.ask('slow::work', {});
    await waitFor(() => work.calls.length === 1);
    await confirmed(server);
    server.drop();
    expect((await answer)['error']).toMatchObject({ code: 'invocation_stopped' });
    await expect(caller.call('slow::work', {})).rejects.toMatchObject({ code: 'function_not_found' });
  });
});

describe('functions, routes and triggers of a worker that is away', () => {
  it('wait for it: calls are answered when it is back', async () => {
    await start(LONG_GRACE_MS);
    const [server, caller] = [await worker('server'), await worker('caller')];
    server.serve('math::double', (data) => (data as { n: number }).n * 2);
    server.send({
      type: 'registertrigger',
      id: 'route-1',
      trigger_type: 'http',
      function_id: 'math::double',
      config: { api_path: '/double', http_method: 'POST' },
    });
    await settled(server);
    server.drop();
    await waitFor(() => engine.core.session(server.id)?.state === 'detached');
    const call = caller.call('math::double', { n: 2 });
    const request = fetch(`http://127.0.0.1:${engine.ports['http'] ?? 0}/double`, { method: 'POST', body: '{}' });
    await waitFor(() => engine.core.session(server.id)?.executing.size === 2);
    const again = await RawWorker.connect(engine.url);
    again.reattach(server);
    again.serve('math::double', () => ({ status_code: 200, body: 'back' }));
    expect(await call).toEqual({ status_code: 200, body: 'back' });
    expect(await (await request).text()).toContain('back');
  });

  it('make 1,000 calls wait and refuse further ones at once', async () => {
    await start(LONG_GRACE_MS);
    const [server, caller] = [await worker('server'), await worker('caller')];
    server.serve('slow', (data) => data);
    await settled(server);
    server.drop();
    await waitFor(() => engine.core.session(server.id)?.state === 'detached');
    const held = Array.from({ length: 1_000 }, (_, n) => caller.call('slow', n));
    await waitFor(() => engine.core.session(server.id)?.executing.size === 1_000);
    await expect(caller.call('slow', 'one more')).rejects.toMatchObject({
      code: 'too_many_calls',
      message: expect.stringContaining('server has lost its connection') as unknown,
    });
    const again = await RawWorker.connect(engine.url);
    again.reattach(server);
    const order: unknown[] = [];
    again.serve('slow', (n) => (order.push(n), n));
    expect(await Promise.all(held)).toEqual(held.map((_, n) => n));
    expect(order).toEqual(held.map((_, n) => n));
  });

  it('go to another live owner at once', async () => {
    await start(LONG_GRACE_MS);
    const [older, newer, caller] = [await worker('a'), await worker('b'), await worker('c')];
    older.serve('who', () => 'older');
    await settled(older);
    newer.serve('who', () => 'newer');
    await settled(newer);
    expect(await caller.call('who', {})).toBe('newer');
    newer.drop();
    await waitFor(() => engine.core.session(newer.id)?.state === 'detached');
    expect(await caller.call('who', {})).toBe('older');
  });

  it('are what it registered again, and no more, once it has described itself', async () => {
    await start(LONG_GRACE_MS);
    const [server, caller] = [await worker('server'), await worker('caller')];
    server.serve('kept', () => 1);
    server.serve('dropped', () => 1);
    await settled(server);
    server.drop();
    const again = await RawWorker.connect(engine.url);
    again.reattach(server);
    again.serve('kept', () => 2);
    again.describe({ name: 'server', ...SDK });
    await settled(again);
    expect(await caller.call('kept', {})).toBe(2);
    await expect(caller.call('dropped', {})).rejects.toMatchObject({ code: 'function_not_found' });
    expect(engine.core.session(server.id)).toBeUndefined();
  });
});

describe('no grace', () => {
  it('for a client that closes cleanly, nor for an SDK that cannot reattach', async () => {
    await start(LONG_GRACE_MS);
    const [clean, old, caller] = [
      await worker('clean'),
      await worker('old', { version: '0.11.6' }),
      await worker('caller'),
    ];
    const works = [serveByHand(clean, 'clean::work'), serveByHand(old, 'old::work')];
    await Promise.all([settled(clean), settled(old)]);
    const answers = [caller.ask('clean::work', {}), caller.ask('old::work', {})];
    await waitFor(() => works.every(({ calls }) => calls.length === 1));
    await clean.close();
    old.drop();
    for (const answer of answers) expect((await answer)['error']).toMatchObject({ code: 'invocation_stopped' });
    expect(engine.core.session(clean.id)).toBeUndefined();
  });

  it('for one who shows another token', async () => {
    await start(LONG_GRACE_MS);
    const server = await worker('server');
    const thief = await worker('thief');
    thief.reattach({ id: server.id, reattachToken: thief.reattachToken });
    await settled(thief);
    expect(engine.core.session(server.id)?.state).toBe('open');
    await settled(server);
  });
});
