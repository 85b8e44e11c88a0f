import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { RawWorker, waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { systemClock, type Clock } from '../core/clock.js';
import { Core } from '../core/core.js';
import { Emitter } from '../core/emitter.js';
import { LocalSession } from '../core/local-session.js';
import { silentLog } from '../core/log.js';
import { systemRandom } from '../core/random.js';
import { MAX_FUNCTIONS } from '../core/registrations.js';
import type { Session } from '../core/session.js';
import type { TelemetryFrame } from '../core/telemetry.js';
import { WorkerListener, type WorkerPortSettings } from './worker-listener.js';

const SETTINGS: WorkerPortSettings = { host: undefined, port: 0, handshakeTimeoutMs: 10_000 };

let core: Core;
let listener: WorkerListener;
let telemetry: TelemetryFrame[];
let url: string;

async function start(
  options: Partial<ConstructorParameters<typeof WorkerListener>[0] & WorkerPortSettings> = {},
  callsPerSession = 65_536,
  clock: Clock = systemClock,
): Promise<void> {
  core = new Core({ clock, random: systemRandom, log: silentLog, limits: { callsPerSession } });
  telemetry = [];
  listener = new WorkerListener({
    core,
    telemetry: { accept: (frame) => void telemetry.push(frame) },
    who: 'iii-worker-manager',
    ...options,
  });
  await listener.listen({ ...SETTINGS, ...options });
  url = `ws://127.0.0.1:${listener.port}`;
}

beforeEach(() => start());
afterEach(() => listener.stop());

/** Sends a frame that is answered, so that everything sent before has been handled. */
async function settled(worker: RawWorker): Promise<void> {
  await worker.ask('nobody::here', null);
}

describe('calls between workers', () => {
  it('carry payload, metadata and trace context, and bring one answer to the one who asked', async () => {
    const [server, caller] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    const seen: Record<string, unknown>[] = [];
    server.serve('math::add', (data, frame) => {
      seen.push(frame);
      const { a, b } = data as { a: number; b: number };
      return { c: a + b };
    });
    await settled(server);
    const answer = await caller.ask(
      'math::add',
      { a: 1, b: 2 },
      { metadata: { tag: 'x' }, traceparent: '00-ab-cd-01', baggage: 'k=v' },
    );
    expect(answer).toEqual({
      type: 'invocationresult',
      invocation_id: answer['invocation_id'],
      function_id: 'math::add',
      result: { c: 3 },
      traceparent: '00-ab-cd-01',
      baggage: 'k=v',
    });
    expect(seen).toEqual([
      {
        type: 'invokefunction',
        invocation_id: seen[0]?.['invocation_id'],
        function_id: 'math::add',
        data: { a: 1, b: 2, _caller_worker_id: caller.id },
        metadata: { tag: 'x' },
        traceparent: '00-ab-cd-01',
        baggage: 'k=v',
      },
    ]);
    expect(seen[0]?.['invocation_id']).not.toBe(answer['invocation_id']);
  });

  it('keep the text of a payload: 1.0 stays 1.0 and big integers stay whole', async () => {
    const worker = await RawWorker.connect(url);
    worker.serve('echo', () => undefined);
    worker.send('{"type":"invokefunction","function_id":"echo","data":[1.0,  123456789012345678901]}');
    await waitFor(() => worker.texts.some((text) => text.includes('"data":[1.0,  123456789012345678901]')));
  });

  it('answer unknown functions at once, with the namespaces that have them', async () => {
    const worker = await RawWorker.connect(url);
    const owner = await RawWorker.connect(url);
    owner.serve('only::default', () => 1);
    await settled(owner);
    await expect(worker.call('math::add', {})).rejects.toMatchObject({
      code: 'function_not_found',
      message: 'Function math::add not found',
    });
    await expect(worker.call('only::default', {}, { namespace: 'shop' })).rejects.toMatchObject({
      message: 'Function only::default not found in namespace shop. It is registered in namespace(s): default.',
    });
    await expect(worker.call('only::default', {}, { namespace: '' })).rejects.toMatchObject({
      code: 'INVALID_NAMESPACE',
    });
  });

  it('pass on the error of a handler with its stack trace, and leave the key out when there is none', async () => {
    const [server, caller] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    server.serve('fails', () => {
      throw new Error('no luck');
    });
    await settled(server);
    const { error } = (await caller.ask('fails', {})) as unknown as { error: object };
    expect(error).toEqual({ code: 'invocation_failed', message: 'no luck' });
  });

  it('leave the result out when the handler returned nothing, and keep an explicit null', async () => {
    const worker = await RawWorker.connect(url);
    worker.serve('nothing', () => undefined);
    worker.serve('null', () => null);
    expect(await worker.ask('nothing', {})).not.toHaveProperty('result');
    expect(await worker.ask('null', {})).toHaveProperty('result', null);
  });

  it('reach the handler when void, and are never answered, not even with an error', async () => {
    const worker = await RawWorker.connect(url);
    const seen: unknown[] = [];
    worker.serve('note', (data) => void seen.push(data));
    worker.send({ type: 'invokefunction', function_id: 'note', data: { n: 1 }, action: { type: 'void' } });
    worker.send({
      type: 'invokefunction',
      invocation_id: '00000000-0000-4000-8000-0000000000ff',
      function_id: 'absent',
      data: 1,
      action: { type: 'void' },
    });
    await waitFor(() => seen.length === 1);
    await settled(worker);
    expect(worker.frames.filter((frame) => frame.type === 'invocationresult')).toHaveLength(1);
  });

  it('say which worker to add when enqueued without a queue', async () => {
    const worker = await RawWorker.connect(url);
    await expect(worker.call('x', {}, { action: { type: 'enqueue', queue: 'q' } })).rejects.toMatchObject({
      code: 'enqueue_error',
      message: expect.stringMatching(
        /^No queue provider is installed\..*iii worker add queue.*underlying: Function engine::queue::enqueue not found/,
      ) as string,
    });
  });

  it('bring a provider of the queue what the protocol promises it, trace context or not', async () => {
    const [queue, worker] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    const seen: unknown[] = [];
    queue.serve('engine::queue::enqueue', (data) => void seen.push(data));
    await settled(queue);
    const action = { type: 'enqueue', queue: 'clicks' };
    const { result } = await worker.ask('f', { n: 1 }, { action });
    await worker.ask('f', 1, { action, namespace: 'shop', traceparent: '00-ab-cd-01', baggage: 'k=v' });
    const job = { queue: 'clicks', function_id: 'f', messageReceiptId: expect.any(String) as string };
    expect(seen).toEqual([
      { ...job, ...(result as object), data: { n: 1 }, traceparent: null, baggage: null },
      { ...job, data: 1, namespace: 'shop', traceparent: '00-ab-cd-01', baggage: 'k=v' },
    ]);
  });

  it('end with invocation_stopped when their executor drops', async () => {
    const [server, caller] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    server.serve('hang', () => new Promise(() => undefined));
    await settled(server);
    const answer = caller.call('hang', {});
    await server.frame('invokefunction');
    server.drop();
    await expect(answer).rejects.toMatchObject({ code: 'invocation_stopped', message: 'Invocation stopped' });
  });

  it('cannot be answered by a worker that was not asked', async () => {
    const [server, caller, thief] = [
      await RawWorker.connect(url),
      await RawWorker.connect(url),
      await RawWorker.connect(url),
    ];
    let release: (() => void) | undefined;
    server.serve('slow', () => new Promise((resolve) => (release = () => resolve('real'))));
    await settled(server);
    const answer = caller.call('slow', {});
    const frame = await server.frame('invokefunction');
    thief.send({
      type: 'invocationresult',
      invocation_id: frame['invocation_id'],
      function_id: 'slow',
      result: 'forged',
    });
    await settled(thief);
    release?.();
    expect(await answer).toBe('real');
  });

  it('are bounded per session', async () => {
    await listener.stop();
    await start({}, 3);
    const [server, caller] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    server.serve('hang', () => new Promise(() => undefined));
    await settled(server);
    for (let i = 0; i < 3; i++) void caller.ask('hang', i);
    await expect(caller.call('hang', 4)).rejects.toMatchObject({ code: 'too_many_calls' });
  });
});

describe('owners of a function', () => {
  it('serve newest first, and the one before serves again', async () => {
    const [first, second, caller] = [
      await RawWorker.connect(url),
      await RawWorker.connect(url),
      await RawWorker.connect(url),
    ];
    first.serve('who', () => 'first');
    await settled(first);
    second.serve('who', () => 'second');
    await settled(second);
    expect(await caller.call('who', {})).toBe('second');
    second.drop();
    await waitFor(async () => (await caller.call('who', {})) === 'first');
    first.send({ type: 'unregisterfunction', id: 'who' });
    await settled(first);
    await expect(caller.call('who', {})).rejects.toMatchObject({ code: 'function_not_found' });
  });

  it('may say again what they offer, also when they offer as much as they may', async () => {
    const worker = await RawWorker.connect(url);
    for (let i = 0; i <= MAX_FUNCTIONS; i++) worker.send({ type: 'registerfunction', id: `f${i}` });
    worker.send({ type: 'registerfunction', id: 'f0', description: 'again' });
    await settled(worker);
    expect(core.session(worker.id)?.functions.size).toBe(MAX_FUNCTIONS);
    expect(core.registry.get('default', 'f0')?.description).toBe('again');
    expect(core.registry.get('default', `f${MAX_FUNCTIONS}`)).toBeUndefined();
  });

  it('cannot take over what the engine serves', async () => {
    new LocalSession(core, 'engine', 'builtin').register({ id: 'engine::who', handler: () => 'engine' });
    const worker = await RawWorker.connect(url);
    worker.serve('engine::who', () => 'worker');
    expect(await worker.call('engine::who', {})).toBe('engine');
  });

  it('get a built-in back when a worker that took its id leaves', async () => {
    new LocalSession(core, 'engine', 'builtin').register({ id: 'state::get', handler: () => 'built-in' });
    const [worker, caller] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    worker.serve('state::get', () => 'worker');
    await settled(worker);
    expect(await caller.call('state::get', {}), 'a worker that may still say who it is does not push in').toBe(
      'built-in',
    );
    await waitFor(async () => (await caller.call('state::get', {})) === 'worker');
    worker.drop();
    await waitFor(async () => (await caller.call('state::get', {})) === 'built-in');
    expect(await caller.call('state::get', {}, { namespace: 'shop' })).toBe('built-in');
  });
});

describe('triggers of a type that a worker provides', () => {
  const type = { type: 'registertriggertype', id: 'timer', description: 'Timer' };
  const trigger = {
    type: 'registertrigger',
    id: 't1',
    trigger_type: 'timer',
    function_id: 'f',
    config: { every: 1.0 },
    metadata: { m: 1 },
  };

  it('wait for the type, and are told to the provider once it comes', async () => {
    const [consumer, provider] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    consumer.send(trigger);
    await settled(consumer);
    expect(core.bindings.get('t1')?.provider).toBe(undefined);
    provider.send(type);
    const frame = await provider.frame('registertrigger');
    expect(frame).toEqual({
      type: 'registertrigger',
      id: 't1',
      trigger_type: 'timer',
      function_id: 'f',
      config: { every: 1 },
      metadata: { m: 1 },
    });
    expect(consumer.frames.some(({ type }) => type === 'triggerregistrationresult')).toBe(false);
  });

  it('are taken back when their worker leaves, and told again to a provider that returns', async () => {
    const [consumer, other, provider] = [
      await RawWorker.connect(url),
      await RawWorker.connect(url),
      await RawWorker.connect(url),
    ];
    provider.send(type);
    consumer.send(trigger);
    other.send({ ...trigger, id: 't2' });
    await provider.frame('registertrigger', (frame) => frame['id'] === 't2');
    await provider.frame('registertrigger', (frame) => frame['id'] === 't1');
    consumer.drop();
    expect(await provider.frame('unregistertrigger')).toEqual({
      type: 'unregistertrigger',
      id: 't1',
      trigger_type: 'timer',
    });
    provider.drop();
    await waitFor(() => core.bindings.get('t2')?.provider === undefined);
    const again = await RawWorker.connect(url);
    again.send(type);
    await again.frame('registertrigger', (frame) => frame['id'] === 't2');
  });

  it('move to a new provider, and the old one is told to let go', async () => {
    const [consumer, old, young] = [
      await RawWorker.connect(url),
      await RawWorker.connect(url),
      await RawWorker.connect(url),
    ];
    old.send(type);
    await settled(old);
    consumer.send(trigger);
    await old.frame('registertrigger');
    young.send(type);
    await young.frame('registertrigger');
    await old.frame('unregistertrigger');
    young.send({ type: 'unregistertriggertype', id: 'timer' });
    await waitFor(() => old.frames.filter(({ type }) => type === 'registertrigger').length === 2);
  });

  it('wait again when the provider refuses them, and their worker hears why', async () => {
    const [consumer, provider] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    provider.send(type);
    await settled(provider);
    consumer.send(trigger);
    await provider.frame('registertrigger');
    const error = { code: 'trigger_registration_failed', message: 'bad cron' };
    provider.send({ type: 'triggerregistrationresult', id: 't1', trigger_type: 'timer', function_id: 'f', error });
    expect(await consumer.frame('triggerregistrationresult')).toMatchObject({
      id: 't1',
      trigger_type: 'timer',
      function_id: 'f',
      error,
    });
    expect(core.bindings.get('t1')?.provider).toBe(undefined);
  });

  it('can be removed by their own worker only', async () => {
    const [consumer, stranger] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    consumer.send(trigger);
    await settled(consumer);
    stranger.send({ type: 'unregistertrigger', id: 't1' });
    await settled(stranger);
    expect(core.bindings.get('t1')).toBeDefined();
    consumer.send({ type: 'unregistertrigger', id: 't1' });
    await settled(consumer);
    expect(core.bindings.get('t1')).toBe(undefined);
  });

  it('survive a reconnect that registers them before the old connection is cleaned up', async () => {
    const [old, young] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    old.send(trigger);
    await settled(old);
    young.send(trigger);
    await settled(young);
    old.drop();
    await waitFor(() => core.session(old.id) === undefined);
    expect(core.bindings.get('t1')?.owner?.id).toBe(young.id);
  });

  it('are served after a reconnect that came while their first binding was still under way', async () => {
    const order: string[] = [];
    const bound = await slowType(order);
    const old = await RawWorker.connect(url);
    old.send({ ...trigger, trigger_type: 'slow', function_id: 'old' });
    await waitFor(() => bound.length === 1);
    old.drop();
    await waitFor(() => core.session(old.id) === undefined);
    const young = await RawWorker.connect(url);
    young.send({ ...trigger, trigger_type: 'slow', function_id: 'young' });
    await waitFor(() => core.bindings.get('t1')?.owner?.id === young.id);
    bound[0]?.();
    await waitFor(() => bound.length === 2);
    bound[1]?.();
    await settled(young);
    expect(order).toEqual(['bind old', 'unbind old', 'bind young']);
  });

  it('are refused when their provider cannot be told of them in one message, and the provider lives', async () => {
    const [consumer, python] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    core.describe(core.session(python.id) as Session, { runtime: 'python', version: '0.18.0' });
    python.send(type);
    await settled(python);
    consumer.send({ ...trigger, config: 'x'.repeat(1_100_000) });
    expect(await consumer.frame('triggerregistrationresult')).toMatchObject({
      id: 't1',
      error: { code: 'trigger_registration_failed', message: expect.stringMatching(/accepts 1048576 bytes/) as string },
    });
    await settled(python);
    expect(python.texts.every((text) => text.length < 1_048_576)).toBe(true);
  });
});

describe('frames', () => {
  it('are handled strictly in order, also behind one that waits', async () => {
    const worker = await RawWorker.connect(url);
    let bound: (() => void) | undefined;
    const provider = new LocalSession(core, 'engine', 'p');
    await core.bindings.addProvider({
      id: 'slow',
      namespace: 'default',
      description: '',
      session: provider,
      configSchema: () => undefined,
      requestSchema: () => undefined,
      responseSchema: () => undefined,
      bind: () => new Promise((resolve) => (bound = resolve)),
      unbind: () => undefined,
    });
    const order: string[] = [];
    provider.register({ id: 'note', handler: (payload) => void order.push(String(payload.value)) });
    worker.send({ type: 'registertrigger', id: 't', trigger_type: 'slow', function_id: 'f', config: null });
    worker.send({ type: 'invokefunction', function_id: 'note', data: 'first', action: { type: 'void' } });
    worker.send({ type: 'invokefunction', function_id: 'note', data: 'second', action: { type: 'void' } });
    await waitFor(() => bound !== undefined);
    expect(order).toEqual([]);
    bound?.();
    await waitFor(() => order.length === 2);
    expect(order).toEqual(['first', 'second']);
  });

  it('that are broken are answered when someone waits, and never end the connection', async () => {
    const worker = await RawWorker.connect(url);
    worker.send(
      '{"type":"invokefunction","invocation_id":"00000000-0000-4000-8000-0000000000aa","function_id":"f","data":NaN}',
    );
    const answer = await worker.frame('invocationresult');
    expect(answer).toMatchObject({
      invocation_id: '00000000-0000-4000-8000-0000000000aa',
      function_id: 'f',
      error: { code: 'invalid_json' },
    });
    for (const text of [
      '',
      '   ',
      'nonsense',
      '[]',
      '{}',
      '{"type":"registertrigger"}',
      '{"type":"never::heard"}',
      '{"type":"registerservice","id":"s"}',
      '['.repeat(5_000),
    ])
      worker.send(text);
    worker.sendBinary(Buffer.from([0, 1, 2, 3]));
    worker.send({ type: 'ping' });
    await worker.frame('pong');
  });

  it('with a result that is not JSON end the call they belong to', async () => {
    const [server, caller] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    server.send({ type: 'registerfunction', id: 'nan' });
    await settled(server);
    const answer = caller.call('nan', {});
    const call = await server.frame('invokefunction');
    server.send(
      `{"type":"invocationresult","invocation_id":"${String(call['invocation_id'])}","function_id":"nan","result":NaN}`,
    );
    await expect(answer).rejects.toMatchObject({ code: 'invalid_json' });
  });

  it('of telemetry are taken on both endpoints and registered as no worker', async () => {
    const worker = await RawWorker.connect(url);
    worker.sendBinary(Buffer.from('LOGS{"resourceLogs":[]}'));
    await waitFor(() => telemetry.length === 1);
    const { WebSocket } = await import('ws');
    const socket = new WebSocket(`${url}/otel?x=1`);
    await new Promise((resolve) => socket.once('open', resolve));
    socket.send(Buffer.from('OTLP'));
    socket.send(Buffer.from('MTRC{}'));
    socket.send('text is ignored');
    await waitFor(() => telemetry.length === 3);
    expect(telemetry.map(({ kind }) => kind)).toEqual(['logs', 'bad', 'metrics']);
    expect([...core.sessions()].filter(({ kind }) => kind === 'remote')).toHaveLength(1);
    socket.terminate();
  });
});

describe('limits of a message', () => {
  it('are those of the client: an old Python gets an error that names the fix, and lives', async () => {
    const [python, caller] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    core.describe(core.session(python.id) as Session, { runtime: 'python', version: '0.18.0' });
    python.serve('big', () => 'x'.repeat(2_000_000));
    await settled(python);
    const text = 'x'.repeat(1_100_000);
    await expect(caller.call('big', text)).rejects.toMatchObject({
      code: 'payload_too_large',
      message: expect.stringMatching(/iii-sdk to 0\.24\.5/) as string,
    });
    expect(await caller.call('big', 'small')).toHaveLength(2_000_000);
    await expect(python.call('big', 'small')).rejects.toMatchObject({ code: 'payload_too_large' });
    expect(python.isOpen).toBe(true);
  });

  it('cut off a worker that does not read, and leave the others alone', async () => {
    await listener.stop();
    await start({ sessionLimits: { outboundSoftBytes: 100_000, outboundHardBytes: 400_000 } });
    const [stuck, caller] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    stuck.serve('hole', () => undefined);
    await settled(stuck);
    stuck.pause();
    let refused: unknown;
    for (let i = 0; i < 400 && refused === undefined; i++) {
      void caller.call('hole', 'x'.repeat(100_000)).catch((error: unknown) => (refused ??= error));
      await settled(caller);
    }
    expect(refused).toMatchObject({
      code: 'channel_send_failed',
      message: expect.stringMatching(/does not read fast enough/) as string,
    });
    expect(await caller.ask('absent', 1)).toBeDefined();
  });

  it('take other calls while one large message is on its way', async () => {
    const [slow, caller] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    slow.serve('length', (data) => (data as string).length);
    await settled(slow);
    slow.pause();
    const large = 17 * 1024 * 1024;
    const answers = [large, 1].map((length) => caller.call('length', 'x'.repeat(length)));
    await settled(caller);
    slow.resume();
    expect(await Promise.all(answers)).toEqual([large, 1]);
  });

  it('answer with an error what a slow client would be cut off for, and deliver the rest', async () => {
    await listener.stop();
    const LARGE = 20 * 1024 * 1024;
    await start({ sessionLimits: { outboundHardBytes: 2 * LARGE } });
    const waiting: ((value: string) => void)[] = [];
    const handler = (): Promise<string> => new Promise((resolve) => waiting.push(resolve));
    new LocalSession(core, 'engine', 'built-in').register({ id: 'large', handler });
    const slow = await RawWorker.connect(url);
    slow.pause();
    const answers = Array.from({ length: 6 }, () => slow.ask('large', null));
    await waitFor(() => waiting.length === answers.length);
    for (const answer of waiting) answer('x'.repeat(LARGE));
    await waitFor(() => core.router.inFlight === 0);
    slow.resume();
    const ends = (await Promise.all(answers)).map((frame) => frame['error'] ?? (frame['result'] as string).length);
    // The kernel's buffers hold some of it.
    expect(ends.filter((end) => end === LARGE).length).toBeGreaterThanOrEqual(2);
    expect(ends.at(-1)).toMatchObject({
      code: 'channel_send_failed',
      message: expect.stringMatching(/Ask for fewer large answers at a time/) as string,
    });
    expect(slow.isOpen).toBe(true);
  });

  it('name what narrows a list down when discovery answers with too much', async () => {
    const python = await RawWorker.connect(url);
    core.describe(core.session(python.id) as Session, { runtime: 'python', version: '0.18.0' });
    const discovery = new LocalSession(core, 'engine', 'd');
    discovery.register({ id: 'engine::functions::list', handler: () => 'x'.repeat(1_100_000) });
    await expect(python.call('engine::functions::list', {})).rejects.toMatchObject({
      code: 'payload_too_large',
      message: expect.stringMatching(/`search` or `prefix`/) as string,
    });
  });
});

describe('the port', () => {
  it('answers on IPv4, and on IPv6 where the machine has it, with one number', async () => {
    const answers = async (host: string): Promise<boolean> =>
      new Promise((resolve) => {
        const socket = connect({ host, port: listener.port }, () => resolve(socket.destroy() !== undefined));
        socket.on('error', () => resolve(false));
      });
    expect(await answers('127.0.0.1')).toBe(true);
  });

  it('says what is wrong with requests that are not for it', async () => {
    const http = url.replace('ws:', 'http:');
    expect((await fetch(`${http}/`)).status).toBe(400);
    expect((await fetch(`${http}/`, { method: 'POST' })).status).toBe(405);
    expect((await fetch(`${http}/nothing`)).status).toBe(404);
  });

  it('that is taken is named, with what to do', async () => {
    const second = new WorkerListener({ core, telemetry: { accept: () => undefined }, who: 'iii-worker-manager' });
    await expect(second.listen({ ...SETTINGS, host: '127.0.0.1', port: listener.port })).rejects.toMatchObject({
      code: 'port_taken',
      message: expect.stringMatching(/127\.0\.0\.1:\d+ is already in use.*config\.yaml/) as string,
    });
  });

  it('moves with its workers connected, and only once the new address is open', async () => {
    const worker = await RawWorker.connect(url);
    const old = listener.port;
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    await expect(listener.listen({ ...SETTINGS, port })).rejects.toMatchObject({ code: 'port_taken' });
    expect(listener.port).toBe(old);
    await (await RawWorker.connect(url)).close();

    other.close();
    await once(other, 'close');
    await listener.listen({ ...SETTINGS, port });
    expect(listener.port).toBe(port);
    await expect(fetch(url.replace('ws:', 'http:'))).rejects.toThrow();
    const late = await RawWorker.connect(`ws://127.0.0.1:${port}`);
    worker.serve('here::still', () => 'yes');
    await settled(worker);
    expect(await late.call('here::still', {})).toBe('yes');
  });

  it.each(['0.0.0.0', '::'])('moves to %s under the same port, and back', async (host) => {
    const worker = await RawWorker.connect(url);
    const { port } = listener;
    for (const next of [host, undefined]) {
      await listener.listen({ ...SETTINGS, host: next, port });
      expect(listener.port).toBe(port);
      await (await RawWorker.connect(url)).close();
    }
    await settled(worker);
  });

  it('closes with 1012 when the engine stops, and is free again', async () => {
    const worker = await RawWorker.connect(url);
    const { port } = listener;
    await listener.stop();
    await waitFor(() => worker.closeCode !== undefined);
    expect(worker.closeCode).toBe(1012);
    await start({ port });
    expect(listener.port).toBe(port);
  });

  it('stops listening first: who comes back meets a refused connection, who is there goes on', async () => {
    const [worker, caller] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    worker.serve('still::here', () => 'yes');
    await settled(worker);
    await listener.drain();
    const [refused] = (await once(new WebSocket(url), 'error')) as [NodeJS.ErrnoException];
    expect(refused.code).toBe('ECONNREFUSED');
    expect(await caller.call('still::here', {})).toBe('yes');
    expect(caller.closeCode).toBeUndefined();
  });

  it('waits for no client when the engine stops, not for one that reads nothing either', async () => {
    const stuck = await RawWorker.connect(url);
    stuck.serve('hole', () => undefined);
    await settled(stuck);
    stuck.pause();
    const caller = await RawWorker.connect(url);
    void caller.ask('hole', 'x'.repeat(15 * 1024 * 1024));
    await settled(caller);
    const begun = performance.now();
    await listener.stop();
    expect(performance.now() - begun).toBeLessThan(2_000);
    expect([...core.sessions()].filter(({ kind }) => kind === 'remote')).toEqual([]);
  });

  it('cuts off a worker from which no byte comes, and its callers hear of it', async () => {
    await listener.stop();
    await start({ heartbeat: { intervalMs: 50, busyPatienceMs: 400 } });
    const [silent, caller] = [await RawWorker.connect(url), await RawWorker.connect(url)];
    silent.serve('hang', () => new Promise(() => undefined));
    await settled(silent);
    const answer = caller.call('hang', {});
    await silent.frame('invokefunction');
    silent.pause(); // no pongs any more, as behind a cut cable
    await expect(answer).rejects.toMatchObject({ code: 'invocation_stopped' });
    expect(caller.isOpen).toBe(true);
  });

  it('lets go of a client that connected and never said anything, when the engine stops', async () => {
    const silent = connect({ host: '127.0.0.1', port: listener.port });
    const ended = new Promise<void>((resolve) => silent.once('close', () => resolve()));
    silent.on('error', () => undefined);
    await new Promise<void>((resolve) => silent.once('connect', () => resolve()));
    await settled(await RawWorker.connect(url)); // the engine has seen it, too
    await listener.stop();
    await ended;
  });

  it('gives a client its time to send the head of its request, and no more', async () => {
    await listener.stop();
    await start({ handshakeTimeoutMs: 200 });
    const worker = await RawWorker.connect(url);
    for (const begun of ['', 'GET / HTTP/1.1\r\nhost: x\r\n']) {
      const socket = connect({ host: '127.0.0.1', port: listener.port });
      socket.on('error', () => undefined).resume();
      if (begun !== '') socket.write(begun);
      await once(socket, 'close');
    }
    // Who is connected has all the time in the world.
    await settled(worker);
  });

  it.each(['/', '/otel'])('tells clients of %s that Nagle is off', async (path) => {
    const ws = new WebSocket(url + path);
    const [response] = (await once(ws, 'upgrade')) as [{ headers: Record<string, string> }];
    expect(response.headers['x-iii-capabilities']).toBe('tcp-nodelay');
    ws.terminate();
  });

  it('lets go of a client that was refused and keeps its end open', async () => {
    const socket = connect({ host: '127.0.0.1', port: listener.port, allowHalfOpen: true });
    const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.write(
      'GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    socket.on('error', () => undefined);
    await new Promise<void>((resolve) => socket.once('data', () => resolve()));
    const writing = setInterval(() => socket.write('x'), 20); // a socket that is gone answers with a reset
    await ended.finally(() => clearInterval(writing));
  });

  it('keeps a worker whose frames wait for a slow provider, however long it is not read from', async () => {
    await listener.stop();
    await start({ heartbeat: { intervalMs: 30 } });
    const worker = await RawWorker.connect(url);
    const bound = await slowType();
    worker.send({ type: 'registertrigger', id: 't', trigger_type: 'slow', function_id: 'f', config: null });
    const bind = await waitFor(() => bound[0]);
    worker.send({ type: 'invokefunction', function_id: 'f', data: 'x'.repeat(1_000_000), action: { type: 'void' } });
    await new Promise((done) => setTimeout(done, 300)); // ten times the interval
    bind();
    await settled(worker);
    expect(worker.isOpen).toBe(true);
  });

  it('reads nothing while too much waits for the disk, and cuts nobody for it', async () => {
    await listener.stop();
    const pressure = new Emitter<boolean>();
    await start({ pressure, heartbeat: { intervalMs: 30 } });
    const before = await RawWorker.connect(url);
    pressure.emit(true);
    const answer = before.ask('nobody::here', null);
    let isAnswered = false;
    void answer.then(() => (isAnswered = true));
    // Who connects meanwhile is greeted and has to wait as well.
    const later = await RawWorker.connect(url);
    const late = later.ask('nobody::here', null);
    await new Promise((done) => setTimeout(done, 300)); // ten times the interval
    expect(isAnswered).toBe(false);
    expect([before.isOpen, later.isOpen]).toEqual([true, true]);
    pressure.emit(false);
    await Promise.all([answer, late]);
  });

  it('keeps workers that seem silent because the whole engine was paused', async () => {
    await listener.stop();
    let pausedMs = 0;
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + pausedMs };
    await start({ heartbeat: { intervalMs: 50 } }, 65_536, clock);
    const worker = await RawWorker.connect(url);
    pausedMs = 60_000;
    await new Promise((done) => setTimeout(done, 200)); // several intervals
    expect(worker.isOpen).toBe(true);
  });
});

/** A trigger type whose triggers are bound when a test says so. */
async function slowType(log: string[] = []): Promise<(() => void)[]> {
  const bound: (() => void)[] = [];
  await core.bindings.addProvider({
    id: 'slow',
    namespace: 'default',
    description: '',
    session: new LocalSession(core, 'engine', 'p'),
    configSchema: () => undefined,
    requestSchema: () => undefined,
    responseSchema: () => undefined,
    bind: (trigger) => {
      log.push(`bind ${trigger.functionId}`);
      return new Promise((resolve) => bound.push(resolve));
    },
    unbind: (trigger) => void log.push(`unbind ${trigger.functionId}`),
  });
  return bound;
}
