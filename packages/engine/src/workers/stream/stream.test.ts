import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../core/log-writer.js';
import { createEngine, type Engine } from '../../engine.js';

interface Event {
  readonly type: string;
  readonly timestamp: number;
  readonly streamName: string;
  readonly groupId: string;
  readonly id: string | null;
  readonly event: { readonly type: string; readonly data?: unknown; readonly event?: unknown };
}

const ITEM = { stream_name: 's', group_id: 'g', item_id: 'i' };

describe('streams', () => {
  let folder: TempFolder;
  let engine: Engine;
  let logged: string[];

  const start = async (stream: object = {}, others: object[] = []): Promise<void> => {
    const log = createLog({ level: 'warn', format: 'json', stream: { write: (text) => logged.push(text) } });
    engine = await createEngine({
      cwd: folder.path,
      log,
      config: {
        workers: [
          { name: 'iii-worker-manager', config: { port: 0 } },
          { name: 'iii-stream', config: { port: 0, ...stream } },
          ...others,
        ],
      },
    });
    await engine.start();
  };
  const call = (op: string, payload: unknown): Promise<unknown> =>
    engine.worker('caller').trigger({ function_id: `stream::${op}`, payload });
  const at = (item_id: string, group_id = 'all'): object => ({ stream_name: 'clicks', group_id, item_id });

  beforeEach(async () => {
    folder = await tempFolder();
    logged = [];
  });

  afterEach(async () => {
    await engine.stop();
    await folder.remove();
  });

  it('answers every function in its shape', async () => {
    await start();
    expect(await call('set', { ...at('a'), data: { n: 1 } })).toEqual({ old_value: null, new_value: { n: 1 } });
    expect(await call('set', { ...at('a'), data: { n: 2 } })).toEqual({ old_value: { n: 1 }, new_value: { n: 2 } });
    expect(await call('set', { ...at('b'), data: null })).toEqual({ old_value: null, new_value: null });
    expect(await call('get', at('a'))).toEqual({ n: 2 });
    expect(await call('get', at('b'))).toBeNull();
    expect(await call('list', { stream_name: 'clicks', group_id: 'all' })).toEqual([{ n: 2 }, null]);
    expect(await call('list', { stream_name: 'clicks', group_id: 'none' })).toEqual([]);
    await call('set', { ...at('a', 'a:few'), data: 1 });
    await call('set', { stream_name: 'a:b', group_id: 'c', item_id: 'd', data: 1 });
    expect(await call('list_groups', { stream_name: 'clicks' })).toEqual(['a:few', 'all']);
    expect(await call('list_groups', { stream_name: 'none' })).toEqual([]);
    expect(await call('list_all', {})).toEqual({
      stream: [
        { id: 'a:b', groups: ['c'] },
        { id: 'clicks', groups: ['a:few', 'all'] },
      ],
      count: 2,
    });
    expect(await call('send', { stream_name: 'clicks', group_id: 'all', type: 'typing', data: 1 })).toBeNull();
    expect(await call('update', { ...at('n'), ops: [{ type: 'increment', path: 'hits', by: 1 }] })).toEqual({
      old_value: null,
      new_value: { hits: 1 },
    });
    expect(await call('update', { ...at('n'), ops: [{ type: 'append', value: 1 }] })).toEqual({
      old_value: { hits: 1 },
      new_value: { hits: 1 },
      errors: [expect.objectContaining({ op_index: 0, code: 'append.type_mismatch' })],
    });
    expect(await call('delete', at('a'))).toEqual({ old_value: { n: 2 } });
    expect(await call('delete', at('a'))).toEqual({ old_value: null });
    expect(await call('get', at('a'))).toBeUndefined();
  });

  it('tells no result from null on the wire', async () => {
    await start();
    const raw = await RawWorker.connect(engine.url);
    expect(await raw.ask('stream::get', at('k'))).not.toHaveProperty('result');
    await raw.call('stream::set', { ...at('k'), data: null });
    expect(await raw.ask('stream::get', at('k'))).toHaveProperty('result', null);
    expect(
      await raw.ask('stream::send', { stream_name: 's', group_id: 'g', type: 't', data: 1, id: null }),
    ).toHaveProperty('result', null);
    raw.drop();
  });

  it('keeps items and their text over a restart, on disk by default and in a named file', async () => {
    for (const stream of [{}, { adapter: { name: 'kv', config: { file_path: './data/stream_store' } } }]) {
      await start(stream);
      const raw = await RawWorker.connect(engine.url);
      raw.send(
        `{"type":"invokefunction","invocation_id":"${ID}","function_id":"stream::set","data":{"stream_name":"s","group_id":"g","item_id":"i","data":{"a": 1.0,"b":12345678901234567890}}}`,
      );
      await raw.frame('invocationresult');
      raw.drop();
      await engine.stop();
      await start(stream);
      const again = await RawWorker.connect(engine.url);
      await again.call('stream::get', { stream_name: 's', group_id: 'g', item_id: 'i' });
      expect(again.texts.at(-1)).toContain('"result":{"a": 1.0,"b":12345678901234567890}');
      again.drop();
      await engine.stop();
    }
  });

  it('forgets items in memory at the end, and says so at the start', async () => {
    const stream = { adapter: { name: 'kv', config: { store_method: 'in_memory' } } };
    await start(stream);
    expect(logged.join('')).toContain('streams are kept in memory only');
    await call('set', { ...at('a'), data: 1 });
    expect(await call('list', { stream_name: 'clicks', group_id: 'all' })).toEqual([1]);
    await engine.stop();
    await start(stream);
    expect(await call('list_all', {})).toEqual({ stream: [], count: 0 });
  });

  it.each([
    ['set', { stream_name: 's', group_id: 'g', data: 1 }, 'missing field `item_id`'],
    ['set', { ...ITEM, data: undefined }, 'missing field `data`'],
    ['get', { ...ITEM, group_id: 1 }, 'expected a string at `group_id`'],
    ['delete', [], 'expected an object'],
    ['list', { stream_name: 's' }, 'missing field `group_id`'],
    ['list_groups', {}, 'missing field `stream_name`'],
    ['send', { stream_name: 's', group_id: 'g', data: 1 }, 'missing field `type`'],
    ['send', { stream_name: 's', group_id: 'g', type: 't', data: 1, id: 5 }, 'expected a string at `id`'],
    ['update', ITEM, 'missing field `ops`'],
    ['update', { ...ITEM, ops: [{ type: 'increment', path: 'n', by: 1.5 }] }, 'expected an integer at `by`'],
  ])('refuses a bad input of %s: %j', async (op, payload, detail) => {
    await start();
    await expect(call(op, payload)).rejects.toThrow(
      expect.objectContaining({ code: 'deserialization_error', message: expect.stringContaining(detail) as string }),
    );
  });

  describe('triggers', () => {
    const listen = async (config: object, seen: Event[], condition?: string): Promise<void> => {
      const worker = engine.worker('listener');
      const id = `seen::${JSON.stringify(config)}`;
      worker.registerFunction(id, (event: Event) => void seen.push(event));
      await worker.registerTrigger({
        type: 'stream',
        function_id: id,
        config: { ...config, ...(condition === undefined ? {} : { condition_function_id: condition }) },
      }).ready;
    };

    it('carry every kind of event, in order per item', async () => {
      await start();
      const seen: Event[] = [];
      await listen({ stream_name: 'clicks' }, seen);
      const before = Date.now();
      await call('set', { ...at('a'), data: 1 });
      await call('set', { ...at('a'), data: 2 });
      await call('update', { ...at('a'), ops: [{ type: 'increment', path: '', by: 1 }] });
      await call('delete', at('a'));
      await call('delete', at('a'));
      await call('set', { ...at('a'), data: null });
      await call('set', { ...at('a'), data: 4 });
      await waitFor(() => seen.length === 6);
      expect(seen.map(({ event }) => event)).toEqual([
        { type: 'create', data: 1 },
        { type: 'update', data: 2 },
        { type: 'update', data: 3 },
        { type: 'delete', data: 3 },
        { type: 'create', data: null },
        { type: 'update', data: 4 },
      ]);
      expect(seen[0]).toMatchObject({ type: 'stream', streamName: 'clicks', groupId: 'all', id: 'a' });
      expect(Number.isInteger(seen[0]?.timestamp)).toBe(true);
      expect(seen[0]?.timestamp).toBeGreaterThanOrEqual(before);

      await call('send', { stream_name: 'clicks', group_id: 'all', type: 'typing', data: { who: 'x' } });
      await call('send', { stream_name: 'clicks', group_id: 'all', type: 'typing', data: 1, id: 'a' });
      await waitFor(() => seen.length === 8);
      const sent = seen.slice(6).sort((a, b) => (a.id ?? '').localeCompare(b.id ?? ''));
      expect(sent[0]).toMatchObject({
        id: null,
        event: { type: 'event', event: { type: 'typing', data: { who: 'x' } } },
      });
      expect(sent[1]).toMatchObject({ id: 'a', event: { type: 'event', event: { type: 'typing', data: 1 } } });
    });

    it('hear only of what they asked for; an empty name asks for all', async () => {
      await start();
      const all: Event[] = [];
      const group: Event[] = [];
      const item: Event[] = [];
      await listen({ stream_name: 'clicks', group_id: '', item_id: '' }, all);
      await listen({ stream_name: 'clicks', group_id: 'all' }, group);
      await listen({ stream_name: 'clicks', group_id: 'all', item_id: 'a' }, item);
      await call('set', { ...at('a'), data: 1 });
      await call('set', { ...at('b'), data: 1 });
      await call('set', { ...at('a', 'few'), data: 1 });
      await call('set', { stream_name: 'other', group_id: 'all', item_id: 'a', data: 1 });
      await call('send', { stream_name: 'clicks', group_id: 'all', type: 't', data: 1 });
      await waitFor(() => all.length === 4 && group.length === 3 && item.length === 1);
    });

    it('ask their condition first', async () => {
      await start();
      const worker = engine.worker('conditions');
      worker.registerFunction('is::big', (event: Event) => (event.event.data as number) > 10);
      const seen: Event[] = [];
      await listen({ stream_name: 'clicks' }, seen, 'is::big');
      await call('set', { ...at('a'), data: 1 });
      await call('set', { ...at('a'), data: 11 });
      await waitFor(() => seen.length === 1);
      expect(seen[0]?.event).toEqual({ type: 'update', data: 11 });
    });

    it('are told once when they are registered again, and not after they are gone', async () => {
      await start();
      const raw = await RawWorker.connect(engine.url);
      let seen = 0;
      raw.serve('seen', () => void seen++);
      const trigger = { id: 'one', trigger_type: 'stream', function_id: 'seen', config: { stream_name: 'clicks' } };
      raw.send({ type: 'registertrigger', ...trigger });
      raw.send({ type: 'registertrigger', ...trigger });
      await raw.call('stream::set', { ...at('a'), data: 1 });
      await waitFor(() => seen === 1);
      raw.send({ type: 'unregistertrigger', id: 'one', trigger_type: 'stream' });
      await raw.call('stream::set', { ...at('a'), data: 2 });
      await raw.call('stream::get', at('a'));
      expect(seen).toBe(1);
      raw.drop();
    });

    it.each([[{}], [{ stream_name: '' }], [{ stream_name: 5 }], [{ stream_name: 's', group_id: 1 }]])(
      'refuse the config %j',
      async (config) => {
        await start();
        const raw = await RawWorker.connect(engine.url);
        raw.serve('seen', () => undefined);
        raw.send({ type: 'registertrigger', id: 'bad', trigger_type: 'stream', function_id: 'seen', config });
        const answer = await raw.frame('triggerregistrationresult');
        expect(answer['error']).toMatchObject({
          code: 'trigger_registration_failed',
          message: expect.stringContaining('Failed to deserialize stream trigger') as string,
        });
        raw.drop();
      },
    );
  });

  describe('of a worker', () => {
    const custom = async (serve: Record<string, (data: never) => unknown>): Promise<RawWorker> => {
      const raw = await RawWorker.connect(engine.url);
      for (const [op, handler] of Object.entries(serve))
        raw.serve(`stream::${op}(notes)`, handler as (data: unknown) => unknown);
      await raw.call('stream::list_all', {});
      return raw;
    };
    const note = { stream_name: 'notes', group_id: 'g', item_id: 'i' };

    it('are served by its functions, with events', async () => {
      await start();
      const items = new Map<string, unknown>();
      type Input = { item_id: string; data: unknown };
      const raw = await custom({
        set: ({ item_id, data }: Input) => {
          const old_value = items.get(item_id) ?? null;
          items.set(item_id, data);
          return { old_value, new_value: data };
        },
        get: ({ item_id }: Input) => items.get(item_id),
        delete: ({ item_id }: Input) => {
          const old_value = items.get(item_id) ?? null;
          items.delete(item_id);
          return { old_value };
        },
        list: () => [...items.values()],
        list_groups: () => ['g'],
      });
      const seen: Event[] = [];
      const worker = engine.worker('listener');
      worker.registerFunction('seen', (event: Event) => void seen.push(event));
      await worker.registerTrigger({ type: 'stream', function_id: 'seen', config: { stream_name: 'notes' } }).ready;

      expect(await call('set', { ...note, data: 1 })).toEqual({ old_value: null, new_value: 1 });
      expect(await call('set', { ...note, data: 2 })).toEqual({ old_value: 1, new_value: 2 });
      expect(await call('get', note)).toBe(2);
      expect(await call('list', note)).toEqual([2]);
      expect(await call('list_groups', note)).toEqual(['g']);
      expect(await call('delete', note)).toEqual({ old_value: 2 });
      expect(await call('delete', note)).toEqual({ old_value: null });
      expect(await call('get', note)).toBeUndefined();
      await waitFor(() => seen.length === 3);
      expect(seen.map(({ event }) => event.type)).toEqual(['create', 'update', 'delete']);

      // No update function: that goes to the storage.
      expect(await call('update', { ...note, ops: [{ type: 'set', path: '', value: 9 }] })).toEqual({
        old_value: null,
        new_value: 9,
      });
      expect(items.size).toBe(0);
      raw.drop();
      await waitFor(async () => (await call('get', note)) === 9, { what: 'the storage to serve again' });
    });

    it('fail in the words of their operation', async () => {
      await start();
      const raw = await custom({
        set: () => ({ old_value: null }),
        update: () => undefined,
        delete: () => {
          throw new Error('no');
        },
        get: () => {
          throw new Error('gone');
        },
      });
      const refused = (code: string, message: string): unknown =>
        expect.objectContaining({ code, message: expect.stringContaining(message) as string });
      await expect(call('set', { ...note, data: 1 })).rejects.toThrow(
        refused('JSON_ERROR', 'Failed to convert result to value'),
      );
      await expect(call('update', { ...note, ops: [] })).rejects.toThrow(
        refused('STREAM_UPDATE_ERROR', 'Failed to update value: Function returned no result'),
      );
      await expect(call('delete', note)).rejects.toThrow(
        refused('STREAM_DELETE_ERROR', 'Failed to delete value: Failed to invoke function: no'),
      );
      await expect(call('get', note)).rejects.toThrow(
        refused('STREAM_GET_ERROR', 'Failed to get value: Failed to invoke function: gone'),
      );
      raw.drop();
    });
  });

  it('refuses what this version does not have', async () => {
    await start();
    const refused = (config: object): Promise<unknown> =>
      createEngine({ cwd: folder.path, config: { workers: [{ name: 'iii-stream', config }] } });
    await expect(refused({ adapter: { name: 'redis' } })).rejects.toThrow(
      /redis adapter of stream is not in this version/,
    );
    await expect(refused({ auth: 'x' })).rejects.toThrow(/auth/);
    await expect(refused({ adapter: { name: 'bridge', config: { bridge_url: 'x' } } })).rejects.toThrow(/bridge_url/);
  });
});

const ID = '00000000-0000-4000-8000-000000000001';
