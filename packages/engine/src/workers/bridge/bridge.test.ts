/** Engines that are bridged, over real sockets. */
import { RawWorker, StreamClient, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../core/log-writer.js';
import { createEngine, type Engine } from '../../engine.js';

const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

describe('bridged engines', () => {
  let folder: TempFolder;
  let logged: string[];
  const engines: Engine[] = [];
  const sockets: { drop(): void }[] = [];

  const start = async (name: string, workers: object[], port = 0): Promise<Engine> => {
    const log = createLog({ level: 'info', format: 'json', stream: { write: (text) => logged.push(text) } });
    const engine = await createEngine({
      cwd: folder.path,
      dataDir: name,
      log,
      config: { workers: [{ name: 'iii-worker-manager', config: { port } }, ...workers] },
    });
    await engine.start();
    engines.push(engine);
    return engine;
  };
  const raw = async (engine: Engine): Promise<RawWorker> => {
    const worker = await RawWorker.connect(engine.url);
    sockets.push(worker);
    return worker;
  };
  const client = async (engine: Engine): Promise<StreamClient> => {
    const connected = await StreamClient.connect(engine.ports['stream']);
    sockets.push(connected);
    return connected;
  };
  const call = (engine: Engine, function_id: string, payload: unknown, extra: object = {}): Promise<unknown> =>
    engine.worker('caller').trigger({ function_id, payload, ...extra });
  const bridge = (url: string, config: object = {}): object => ({ name: 'iii-bridge', config: { url, ...config } });
  /** Functions that a worker of one engine offers. */
  const served = (engine: Engine, id: string): Promise<unknown> =>
    waitFor(async () => {
      const { functions } = (await call(engine, 'engine::functions::list', {})) as {
        functions: { function_id: string }[];
      };
      return functions.some(({ function_id }) => function_id === id);
    });

  beforeEach(async () => {
    folder = await tempFolder();
    logged = [];
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.drop();
    for (const engine of engines.splice(0).reverse()) await engine.stop();
    await folder.remove();
  });

  it('call each other, with the text of payloads, metadata and trace context as they came', async () => {
    const far = await start('far', []);
    const worker = await raw(far);
    worker.serve('far::echo', (data, frame) => ({
      data,
      metadata: frame['metadata'],
      traceparent: frame['traceparent'],
      baggage: frame['baggage'],
    }));
    const near = await start('near', [
      bridge(far.url, { forward: [{ local_function: 'near::echo', remote_function: 'far::echo' }] }),
    ]);
    const caller = await raw(near);
    const extra = { metadata: { m: [1] }, traceparent: TRACE, baggage: 'user=7' };
    const carried = { metadata: { m: [1] }, traceparent: TRACE, baggage: 'user=7,trine-bridge-hops=1' };

    const invoked = await caller.call('bridge.invoke', { function_id: 'far::echo', data: { n: 1 } }, extra);
    expect(invoked).toMatchObject({ data: { n: 1 }, ...carried });
    expect(await caller.call('near::echo', { n: 2 }, extra)).toMatchObject({ data: { n: 2 }, ...carried });
    expect(await caller.call('bridge.invoke', { function_id: 'far::echo' })).toEqual({
      data: null,
      baggage: 'trine-bridge-hops=1',
    });

    caller.send(
      `{"type":"invokefunction","invocation_id":"00000000-0000-4000-8000-00000000000a","function_id":"near::echo","data":{"f": 1.0,"big":12345678901234567890}}`,
    );
    await waitFor(() => worker.texts.some((text) => text.includes('"f": 1.0,"big":12345678901234567890')));

    expect(
      await caller.ask('bridge.invoke_async', { function_id: 'far::echo', data: { n: 3 } }, extra),
    ).not.toHaveProperty('result');
    const frame = await worker.frame('invokefunction', ({ data }) => (data as { n?: number } | null)?.n === 3);
    expect(frame).toMatchObject(carried);
    const { functions } = (await call(near, 'engine::functions::list', {})) as {
      functions: { function_id: string; description: string }[];
    };
    expect(functions.find(({ function_id }) => function_id === 'near::echo')?.description).toBe(
      'Forward to remote function far::echo',
    );
  });

  it('tell nothing from null where the contract does', async () => {
    const far = await start('far', []);
    (await raw(far)).serve('far::nothing', () => undefined);
    const near = await start('near', [
      bridge(far.url, { forward: [{ local_function: 'near::nothing', remote_function: 'far::nothing' }] }),
    ]);
    const caller = await raw(near);
    expect(await caller.ask('near::nothing', {})).toHaveProperty('result', null);
    expect(await caller.ask('bridge.invoke', { function_id: 'far::nothing' })).not.toHaveProperty('result');
  });

  it('expose functions, whose errors keep their code, message and stack trace', async () => {
    const far = await start('far', []);
    const near = await start('near', [
      bridge(far.url, {
        expose: [{ local_function: 'near::fn' }, { local_function: 'near::fn', remote_function: 'far::fn' }],
      }),
    ]);
    const worker = await raw(near);
    worker.serve('near::fn', (data, frame) => {
      if (data === null) return undefined;
      return { data, metadata: frame['metadata'], traceparent: frame['traceparent'] };
    });
    await served(far, 'far::fn');
    const caller = await raw(far);
    expect(await caller.call('far::fn', { n: 1 }, { metadata: { m: 1 }, traceparent: TRACE })).toMatchObject({
      data: { n: 1 },
      metadata: { m: 1 },
      traceparent: TRACE,
    });
    expect(await caller.ask('near::fn', null)).toHaveProperty('result', null);

    const failing = await raw(near);
    failing.send({ type: 'registerfunction', id: 'near::fn' });
    const answered = caller.ask('far::fn', { n: 2 });
    const { invocation_id } = await failing.frame('invokefunction');
    const error = { code: 'MY_CODE', message: 'mine', stacktrace: 'at here' };
    failing.send({ type: 'invocationresult', invocation_id, function_id: 'near::fn', error });
    expect((await answered)['error']).toEqual(error);
  });

  it('answer every failure beyond the bridge with bridge_error', async () => {
    const far = await start('far', []);
    const worker = await raw(far);
    worker.serve('far::fails', () => {
      throw new Error('no luck');
    });
    worker.send({ type: 'registerfunction', id: 'far::hangs' });
    const near = await start('near', [
      bridge(far.url, { forward: [{ local_function: 'near::hangs', remote_function: 'far::hangs', timeout_ms: 50 }] }),
    ]);
    const failed = (message: string): unknown =>
      expect.objectContaining({ code: 'bridge_error', message: expect.stringContaining(message) as string });
    await expect(call(near, 'bridge.invoke', { function_id: 'far::fails' })).rejects.toThrow(
      failed('invocation_failed: no luck'),
    );
    await expect(call(near, 'bridge.invoke', { function_id: 'far::none' })).rejects.toThrow(
      failed('function_not_found: Function far::none not found'),
    );
    await expect(call(near, 'near::hangs', {})).rejects.toThrow(failed('gave no answer within 50 ms'));
    await expect(call(near, 'bridge.invoke', { function_id: 'far::hangs', timeout_ms: 50 })).rejects.toThrow(
      failed('remote_timeout'),
    );
    for (const [input, detail] of [
      [{}, 'missing field `function_id`'],
      [{ function_id: 'x', timeout_ms: -1 }, 'timeout_ms'],
      [null, 'expected object'],
    ] as const) {
      await expect(call(near, 'bridge.invoke', input)).rejects.toThrow(
        expect.objectContaining({
          code: 'deserialization_error',
          message: expect.stringMatching(new RegExp(`^Failed to parse invoke input: .*${detail}`)) as string,
        }),
      );
    }
  });

  it('cut loops at 8 bridges, forwarded and exposed', async () => {
    const far = await start('far', []);
    const near = await start('near', [
      bridge(far.url, {
        forward: [{ local_function: 'loop', remote_function: 'loop' }],
        expose: [{ local_function: 'loop' }],
      }),
    ]);
    await served(far, 'loop');
    // near::loop -> far::loop -> (exposed by near) near::loop -> ...
    await expect(call(near, 'loop', {})).rejects.toThrow(
      expect.objectContaining({
        code: 'bridge_error',
        message: expect.stringContaining('has crossed 8 bridges') as string,
      }),
    );
    const caller = await raw(near);
    const hops = (n: number): object => ({ baggage: `trine-bridge-hops=${n}` });
    expect(
      (await caller.ask('bridge.invoke', { function_id: 'engine::workers::list' }, hops(7)))['error'],
    ).toBeUndefined();
    expect(
      (await caller.ask('bridge.invoke', { function_id: 'engine::workers::list' }, hops(8)))['error'],
    ).toMatchObject({
      code: 'bridge_error',
      message: expect.stringMatching(/^bridge_hop_limit: /) as string,
    });
  });

  it('come back together after one was gone', async () => {
    let far = await start('far', []);
    const { port } = new URL(far.url);
    let worker = await raw(far);
    worker.send({ type: 'registerfunction', id: 'far::slow' });
    const near = await start('near', [bridge(far.url, { expose: [{ local_function: 'near::fn' }] })]);
    near.worker('w').registerFunction('near::fn', () => 'near');
    await served(far, 'near::fn');

    const lost = expect(call(near, 'bridge.invoke', { function_id: 'far::slow' })).rejects.toThrow(
      expect.objectContaining({
        code: 'bridge_error',
        message: expect.stringContaining('may or may not have run') as string,
      }),
    );
    await worker.frame('invokefunction');
    const waiting: Promise<unknown>[] = [];
    await engines.shift()?.stop({ drainMs: 0 });
    await lost;
    // Sent when there is no engine: they wait for it, up to their patience.
    waiting.push(call(near, 'bridge.invoke', { function_id: 'engine::workers::list' }));
    await expect(call(near, 'bridge.invoke', { function_id: 'far::slow', timeout_ms: 20 })).rejects.toThrow(
      expect.objectContaining({ message: expect.stringContaining('remote_unreachable') as string }),
    );

    far = await start('far', [], Number(port));
    await Promise.all(waiting);
    worker = await raw(far);
    worker.serve('far::fn', () => 'far');
    await waitFor(async () => (await call(near, 'bridge.invoke', { function_id: 'far::fn' })) === 'far');
    await served(far, 'near::fn');
    expect(await call(far, 'near::fn', {})).toBe('near');
  });

  it('start without the other one, and refuse what is not theirs', async () => {
    const near = await start('near', [bridge('ws://127.0.0.1:1')]);
    await expect(call(near, 'bridge.invoke', { function_id: 'x', timeout_ms: 20 })).rejects.toThrow(/ECONNREFUSED/);
    expect(logged.filter((line) => line.includes('another engine cannot be reached'))).toHaveLength(1);
    const refused = (config: object): Promise<unknown> =>
      createEngine({ cwd: folder.path, config: { workers: [{ name: 'bridge', config }] } });
    await expect(refused({ service_id: 'x' })).rejects.toThrow(/service_id/);
    await expect(refused({ url: 'http://x' })).rejects.toThrow(/worker port/);
    await expect(refused({ forward: [{ local_function: 'a' }] })).rejects.toThrow(/remote_function/);
    const twice = { local_function: 'a', remote_function: 'b' };
    await expect(refused({ forward: [twice, twice] })).rejects.toThrow(/'a' is listed twice/);
  });

  describe('share state', () => {
    const state = (url: string): object => ({
      name: 'iii-state',
      config: { adapter: { name: 'bridge', config: { bridge_url: url } } },
    });

    it('that one of them keeps', async () => {
      const far = await start('far', [{ name: 'iii-state' }]);
      const near = await start('near', [state(far.url)]);
      const at = { scope: 's', key: 'k' };
      expect(await call(near, 'state::get', at)).toBeUndefined();
      expect(await call(near, 'state::set', { ...at, value: { n: 1 } })).toEqual({
        old_value: null,
        new_value: { n: 1 },
      });
      expect(await call(far, 'state::get', at)).toEqual({ n: 1 });
      expect(
        await call(near, 'state::update', {
          ...at,
          ops: [
            { type: 'increment', path: 'n', by: 2 },
            { type: 'merge', path: ['a', 'b'], value: { c: 1 } },
            { type: 'append', path: 'list', value: 'x' },
            { type: 'remove', path: 'none' },
            { type: 'decrement', path: 'a', by: 1 },
          ],
        }),
      ).toEqual({
        old_value: { n: 1 },
        new_value: { n: 3, a: { b: { c: 1 } }, list: 'x' },
        errors: [expect.objectContaining({ op_index: 4, code: 'decrement.not_number' })],
      });
      expect(await call(near, 'state::list', { scope: 's' })).toEqual([{ n: 3, a: { b: { c: 1 } }, list: 'x' }]);
      expect(await call(near, 'state::list_groups', {})).toEqual({ groups: ['s'] });
      expect(await call(near, 'state::delete', at)).toMatchObject({ n: 3 });
      expect(await call(far, 'state::get', at)).toBeUndefined();

      const seen: unknown[] = [];
      const worker = near.worker('listener');
      worker.registerFunction('seen', (event) => void seen.push(event));
      await worker.registerTrigger({ type: 'state', function_id: 'seen', config: { scope: 's' } }).ready;
      await call(near, 'state::set', { ...at, value: null });
      await call(near, 'state::set', { ...at, value: 1 });
      await waitFor(() => seen.length === 2);
      expect(seen).toEqual([
        expect.objectContaining({ event_type: 'state:created', new_value: null }),
        expect.objectContaining({ event_type: 'state:created', new_value: 1 }),
      ]);
    });

    it('with the trace of the caller, and an error that says where it failed', async () => {
      const far = await start('far', []);
      const worker = await raw(far);
      worker.serve('state::get', (_, frame) => ({ traceparent: frame['traceparent'], metadata: frame['metadata'] }));
      worker.serve('state::set', () => {
        throw new Error('disk full');
      });
      const near = await start('near', [state(far.url)]);
      const caller = await raw(near);
      const at = { scope: 's', key: 'k' };
      expect(await caller.call('state::get', at, { traceparent: TRACE, metadata: { m: 1 } })).toEqual({
        traceparent: TRACE,
        metadata: { m: 1 },
      });
      await expect(call(near, 'state::set', { ...at, value: 1 })).rejects.toThrow(
        expect.objectContaining({ code: 'SET_ERROR', message: 'Failed to set value: disk full' }),
      );
    });

    it('each from the other: the loop is cut', async () => {
      const far = await start('far', [{ name: 'iii-state' }]);
      const { port } = new URL(far.url);
      const near = await start('near', [state(far.url)]);
      await call(near, 'state::set', { scope: 's', key: 'k', value: 1 });
      await engines.shift()?.stop();
      await start('far', [state(near.url)], Number(port));
      await expect(call(near, 'state::get', { scope: 's', key: 'k' })).rejects.toThrow(
        expect.objectContaining({
          code: 'GET_ERROR',
          message: expect.stringContaining('has crossed 8 bridges') as string,
        }),
      );
    });
  });

  describe('share streams', () => {
    const stream = (config: object = {}): object => ({ name: 'iii-stream', config: { port: 0, ...config } });
    const bridged = (url: string): object => stream({ adapter: { name: 'bridge', config: { bridge_url: url } } });
    const at = (item_id: string): object => ({ stream_name: 'clicks', group_id: 'all', item_id });

    it('that one of them keeps, with the events of both, each once', async () => {
      const far = await start('far', [stream()]);
      const near = await start('near', [bridged(far.url)]);
      expect(await call(near, 'stream::set', { ...at('a'), data: 1 })).toEqual({ old_value: null, new_value: 1 });
      expect(await call(near, 'stream::update', { ...at('a'), ops: [{ type: 'increment', path: '', by: 1 }] })).toEqual(
        { old_value: 1, new_value: 2 },
      );
      expect(await call(far, 'stream::get', at('a'))).toBe(2);
      expect(await call(near, 'stream::get', at('a'))).toBe(2);
      expect(await call(near, 'stream::list', { stream_name: 'clicks', group_id: 'all' })).toEqual([2]);
      expect(await call(near, 'stream::list_groups', { stream_name: 'clicks' })).toEqual(['all']);
      expect(await call(near, 'stream::list_all', {})).toEqual({
        stream: [{ id: 'clicks', groups: ['all'] }],
        count: 1,
      });

      const seen: { id: string; event: { type: string } }[] = [];
      const worker = near.worker('listener');
      worker.registerFunction('seen', (event: never) => void seen.push(event));
      await worker.registerTrigger({ type: 'stream', function_id: 'seen', config: { stream_name: 'clicks' } }).ready;
      const socket = await client(near);
      socket.join('one', 'clicks', 'all');
      expect((await socket.event('sync')).event.data).toEqual([2]);
      await call(near, 'stream::set', { ...at('b'), data: 1 });
      await call(far, 'stream::set', { ...at('c'), data: 1 });
      await call(near, 'stream::send', { stream_name: 'clicks', group_id: 'all', type: 'typing', data: 1, id: 'x' });
      expect(await call(near, 'stream::delete', at('a'))).toEqual({ old_value: 2 });
      await socket.event('delete');
      expect(socket.frames.slice(1).map(({ id, event }) => [id, event.type])).toEqual([
        ['b', 'create'],
        ['c', 'create'],
        ['x', 'event'],
        ['a', 'delete'],
      ]);
      await waitFor(() => seen.length === 4);
      await call(near, 'stream::list_all', {});
      expect(seen).toHaveLength(4);
    });

    it('and stop hearing of streams that nobody listens to', async () => {
      const far = await start('far', [stream()]);
      const near = await start('near', [bridged(far.url)]);
      const triggers = async (): Promise<number> => {
        const { registered_triggers } = (await call(far, 'engine::registered-triggers::list', {})) as {
          registered_triggers: { trigger_type: string }[];
        };
        return registered_triggers.filter(({ trigger_type }) => trigger_type === 'stream').length;
      };
      const socket = await client(near);
      socket.join('one', 'clicks', 'all');
      socket.join('two', 'clicks', 'few');
      await socket.settled();
      // clicks, and the one that `settled` asks for.
      expect(await triggers()).toBe(2);
      socket.leave('one', 'clicks', 'all');
      await socket.settled();
      expect(await triggers()).toBe(2);
      socket.drop();
      await waitFor(async () => (await triggers()) === 0);
    });

    it('and clients get all of it anew when the other one was gone', async () => {
      const far = await start('far', [stream()]);
      const { port } = new URL(far.url);
      const near = await start('near', [bridged(far.url)]);
      const socket = await client(near);
      socket.join('one', 'clicks', 'all');
      await socket.event('sync');
      await engines.shift()?.stop();
      const again = await start('far', [stream()], Number(port));
      await call(again, 'stream::set', { ...at('a'), data: 1 });
      await waitFor(
        () => socket.types.filter((type) => type === 'sync').length === 2 || socket.types.includes('create'),
      );
      await call(again, 'stream::set', { ...at('b'), data: 2 });
      await socket.event('create', ({ id }) => id === 'b');
      const last = socket.frames.findLast(({ event }) => event.type === 'sync');
      expect(socket.types.filter((type) => type === 'sync')).toHaveLength(2);
      expect(socket.isOpen).toBe(true);
      expect(last?.event.data).toBeInstanceOf(Array);
    });
  });
});
