/** Streams with the unmodified SDKs: items, events, custom streams, and what guards the socket. */
import { createEngine, type Engine } from '@trine/engine';
import { StreamClient, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import * as sdk11 from 'iii-sdk-0.11';
import * as sdk22 from 'iii-sdk-0.22';
import { createStream } from 'iii-sdk-0.22/helpers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Note {
  readonly text: string;
}

let folder: TempFolder;
let engine: Engine;
let old: ReturnType<typeof sdk11.registerWorker>;
let young: ReturnType<typeof sdk22.registerWorker>;

beforeAll(async () => {
  folder = await tempFolder('trine-streams-');
  engine = await createEngine({
    cwd: folder.path,
    logLevel: 'silent',
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'iii-stream', config: { port: 0, auth_function: 'streams::auth' } },
      ],
    },
  });
  await engine.start();
  old = sdk11.registerWorker(engine.url, { workerName: 'node-0.11' });
  young = sdk22.registerWorker(engine.url, { workerName: 'node-0.22' });
  young.registerFunction('streams::auth', async ({ query_params }: { query_params: Record<string, string[]> }) => {
    if (query_params['token']?.[0] !== 'secret') throw new Error('no token');
    return { context: { role: 'reader' } };
  });
});

afterAll(async () => {
  await Promise.all([old.shutdown(), young.shutdown()]);
  await engine.stop();
  await folder.remove();
});

const served = (id: string): Promise<unknown> =>
  waitFor(async () => {
    const { functions } = await engine.worker('test').trigger<unknown, { functions: { function_id: string }[] }>({
      function_id: 'engine::functions::list',
      payload: {},
    });
    return functions.some(({ function_id }) => function_id === id);
  });

describe.each(['old', 'young'] as const)('streams with the %s SDK', (which) => {
  const client = (): Pick<typeof young, 'trigger' | 'registerFunction' | 'registerTrigger'> =>
    which === 'old' ? old : young;
  const call = (op: string, payload: unknown): Promise<unknown> =>
    client().trigger({ function_id: `stream::${op}`, payload });

  it('keep items and tell of them', async () => {
    const stream_name = `clicks-${which}`;
    const seen: { id: string | null; event: { type: string; data?: unknown } }[] = [];
    client().registerFunction(`${which}::on_click`, async (event: (typeof seen)[number]) => void seen.push(event));
    client().registerTrigger({ type: 'stream', function_id: `${which}::on_click`, config: { stream_name } });
    await served(`${which}::on_click`);
    const at = { stream_name, group_id: 'all', item_id: 'a' };
    expect(await call('get', at)).toBeUndefined();
    expect(await call('set', { ...at, data: { n: 1 } })).toEqual({ old_value: null, new_value: { n: 1 } });
    expect(await call('update', { ...at, ops: [{ type: 'increment', path: 'n', by: 1 }] })).toEqual({
      old_value: { n: 1 },
      new_value: { n: 2 },
    });
    expect(await call('list', { stream_name, group_id: 'all' })).toEqual([{ n: 2 }]);
    expect(await call('delete', at)).toEqual({ old_value: { n: 2 } });
    await waitFor(() => seen.length === 3);
    expect(seen.map(({ id, event }) => [id, event.type])).toEqual([
      ['a', 'create'],
      ['a', 'update'],
      ['a', 'delete'],
    ]);
  });

  it('may be served by a worker, and guarded by another', async () => {
    const name = `notes-${which}`;
    const notes = new Map<string, Note>();
    const stream = {
      get: async ({ item_id }: { item_id: string }) => notes.get(item_id) ?? null,
      set: async ({ item_id, data }: { item_id: string; data: Note }) => {
        const before = notes.get(item_id);
        notes.set(item_id, data);
        return { ...(before === undefined ? {} : { old_value: before }), new_value: data };
      },
      delete: async ({ item_id }: { item_id: string }) => {
        const old_value = notes.get(item_id);
        notes.delete(item_id);
        return { old_value };
      },
      list: async () => [...notes.values()],
      listGroups: async () => ['mine'],
      update: async () => null,
    };
    if (which === 'old') old.createStream<Note>(name, stream);
    else createStream<Note>(young, name, stream);
    young.registerFunction(
      `${which}::on_join`,
      async ({ group_id, context }: { group_id: string; context: unknown }) => ({
        unauthorized: group_id !== 'mine' || (context as { role: string }).role !== 'reader',
      }),
    );
    young.registerTrigger({ type: 'stream:join', function_id: `${which}::on_join`, config: {} });
    for (const id of [`stream::list(${name})`, 'streams::auth', `${which}::on_join`]) await served(id);

    const at = { stream_name: name, group_id: 'mine', item_id: 'a' };
    expect(await call('set', { ...at, data: { text: 'x' } })).toMatchObject({ new_value: { text: 'x' } });
    expect(await call('get', at)).toEqual({ text: 'x' });
    expect(await call('list_groups', at)).toEqual(['mine']);

    await expect(StreamClient.connect(engine.ports['stream'])).rejects.toThrow('401');
    const socket = await StreamClient.connect(engine.ports['stream'], { path: '/?token=secret' });
    socket.join('one', name, 'mine');
    expect((await socket.event('sync')).event.data).toEqual([{ text: 'x' }]);
    await call('set', { ...at, data: { text: 'y' } });
    expect((await socket.event('update')).event.data).toEqual({ text: 'y' });
    await call('delete', at);
    expect((await socket.event('delete')).event.data).toEqual({ text: 'y' });
    socket.join('two', name, 'theirs');
    await socket.event('unauthorized');
    socket.drop();
  });
});
