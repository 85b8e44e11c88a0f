import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../core/log-writer.js';
import { createEngine, type Engine } from '../../engine.js';

interface Change {
  readonly type: string;
  readonly event_type: string;
  readonly scope: string;
  readonly key: string;
  readonly old_value: unknown;
  readonly new_value: unknown;
}

describe('state', () => {
  let folder: TempFolder;
  let engine: Engine;
  let logged: string[];

  const start = async (config: unknown): Promise<void> => {
    const log = createLog({ level: 'warn', format: 'json', stream: { write: (text) => logged.push(text) } });
    engine = await createEngine({ cwd: folder.path, config, log });
    await engine.start();
  };
  const startState = (state: object = {}): Promise<void> =>
    start({
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'iii-state', config: state },
      ],
    });
  const call = (op: string, payload: unknown): Promise<unknown> =>
    engine.worker('caller').trigger({ function_id: `state::${op}`, payload });

  beforeEach(async () => {
    folder = await tempFolder();
    logged = [];
  });

  afterEach(async () => {
    await engine.stop();
    await folder.remove();
  });

  it('answers every function in its shape', async () => {
    await startState();
    expect(await call('set', { scope: 'links', key: 'a', value: { url: 'x' } })).toEqual({
      old_value: null,
      new_value: { url: 'x' },
    });
    expect(await call('set', { scope: 'links', key: 'a', data: 2 })).toEqual({ old_value: { url: 'x' }, new_value: 2 });
    expect(await call('set', { scope: 'links', key: 'b', value: null })).toEqual({ old_value: null, new_value: null });
    expect(await call('get', { scope: 'links', key: 'a' })).toBe(2);
    expect(await call('get', { scope: 'links', key: 'b' })).toBeNull();
    expect(await call('list', { scope: 'links' })).toEqual([2, null]);
    expect(await call('list', { scope: 'nothing' })).toEqual([]);
    expect(await call('list_groups', {})).toEqual({ groups: ['links'] });
    expect(
      await call('update', { scope: 'links', key: 'n', ops: [{ type: 'increment', path: 'hits', by: 1 }] }),
    ).toEqual({
      old_value: null,
      new_value: { hits: 1 },
    });
    expect(
      await call('update', {
        scope: 'links',
        key: 'n',
        ops: [
          { type: 'increment', path: 'hits', by: 1 },
          { type: 'append', value: 1 },
        ],
      }),
    ).toEqual({
      old_value: { hits: 1 },
      new_value: { hits: 2 },
      errors: [expect.objectContaining({ op_index: 1, code: 'append.type_mismatch' })],
    });
    expect(await call('delete', { scope: 'links', key: 'a' })).toBe(2);
    expect(await call('get', { scope: 'links', key: 'a' })).toBeUndefined();
  });

  it('tells no result from null on the wire', async () => {
    await startState();
    const raw = await RawWorker.connect(engine.url);
    expect(await raw.ask('state::get', { scope: 's', key: 'k' })).not.toHaveProperty('result');
    expect(await raw.ask('state::delete', { scope: 's', key: 'k' })).not.toHaveProperty('result');
    await raw.call('state::set', { scope: 's', key: 'k', value: null });
    expect(await raw.ask('state::get', { scope: 's', key: 'k' })).toHaveProperty('result', null);
    raw.drop();
  });

  it('tells of writes of one key in the order of their commits, whatever they are', async () => {
    await startState();
    const worker = engine.worker('listener');
    const seen: Change[] = [];
    worker.registerFunction('seen', (change: Change) => void seen.push(change));
    await worker.registerTrigger({ type: 'state', function_id: 'seen', config: {} }).ready;
    await call('set', { scope: 's', key: 'k', value: 0 });
    const writes: Promise<unknown>[] = [];
    for (let i = 1; i <= 20; i++) {
      writes.push(call('delete', { scope: 's', key: 'k' }));
      writes.push(call('set', { scope: 's', key: 'k', value: i }));
      writes.push(call('update', { scope: 's', key: 'k', ops: [{ type: 'set', path: '', value: i + 0.5 }] }));
    }
    await Promise.all(writes);
    await waitFor(() => seen.length === 61);
    for (const [i, change] of seen.entries()) {
      if (i > 0) expect(change.old_value, `event ${i}`).toEqual(seen[i - 1]?.new_value);
    }
  });

  it('keeps the text of numbers over sockets, updates and a restart', async () => {
    const config = {
      adapter: { name: 'kv', config: { store_method: 'file_based', file_path: './data/state_store.db' } },
    };
    await startState(config);
    const text = '{"float":1.0,"big":12345678901234567890}';
    const first = await RawWorker.connect(engine.url);
    first.send(
      `{"type":"invokefunction","invocation_id":"${ID}","function_id":"state::set","data":{"scope":"s","key":"k","value":${text}}}`,
    );
    await first.frame('invocationresult');
    expect(first.texts.at(-1)).toContain(`"new_value":${text}`);
    await call('update', { scope: 's', key: 'k', ops: [{ type: 'set', path: 'n', value: 1 }] });
    first.drop();
    await engine.stop();

    await startState(config);
    const second = await RawWorker.connect(engine.url);
    await second.call('state::get', { scope: 's', key: 'k' });
    expect(second.texts.at(-1)).toContain('"result":{"float":1.0,"big":12345678901234567890,"n":1}');
    second.drop();
  });

  it.each([
    ['set', { key: 'k', value: 1 }, 'missing field `scope`'],
    ['set', { scope: 's', key: 'k' }, 'missing field `value`'],
    ['set', { scope: 's', key: 5, value: 1 }, 'expected a string at `key`'],
    ['get', null, 'invalid type: null, expected an object'],
    ['delete', { scope: 's' }, 'missing field `key`'],
    ['update', { scope: 's', key: 'k' }, 'missing field `ops`'],
    [
      'update',
      { scope: 's', key: 'k', ops: [{ type: 'increment', path: '', by: 1.5 }] },
      'expected an integer at `by`',
    ],
    ['list', {}, 'missing field `scope`'],
  ])('refuses a bad input of %s', async (op, payload, detail) => {
    await startState();
    await expect(call(op, payload)).rejects.toThrow(
      expect.objectContaining({
        code: 'deserialization_error',
        message: expect.stringMatching(
          new RegExp(`^Failed to deserialize input for state::${op}: .*${detail}`),
        ) as string,
      }),
    );
  });

  it('refuses values above max_value_bytes, as compact JSON, in set and update', async () => {
    await startState({ max_value_bytes: 7 });
    const refused = (bytes: number): object =>
      expect.objectContaining({
        code: 'VALUE_TOO_LARGE',
        message: `value of ${bytes} bytes exceeds the configured max_value_bytes limit of 7`,
      }) as object;
    expect(await call('set', { scope: 's', key: 'k', value: '12345' })).toMatchObject({ new_value: '12345' });
    await expect(call('set', { scope: 's', key: 'k', value: '123456' })).rejects.toThrow(refused(8));
    await expect(call('update', { scope: 's', key: 'k', ops: [{ type: 'append', value: '67' }] })).rejects.toThrow(
      refused(9),
    );
    expect(await call('get', { scope: 's', key: 'k' })).toBe('12345');
    const raw = await RawWorker.connect(engine.url);
    raw.send(
      `{"type":"invokefunction","invocation_id":"${ID}","function_id":"state::set","data":{"scope":"s","key":"k","value":{ "a" : 1 }}}`,
    );
    expect(await raw.frame('invocationresult')).not.toHaveProperty('error');
    raw.drop();
  });

  describe('triggers', () => {
    let seen: { change: Change; metadata: unknown }[];

    const listen = async (id: string, config: object, metadata?: unknown): Promise<{ unregister(): void }> => {
      const worker = engine.worker('listener');
      worker.registerFunction(id, (change: Change, meta) => void seen.push({ change, metadata: meta }));
      const trigger = worker.registerTrigger({
        type: 'state',
        function_id: id,
        config,
        ...(metadata === undefined ? {} : { metadata }),
      });
      await trigger.ready;
      return trigger;
    };

    beforeEach(() => {
      seen = [];
    });

    it('tell of every change, with metadata', async () => {
      await startState();
      await listen('on::change', {}, { tag: 1 });
      await call('set', { scope: 's', key: 'k', value: 1 });
      await call('set', { scope: 's', key: 'k', value: 1 });
      await call('update', { scope: 's', key: 'k', ops: [] });
      await call('delete', { scope: 's', key: 'k' });
      await call('delete', { scope: 's', key: 'k' });
      await call('update', { scope: 's', key: 'k', ops: [{ type: 'set', path: '', value: null }] });
      await call('set', { scope: 's', key: 'k', value: 2 });
      await waitFor(() => seen.length === 7);
      const change = (event_type: string, old_value: unknown, new_value: unknown): object => ({
        metadata: { tag: 1 },
        change: { type: 'state', event_type, scope: 's', key: 'k', old_value, new_value },
      });
      expect(seen).toEqual([
        change('state:created', null, 1),
        change('state:updated', 1, 1),
        change('state:updated', 1, 1),
        change('state:deleted', 1, null),
        change('state:deleted', null, null),
        change('state:created', null, null),
        change('state:updated', null, 2),
      ]);
    });

    it('fire for their scope and key only', async () => {
      await startState();
      await listen('on::both', { scope: 's', key: 'k' });
      await listen('on::scope', { scope: 's' });
      await listen('on::key', { scope: null, key: 'k' });
      for (const [scope, key] of [
        ['s', 'k'],
        ['s', 'x'],
        ['x', 'k'],
        ['x', 'x'],
        ['*', '*'],
      ])
        await call('set', { scope, key, value: 0 });
      await call('set', { scope: 's', key: 'k', value: 'last' });
      await waitFor(() => seen.filter(({ change }) => change.new_value === 'last').length === 3);
      const places = seen
        .filter(({ change }) => change.new_value === 0)
        .map(({ change }) => `${change.scope}/${change.key}`);
      expect(places.sort()).toEqual(['s/k', 's/k', 's/k', 's/x', 'x/k']);
    });

    it('ask their condition, and do not fire when it fails', async () => {
      await startState();
      engine.worker('listener').registerFunction('is::odd', ({ new_value }: Change) => {
        if (new_value === 4) throw new Error('no idea');
        return (new_value as number) % 2 === 1;
      });
      await listen('on::odd', { condition_function_id: 'is::odd' });
      for (const value of [1, 2, 3, 4, 5]) await call('set', { scope: 's', key: 'k', value });
      await waitFor(() => seen.length === 3);
      expect(seen.map(({ change }) => change.new_value)).toEqual([1, 3, 5]);
      expect(logged.filter((line) => line.includes('condition of a state trigger failed'))).toEqual([
        expect.stringContaining('no idea'),
      ]);
    });

    it('deliver the events of one key one after the other, those of others meanwhile, and let the writer go on', async () => {
      await startState();
      const order: string[] = [];
      let release = (): void => undefined;
      const gate = new Promise<void>((resolve) => (release = resolve));
      const worker = engine.worker('listener');
      worker.registerFunction('on::change', async ({ key, new_value }: Change) => {
        order.push(`${key}${new_value as number} starts`);
        if (key === 'slow') await gate;
        order.push(`${key}${new_value as number} ends`);
      });
      await worker.registerTrigger({ type: 'state', function_id: 'on::change', config: {} }).ready;
      for (let value = 1; value <= 3; value++) await call('set', { scope: 's', key: 'slow', value });
      await call('set', { scope: 's', key: 'fast', value: 1 });
      await waitFor(() => order.includes('fast1 ends'));
      expect(order).toEqual(['slow1 starts', 'fast1 starts', 'fast1 ends']);
      release();
      await waitFor(() => order.includes('slow3 ends'));
      expect(order.slice(3)).toEqual(['slow1 ends', 'slow2 starts', 'slow2 ends', 'slow3 starts', 'slow3 ends']);
    });

    it('drop events that a handler is too slow for, and say so once', async () => {
      await startState();
      const values: number[] = [];
      let release = (): void => undefined;
      const gate = new Promise<void>((resolve) => (release = resolve));
      const worker = engine.worker('listener');
      worker.registerFunction('on::change', async ({ new_value }: Change) => {
        values.push(new_value as number);
        await gate;
      });
      await worker.registerTrigger({ type: 'state', function_id: 'on::change', config: {} }).ready;
      await Promise.all(Array.from({ length: 1_100 }, (_, value) => call('set', { scope: 's', key: 'k', value })));
      expect(logged.filter((line) => line.includes('too slow'))).toHaveLength(1);
      release();
      await waitFor(() => values.length === 1_001);
      expect(values).toEqual(Array.from({ length: 1_001 }, (_, value) => value));
      await call('set', { scope: 's', key: 'k', value: -1 });
      await waitFor(() => values.at(-1) === -1);
      expect(logged.filter((line) => line.includes('takes events again'))).toEqual([
        expect.stringContaining('"dropped":99'),
      ]);
    });

    it('log a function that fails and go on', async () => {
      await startState();
      const worker = engine.worker('listener');
      worker.registerFunction('on::change', ({ new_value }: Change) => {
        if (new_value === 1) throw new Error('broken handler');
        seen.push({ change: { new_value } as Change, metadata: undefined });
      });
      await worker.registerTrigger({ type: 'state', function_id: 'on::change', config: {} }).ready;
      await call('set', { scope: 's', key: 'k', value: 1 });
      await call('set', { scope: 's', key: 'k', value: 2 });
      await waitFor(() => seen.length === 1);
      const [line] = logged.filter((each) => each.includes('function of a state trigger failed'));
      expect(JSON.parse(line ?? '{}')).toMatchObject({
        fields: { function: 'on::change', worker: 'listener', error: 'broken handler' },
      });
    });

    it('end when they are unregistered', async () => {
      await startState();
      const gone = await listen('on::gone', {});
      await listen('on::stays', {});
      gone.unregister();
      await call('set', { scope: 's', key: 'k', value: 1 });
      await call('set', { scope: 's', key: 'k', value: 2 });
      await waitFor(() => seen.some(({ change }) => change.new_value === 2));
      expect(seen).toHaveLength(2);
    });

    it('are refused with a config of the wrong type', async () => {
      await startState();
      const { ready } = engine
        .worker('listener')
        .registerTrigger({ type: 'state', function_id: 'f', config: { scope: 5 } });
      await expect(ready).rejects.toThrow(/Failed to parse trigger config: field `scope`/);
    });

    it('do not fire while triggers_enabled is false', async () => {
      await startState({ triggers_enabled: false });
      await listen('on::change', {});
      await call('set', { scope: 's', key: 'k', value: 1 });
      await call('delete', { scope: 's', key: 'k' });
      // Nothing is on its way: what would be was started before the answer.
      await new Promise((resolve) => setImmediate(resolve));
      expect(seen).toEqual([]);
    });
  });

  describe('configuration', () => {
    it('keeps nothing in memory mode, and says so', async () => {
      await startState({ adapter: { name: 'kv', config: { store_method: 'in_memory' } } });
      expect(logged.join('')).toContain('state is kept in memory only');
      await call('set', { scope: 's', key: 'k', value: 1 });
      expect(await call('list', { scope: 's' })).toEqual([1]);
      await engine.stop();
      await startState({ adapter: { name: 'kv', config: { store_method: 'in_memory' } } });
      expect(await call('get', { scope: 's', key: 'k' })).toBeUndefined();
    });

    it.each([
      [{ adapter: { name: 'redis', config: { redis_url: 'http://localhost' } } }, /must be a URL like redis:/],
      [{ adapter: { name: 'redis', config: { prefix: 'a{b}' } } }, /without braces/],
      [{ adapter: { name: 'bridge', config: { bridge_url: 'http://x' } } }, /must be the address of a worker port/],
      [{ adapter: { name: 'kv', config: { store_method: 'file' } } }, /store_method/],
      [{ adapter: { name: 'kv', config: { file_pth: 'x' } } }, /file_pth/],
      [{ max_values_bytes: 1 }, /max_values_bytes/],
    ])('refuses %j', async (config, message) => {
      await expect(startState(config)).rejects.toThrow(message);
    });

    it('refuses a folder where the file should be', async () => {
      await expect(
        startState({ adapter: { name: 'kv', config: { store_method: 'file_based', file_path: '.' } } }),
      ).rejects.toThrow(/is a folder/);
    });

    it('applies edits without a restart, another file included', async () => {
      const path = join(folder.path, 'config.yaml');
      const write = (state: object): Promise<void> =>
        writeFile(
          path,
          JSON.stringify({
            workers: [
              { name: 'iii-worker-manager', config: { port: 0 } },
              { name: 'iii-state', config: state },
            ],
          }),
        );
      await write({});
      await start('config.yaml');
      await call('set', { scope: 's', key: 'k', value: 'old file' });

      await write({ max_value_bytes: 3 });
      await waitFor(async () =>
        call('set', { scope: 's', key: 'x', value: 12345 }).then(
          () => false,
          (error: { code: string }) => error.code === 'VALUE_TOO_LARGE',
        ),
      );
      expect(await call('get', { scope: 's', key: 'k' })).toBe('old file');

      await write({ adapter: { name: 'kv', config: { file_path: 'other.db' } } });
      await waitFor(async () => (await call('get', { scope: 's', key: 'k' })) === undefined);
      await call('set', { scope: 's', key: 'k', value: 'new file' });

      await write({});
      await waitFor(async () => (await call('get', { scope: 's', key: 'k' })) === 'old file');
    });
  });
});

const ID = '5f1f6b4e-6d5c-4c35-9f6e-1d1b2c3d4e5f';
