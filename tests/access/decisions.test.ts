/** What a session may call and see, by every way that leads to a function. */
import { RawWorker, waitFor } from '@trine/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { accessBed, settled, type AccessBed } from './bed.js';

let bed: AccessBed;
let grant: object = {};
let ran: string[] = [];
let server: RawWorker;

const EXPOSED = [
  'match("open::*")',
  { match: 'shop::*', namespace: 'shop' },
  { metadata: { public: true, tier: "match('free-*')" } },
];

beforeAll(async () => {
  bed = await accessBed(
    { rbac: { auth_function_id: 'door::auth', expose_functions: EXPOSED } },
    { workers: [{ name: 'iii-queue' }, { name: 'iii-state' }, { name: 'iii-pubsub' }] },
  );
  const keeper = await RawWorker.connect(bed.trusted);
  keeper.serve('door::auth', () => grant);
  await settled(keeper);
  server = await RawWorker.connect(bed.trusted);
  const offer = (id: string, extra: object = {}): void =>
    server.serve(
      id,
      (data) => {
        ran.push(id);
        return data;
      },
      extra,
    );
  for (const id of ['open::a', 'secret::a', 'secret::b', 'secret::condition']) offer(id);
  offer('meta::yes', { metadata: { public: true, tier: 'free-1', other: 1 } });
  offer('meta::no', { metadata: { public: true, tier: 'paid' } });
  offer('meta::text', { metadata: { public: 'true', tier: 'free-1' } });
  server.describe({ name: 'server', pid: 1 });
  const shop = await RawWorker.connect(bed.trusted);
  shop.serve('shop::a', () => 'shop');
  shop.serve('open::a', () => 'shop');
  await shop.call('engine::workers::register', { name: 'shop', namespace: 'shop', runtime: 'node', pid: 2 });
  await settled(server);
});
afterAll(() => bed.stop());
beforeEach(() => {
  grant = {};
  ran = [];
});

const session = (what: object = {}): Promise<RawWorker> => {
  grant = what;
  return RawWorker.connect(bed.guarded);
};
const denied = (id: string): object => ({ code: 'FORBIDDEN', message: expect.stringContaining(`'${id}'`) as string });

describe('a call', () => {
  it('reaches what is exposed by pattern or by metadata, and nothing else', async () => {
    const worker = await session();
    await expect(worker.call('open::a', { n: 1 })).resolves.toMatchObject({ n: 1 });
    await expect(worker.call('meta::yes', { n: 1 })).resolves.toMatchObject({ n: 1 });
    for (const id of ['secret::a', 'meta::no', 'meta::text', 'not::there', 'state::get', 'engine::functions::list'])
      await expect(worker.call(id, {})).rejects.toMatchObject({
        code: 'FORBIDDEN',
        message: `function '${id}' not allowed (add to rbac.expose_functions)`,
      });
    expect(ran).toEqual(['open::a', 'meta::yes']);
  });

  it('reaches what the auth function allows, and not what it forbids', async () => {
    const worker = await session({ allowed_functions: ['secret::a'], forbidden_functions: ['open::a', 'secret::b'] });
    await worker.call('secret::a', {});
    await expect(worker.call('open::a', {})).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: "function 'open::a' not allowed (remove from rbac.forbidden_functions)",
    });
    await expect(worker.call('secret::b', {})).rejects.toMatchObject(denied('secret::b'));
  });

  it('always reaches what every client needs', async () => {
    const worker = await session();
    await worker.call('engine::workers::register', { name: 'w', runtime: 'node' });
    await worker.call('engine::log::info', { message: 'hello' });
    const forbidding = await session({ forbidden_functions: ['engine::log::info'] });
    await expect(forbidding.call('engine::log::info', { message: 'x' })).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });

  it('is judged in the namespace where it is served', async () => {
    const worker = await session({ namespaces: { shop: ['match("open::*")'] } });
    await expect(worker.call('shop::a', {}, { namespace: 'shop' })).resolves.toBe('shop');
    await expect(worker.call('open::a', {}, { namespace: 'shop' })).resolves.toBe('shop');
    const other = await session();
    await expect(other.call('open::a', {}, { namespace: 'shop' })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    // A built-in of `default` serves every namespace: a grant elsewhere does not open it.
    const wide = await session({ namespaces: { shop: ['*'] } });
    await expect(wide.call('state::get', { scope: 's', key: 'k' }, { namespace: 'shop' })).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
  });

  it('of the void kind is refused without a word to the caller and with one to the log', async () => {
    const worker = await session();
    worker.describe({ name: 'sly' });
    worker.send({ type: 'invokefunction', function_id: 'secret::a', data: {}, action: { type: 'void' } });
    await settled(worker);
    await waitFor(() => /refused by access rules.*secret::a.*sly/s.test(bed.log()), { what: 'a line in the log' });
    expect(ran).toEqual([]);
  });
});

describe('nothing goes around expose_functions', () => {
  it('not an enqueue, by action or by function', async () => {
    const worker = await session({
      allowed_functions: ['engine::queue::enqueue', 'iii::queue::enqueue', 'iii::durable::unsubscribe'],
    });
    const action = { type: 'enqueue', queue: 'default' };
    await expect(worker.call('secret::a', {}, { action })).rejects.toMatchObject(denied('secret::a'));
    for (const id of ['engine::queue::enqueue', 'iii::queue::enqueue'])
      await expect(worker.call(id, { queue: 'default', function_id: 'secret::a', data: {} })).rejects.toMatchObject({
        code: 'FORBIDDEN',
      });
    await expect(
      worker.call('iii::durable::unsubscribe', { topic: 't', function_id: 'secret::a' }),
    ).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(worker.call('open::a', {}, { action })).resolves.toHaveProperty('messageReceiptId');
    await waitFor(() => ran.includes('open::a'));
    expect(ran).toEqual(['open::a']);
  });

  it('not a trigger, by frame or by function, nor the condition that it names', async () => {
    const worker = await session({ allowed_functions: ['engine::register_trigger'] });
    const config = { topic: 't' };
    worker.send({ type: 'registertrigger', id: 't1', trigger_type: 'subscribe', function_id: 'secret::a', config });
    expect(await worker.frame('triggerregistrationresult', ({ id }) => id === 't1')).toMatchObject({
      trigger_type: 'subscribe',
      function_id: 'secret::a',
      error: { code: 'FORBIDDEN', message: expect.stringMatching(/^function 'secret::a' not allowed in namespace/) },
    });
    worker.send({
      type: 'registertrigger',
      id: 't2',
      trigger_type: 'subscribe',
      function_id: 'open::a',
      config: { ...config, condition_function_id: 'secret::condition' },
    });
    expect(await worker.frame('triggerregistrationresult', ({ id }) => id === 't2')).toMatchObject({
      error: { code: 'FORBIDDEN', message: expect.stringContaining('secret::condition') },
    });
    await expect(
      worker.call('engine::register_trigger', { trigger_type: 'subscribe', function_id: 'secret::a', config }),
    ).rejects.toMatchObject({ code: 'FORBIDDEN' });
    worker.send({ type: 'registertrigger', id: 't3', trigger_type: 'subscribe', function_id: 'open::a', config });
    await expect(
      worker.call('engine::register_trigger', { trigger_type: 'subscribe', function_id: 'open::a', config }),
    ).resolves.toHaveProperty('id');
    await server.call('publish', { topic: 't', data: {} });
    await waitFor(() => ran.length === 2);
    expect(ran).toEqual(['open::a', 'open::a']);
  });

  it('not the trigger of someone else, by its id', async () => {
    server.send({
      type: 'registertrigger',
      id: 'theirs',
      trigger_type: 'subscribe',
      function_id: 'secret::b',
      config: { topic: 'x' },
    });
    await settled(server);
    const worker = await session();
    worker.send({
      type: 'registertrigger',
      id: 'theirs',
      trigger_type: 'subscribe',
      function_id: 'open::a',
      config: { topic: 'x' },
    });
    expect(await worker.frame('triggerregistrationresult')).toMatchObject({
      id: 'theirs',
      error: { code: 'FORBIDDEN' },
    });
    worker.send({ type: 'unregistertrigger', id: 'theirs' });
    await settled(worker);
    await server.call('publish', { topic: 'x', data: {} });
    await waitFor(() => ran.includes('secret::b'));
    expect(ran).toEqual(['secret::b']);
  });

  it('not a function of the same id that the session registers to fit the metadata', async () => {
    const worker = await session();
    worker.serve('secret::a', () => 'mine', { metadata: { public: true, tier: 'free-x' } });
    worker.describe({ name: 'shadow' });
    await expect(worker.call('secret::a', {})).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(server.call('secret::a', { n: 1 })).resolves.toMatchObject({ n: 1 });
    await waitFor(() => bed.log().includes('outside these access rules'));
  });
});

describe('lists', () => {
  const LISTS = [
    'engine::functions::list',
    'engine::functions::info',
    'engine::workers::list',
    'engine::workers::info',
    'engine::triggers::list',
    'engine::registered-triggers::list',
  ];
  const ids = (answer: unknown, key: string): string[] =>
    ((answer as Record<string, { function_id: string }[]>)[key] ?? []).map(({ function_id }) => function_id);

  it('show what the session may call', async () => {
    const worker = await session({ allowed_functions: LISTS, forbidden_functions: ['meta::yes'] });
    expect(ids(await worker.call('engine::functions::list', {}), 'functions')).toEqual(['open::a', 'shop::a']);
    const all = ids(await worker.call('engine::functions::list', { include_internal: true }), 'functions');
    expect(all).not.toContain('secret::a');
    expect(all).toContain('engine::workers::register');
    await expect(worker.call('engine::functions::info', { function_id: 'secret::a' })).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: "Function 'secret::a' is not visible to this session.",
    });
    await expect(
      worker.call('engine::functions::info', { function_ids: ['open::a', 'secret::a', 'open::none'] }),
    ).resolves.toMatchObject({
      functions: [
        { function_id: 'open::a' },
        { function_id: 'secret::a', error: 'forbidden' },
        { function_id: 'open::none', error: 'not_found' },
      ],
    });
  });

  it('name no hidden function by another way', async () => {
    const worker = await session({ allowed_functions: LISTS });
    for (const [id, input] of [
      ['engine::workers::list', {}],
      ['engine::workers::info', { name: 'server' }],
      ['engine::registered-triggers::list', { include_internal: true }],
    ] as const) {
      expect(JSON.stringify(await worker.call(id, input))).not.toContain('secret::');
    }
    worker.describe({ name: 'old', version: '0.11.6' });
    expect(JSON.stringify(await worker.call('engine::triggers::list', { include_internal: true }))).not.toContain(
      'secret::',
    );
  });

  it('of changes are the session’s own view', async () => {
    const worker = await session({ allowed_functions: ['own::seen'] });
    const seen: string[] = [];
    worker.serve('own::seen', (data) => void seen.push(JSON.stringify(data)));
    worker.send({
      type: 'registertrigger',
      id: 'view',
      trigger_type: 'engine::functions-available',
      function_id: 'own::seen',
      config: {},
    });
    await settled(worker);
    server.serve('open::later', () => 1);
    await waitFor(() => seen.some((text) => text.includes('open::later')));
    expect(seen.join()).not.toContain('secret::');
  });
});

describe('a session', () => {
  it('gets no stack traces', async () => {
    server.send({ type: 'registerfunction', id: 'open::fails' });
    const error = { code: 'invocation_failed', message: 'no', stacktrace: 'at secret.ts:1' };
    const answer = async (): Promise<void> => {
      const call = await server.frame('invokefunction', ({ function_id }) => function_id === 'open::fails');
      server.frames.splice(server.frames.indexOf(call), 1);
      server.send({
        type: 'invocationresult',
        invocation_id: call['invocation_id'],
        function_id: 'open::fails',
        error,
      });
    };
    await settled(server);
    const outside = await RawWorker.connect(bed.trusted);
    const [open] = await Promise.all([outside.ask('open::fails', {}), answer()]);
    expect(open['error']).toEqual(error);
    const worker = await session();
    const [guarded] = await Promise.all([worker.ask('open::fails', {}), answer()]);
    expect(guarded['error']).toEqual({ code: 'invocation_failed', message: 'no' });
  });

  it('lives in namespaces that it was granted, and in default', async () => {
    const worker = await session({ namespaces: { shop: [], warehouse: [] } });
    await expect(worker.call('engine::workers::register', { name: 'w', namespace: 'office' })).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: "namespace 'office' not allowed for this session (permitted: default, shop, warehouse)",
    });
    await expect(worker.call('engine::workers::register', { name: 'w', namespace: 'shop' })).resolves.toEqual({
      success: true,
    });
  });
});
