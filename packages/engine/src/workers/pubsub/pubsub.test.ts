import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../core/log-writer.js';
import { createEngine, type Engine } from '../../engine.js';

describe('pubsub', () => {
  let folder: TempFolder;
  let engine: Engine;
  let logged: string[];
  const sockets: RawWorker[] = [];

  const start = async (config: unknown = undefined): Promise<void> => {
    const log = createLog({ level: 'warn', format: 'json', stream: { write: (text) => logged.push(text) } });
    const pubsub = config === undefined ? { name: 'iii-pubsub' } : { name: 'iii-pubsub', config };
    engine = await createEngine({
      cwd: folder.path,
      config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, pubsub] },
      log,
    });
    await engine.start();
  };
  const publish = (topic: unknown, data?: unknown): Promise<unknown> =>
    engine.worker('publisher').trigger({ function_id: 'publish', payload: { topic, data } });
  const subscribe = async (
    functionId: string,
    config: object,
    handler?: (data: never, metadata: unknown) => unknown,
    metadata?: unknown,
  ): Promise<{ unregister(): void }> => {
    const worker = engine.worker('subscriber');
    if (handler !== undefined) worker.registerFunction(functionId, handler);
    const trigger = worker.registerTrigger({
      type: 'subscribe',
      function_id: functionId,
      config,
      ...(metadata === undefined ? {} : { metadata }),
    });
    await trigger.ready;
    return trigger;
  };
  const connect = async (): Promise<RawWorker> => {
    const socket = await RawWorker.connect(engine.url);
    sockets.push(socket);
    return socket;
  };
  const warnings = (text: string): Record<string, unknown>[] =>
    logged
      .filter((line) => line.includes(text))
      .map((line) => (JSON.parse(line) as { fields: Record<string, unknown> }).fields);

  beforeEach(async () => {
    folder = await tempFolder();
    logged = [];
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.drop();
    await engine.stop({ drainMs: 0 });
    await folder.remove();
  });

  it('calls once per trigger of the topic with the bare data, and answers with nothing', async () => {
    await start();
    const seen: string[] = [];
    await subscribe('on::a', { topic: 'a' }, (data) => void seen.push(`a ${JSON.stringify(data)}`));
    await subscribe('on::a', { topic: 'a' });
    await subscribe('on::b', { topic: 'b' }, (data) => void seen.push(`b ${JSON.stringify(data)}`));
    expect(await publish('a', { code: 1 })).toBeUndefined();
    expect(await publish('nobody', 1)).toBeUndefined();
    await publish('b', null);
    await waitFor(() => seen.length === 3);
    expect(seen.sort()).toEqual(['a {"code":1}', 'a {"code":1}', 'b null']);
  });

  it('keeps the text of the data, trace context and trigger metadata', async () => {
    await start();
    const subscriber = await connect();
    subscriber.serve('on::text', () => null);
    subscriber.send({
      type: 'registertrigger',
      id: 't1',
      trigger_type: 'subscribe',
      function_id: 'on::text',
      config: { topic: 't' },
      metadata: { m: 1 },
    });
    await waitFor(() => engine.core.bindings.get('t1'));
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const publisher = await connect();
    const data = '{"float":1.0,"big":12345678901234567890}';
    publisher.send(
      `{"type":"invokefunction","function_id":"publish","data":{"topic":"t","data":${data}},"traceparent":"${traceparent}","baggage":"k=v","action":{"type":"void"}}`,
    );
    const frame = await subscriber.frame('invokefunction');
    expect(subscriber.texts[subscriber.frames.indexOf(frame)]).toContain(`"data":${data}`);
    expect(frame).toMatchObject({ traceparent, baggage: 'k=v', metadata: { m: 1 } });
  });

  it('gives every subscriber data of its own', async () => {
    await start();
    const seen: unknown[] = [];
    const greedy = (data: { list: number[] }): void => {
      data.list.push(data.list.length);
      seen.push(data);
    };
    await subscribe('on::one', { topic: 't' }, greedy);
    await subscribe('on::two', { topic: 't' }, greedy);
    await publish('t', { list: [] });
    await waitFor(() => seen.length === 2);
    expect(seen).toEqual([{ list: [0] }, { list: [0] }]);
  });

  it('does not keep the publisher waiting', async () => {
    await start();
    let started = false;
    await subscribe('on::slow', { topic: 't' }, () => {
      started = true;
      return new Promise(() => undefined);
    });
    await publish('t', 1);
    await waitFor(() => started);
  });

  it.each([
    [{ topic: '', data: 1 }, 'topic_not_set', 'Topic is not set'],
    [{ topic: 't' }, 'deserialization_error', 'Failed to deserialize input for publish: missing field `data`'],
    [{ data: 1 }, 'deserialization_error', 'Failed to deserialize input for publish: missing field `topic`'],
    [
      { topic: 5, data: 1 },
      'deserialization_error',
      'Failed to deserialize input for publish: invalid type: number, expected a string at `topic`',
    ],
    [null, 'deserialization_error', 'Failed to deserialize input for publish: invalid type: null, expected an object'],
  ])('refuses %j', async (payload, code, message) => {
    await start();
    const refused = engine.worker('publisher').trigger({ function_id: 'publish', payload });
    await expect(refused).rejects.toThrow(expect.objectContaining({ code, message }));
  });

  it('logs who failed, and delivers to the others', async () => {
    await start();
    let delivered = 0;
    await subscribe('on::broken', { topic: 't' }, () => {
      throw new Error('broken subscriber');
    });
    await subscribe('on::missing', { topic: 't' });
    await subscribe('on::fine', { topic: 't' }, () => void delivered++);
    await publish('t', 1);
    await waitFor(() => delivered === 1 && warnings('subscriber failed').length === 2);
    expect(warnings('subscriber failed')).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          topic: 't',
          function: 'on::broken',
          worker: 'subscriber',
          error: 'broken subscriber',
        }),
        expect.objectContaining({
          topic: 't',
          function: 'on::missing',
          worker: 'subscriber',
          code: 'function_not_found',
        }),
      ]),
    );
  });

  it('asks the condition of a subscriber', async () => {
    await start();
    const seen: number[] = [];
    const worker = engine.worker('subscriber');
    worker.registerFunction('is::odd', ({ n }: { n: number }) => {
      if (n === 4) throw new Error('no idea');
      return n % 2 === 1;
    });
    await subscribe(
      'on::odd',
      { topic: 't', condition_function_id: 'is::odd' },
      ({ n }: { n: number }) => void seen.push(n),
    );
    for (const n of [1, 2, 3, 4, 5]) await publish('t', { n });
    await waitFor(() => seen.length === 3 && warnings('condition of a subscriber failed').length === 1);
    expect(seen.sort()).toEqual([1, 3, 5]);
    expect(warnings('condition of a subscriber failed')).toEqual([
      expect.objectContaining({ topic: 't', condition: 'is::odd', error: 'no idea' }),
    ]);
  });

  it('takes out the unregistered trigger alone, also of one function', async () => {
    await start();
    const seen: unknown[] = [];
    const gone = await subscribe('on::t', { topic: 't' }, (data) => void seen.push(data));
    await subscribe('on::t', { topic: 't' });
    await subscribe('on::other', { topic: 't' }, (data) => void seen.push(data));
    gone.unregister();
    // A second worker that comes and goes silences nobody either.
    const other = await connect();
    other.serve('on::remote', () => null);
    other.send({
      type: 'registertrigger',
      id: 'remote',
      trigger_type: 'subscribe',
      function_id: 'on::remote',
      config: { topic: 't' },
    });
    await waitFor(() => engine.core.bindings.get('remote'));
    other.drop();
    await waitFor(() => engine.core.bindings.get('remote') === undefined);
    await publish('t', 1);
    await publish('t', 2);
    await waitFor(() => seen.length === 4);
    expect(seen.sort()).toEqual([1, 1, 2, 2]);
    expect(warnings('subscriber failed')).toEqual([]);
  });

  it('accepts a trigger without a topic with a warning, and never fires it', async () => {
    await start();
    const seen: unknown[] = [];
    await subscribe('on::nothing', {}, (data) => void seen.push(data));
    await subscribe('on::nothing', { topic: '' });
    await subscribe('on::nothing', { topic: 7 });
    await subscribe('on::t', { topic: 't' }, () => void seen.push('t'));
    expect(warnings('without a topic never fires')).toHaveLength(3);
    await publish('t', 1);
    await waitFor(() => seen.length === 1);
    expect(seen).toEqual(['t']);
  });

  it('drops messages to a subscriber that is too slow, and nobody else feels it', async () => {
    await start();
    let held = 0;
    let delivered = 0;
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    await subscribe('on::slow', { topic: 't' }, () => {
      held++;
      return gate;
    });
    await subscribe('on::fine', { topic: 't' }, () => void delivered++);
    for (let n = 0; n < 10_050; n++) await publish('t', n);
    await waitFor(() => delivered === 10_050);
    expect(held).toBe(10_000);
    expect(warnings('too slow')).toEqual([
      expect.objectContaining({ topic: 't', function: 'on::slow', worker: 'subscriber' }),
    ]);
    release();
    await waitFor(() => warnings('keeps up again').length === 1);
    expect(warnings('keeps up again')).toEqual([expect.objectContaining({ function: 'on::slow', dropped: 50 })]);
    await publish('t', 'after');
    await waitFor(() => held === 10_001);
  });

  it('refuses to publish while too much is under way, and takes it up again', async () => {
    await start();
    let held = 0;
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    const hold = (): Promise<void> => {
      held++;
      return gate;
    };
    await subscribe('on::held', { topic: 't' }, hold);
    for (let n = 1; n < 100; n++) await subscribe('on::held', { topic: 't' });
    for (let n = 0; n < 600; n++) await publish('t', n);
    await expect(publish('t', 600)).rejects.toThrow(expect.objectContaining({ code: 'publish_overloaded' }));
    expect(await publish('nobody', 1)).toBeUndefined();
    expect(held).toBe(60_000);
    release();
    await waitFor(() => publish('t', 'after').then(() => true));
    await waitFor(() => held === 60_100);
  });

  it.each([
    [{ adapter: { name: 'redis', config: { redis_url: 'localhost' } } }, /must be a URL like redis:/],
    [{ adapter: { name: 'local', config: { x: 1 } } }, /x/],
    [{ adaptor: {} }, /adaptor/],
  ])('refuses the configuration %j', async (config, message) => {
    await expect(start(config)).rejects.toThrow(message);
  });

  it('accepts a local adapter with a null config', async () => {
    await start({ adapter: { name: 'local', config: null } });
    expect(await publish('t', 1)).toBeUndefined();
  });
});
