/** What a session may register, under which id, and the hooks that are asked first. */
import { RawWorker, waitFor } from '@trine/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { accessBed, settled, type AccessBed } from './bed.js';

let bed: AccessBed;
let grant: object = {};
let trusted: RawWorker;
const workers: RawWorker[] = [];
type Hook = (input: Record<string, unknown>) => unknown;
let hook: Hook = () => ({});
let asked: Record<string, unknown>[] = [];

beforeAll(async () => {
  bed = await accessBed(
    {
      rbac: {
        auth_function_id: 'door::auth',
        expose_functions: ['match("*")'],
        on_function_registration_function_id: 'hook::function',
        on_trigger_registration_function_id: 'hook::trigger',
        on_trigger_type_registration_function_id: 'hook::type',
      },
      access_timeout_ms: 300,
    },
    { workers: [{ name: 'iii-pubsub' }, { name: 'iii-state' }] },
  );
  trusted = await RawWorker.connect(bed.trusted);
  trusted.serve('door::auth', () => grant);
  for (const id of ['hook::function', 'hook::trigger', 'hook::type'])
    trusted.serve(id, (input) => {
      asked.push(input as Record<string, unknown>);
      return hook(input as Record<string, unknown>);
    });
  trusted.serve('charge', () => 'trusted');
  await settled(trusted);
});
afterAll(() => bed.stop());
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close();
  [grant, hook, asked] = [{}, () => ({}), []];
});

async function session(what: object = {}): Promise<RawWorker> {
  grant = { allow_trigger_type_registration: true, ...what };
  const worker = await RawWorker.connect(bed.guarded);
  workers.push(worker);
  return worker;
}
const exists = (id: string): Promise<boolean> =>
  trusted.call('engine::functions::info', { function_id: id }).then(
    () => true,
    () => false,
  );
const logged = (text: string): Promise<unknown> =>
  waitFor(() => bed.log().includes(text), { what: `'${text}' in the log` });
const subscribe = (id: string, topic: string, functionId: string): object => ({
  type: 'registertrigger',
  id,
  trigger_type: 'subscribe',
  function_id: functionId,
  config: { topic },
});

describe('functions', () => {
  it('are stored under the prefix, called by their own id, and unregistered by it', async () => {
    const worker = await session({ function_registration_prefix: 'acme' });
    const seen: unknown[] = [];
    worker.serve('echo', (data, frame) => {
      seen.push(frame['function_id']);
      return data;
    });
    worker.describe({ name: 'acme-1' });
    await settled(worker);
    expect(asked).toEqual([
      { function_id: 'echo', description: null, metadata: null, namespace: 'default', context: {} },
    ]);
    await expect(trusted.call('acme::echo', { n: 1 })).resolves.toMatchObject({ n: 1 });
    await expect(trusted.call('echo', {})).rejects.toMatchObject({ code: 'function_not_found' });
    expect(seen).toEqual(['echo']);
    worker.send({ type: 'unregisterfunction', id: 'echo' });
    await settled(worker);
    expect(await exists('acme::echo')).toBe(false);
  });

  it('are what the hook makes of them', async () => {
    hook = () => ({ function_id: 'renamed', description: 'from the hook', metadata: { by: 'hook' } });
    const worker = await session({ function_registration_prefix: 'acme', context: { tenant: 7 } });
    const seen: unknown[] = [];
    worker.serve('mine', (_data, frame) => void seen.push(frame['function_id']), { description: 'mine' });
    await settled(worker);
    expect(asked[0]).toMatchObject({ function_id: 'mine', description: 'mine', context: { tenant: 7 } });
    await expect(trusted.call('engine::functions::info', { function_id: 'acme::renamed' })).resolves.toMatchObject({
      description: 'from the hook',
      metadata: { by: 'hook' },
    });
    await trusted.call('acme::renamed', {});
    expect(seen).toEqual(['mine']);
    worker.send({ type: 'unregisterfunction', id: 'mine' });
    await settled(worker);
    expect(await exists('acme::renamed')).toBe(false);
  });

  it('are refused by a hook that says no, throws, answers nonsense or nothing; the log names the worker', async () => {
    const answers: Record<string, Hook> = {
      'no::null': () => null,
      'no::text': () => 'yes',
      'no::list': () => [],
      'no::wrong': () => ({ function_id: 5 }),
      'no::empty': () => ({ function_id: '' }),
      'no::throws': () => {
        throw new Error('no luck');
      },
      'no::late': () => new Promise(() => undefined),
    };
    hook = (input) => (answers[String(input['function_id'])] as Hook)(input);
    const worker = await session();
    for (const id of Object.keys(answers)) worker.serve(id, () => 1);
    worker.describe({ name: 'tenant-worker' });
    await settled(worker);
    for (const id of Object.keys(answers)) {
      expect(await exists(id), id).toBe(false);
      await waitFor(() => new RegExp(`refused by access rules.*${id}.*tenant-worker`).test(bed.log()), { what: id });
    }
    expect(bed.log()).toContain('no luck');
    expect(bed.log()).toContain('no answer within 300 ms');
  });

  it('are refused where the auth function allows none', async () => {
    const worker = await session({ allow_function_registration: false });
    worker.serve('not::allowed', () => 1);
    await settled(worker);
    expect(await exists('not::allowed')).toBe(false);
    expect(asked).toEqual([]);
    await logged('not::allowed');
  });

  it('come in the order of the frames, however long the hook takes', async () => {
    let answer: () => void = () => undefined;
    hook = () => new Promise((resolve) => (answer = () => resolve({})));
    const worker = await session();
    worker.serve('slow::echo', (data) => data);
    const called = worker.call('slow::echo', { n: 2 });
    await waitFor(() => asked.length === 1);
    answer();
    await expect(called).resolves.toMatchObject({ n: 2 });
  });

  it('of the engine, of built-ins, of workers without rules and of the rules themselves stay theirs', async () => {
    const worker = await session();
    const ids = ['engine::mine', 'engine::log::info', 'state::get', 'charge', 'door::auth', 'hook::function'];
    for (const id of ids) worker.serve(id, () => 'stolen');
    worker.describe({ name: 'thief' });
    await settled(worker);
    for (const id of ids)
      await waitFor(() => new RegExp(`refused by access rules.*${id}.*thief`).test(bed.log()), { what: id });
    expect(await trusted.call('charge', {})).toBe('trusted');
    expect(await exists('engine::mine')).toBe(false);
    expect(await trusted.call('state::get', { scope: 'a', key: 'b' })).not.toBe('stolen');
    await session(); // still admitted by the real auth function
  });

  it('of a peer behind the same rules may be taken over', async () => {
    const [first, second] = [await session(), await session()];
    for (const [worker, name] of [
      [first, 'first'],
      [second, 'second'],
    ] as const) {
      worker.serve('shared', () => name);
      await worker.call('engine::workers::register', { name, runtime: 'node' });
    }
    expect(await trusted.call('shared', {})).toBe('second');
  });

  it('that would take a place in the namespace they move to do not come along', async () => {
    const shop = await RawWorker.connect(bed.trusted);
    workers.push(shop);
    shop.serve('price', () => 'shop');
    await shop.call('engine::workers::register', { name: 'shop', namespace: 'shop', runtime: 'node' });
    const worker = await session({ namespaces: { shop: [] } });
    worker.serve('price', () => 'stolen');
    worker.serve('other', () => 'mine');
    await worker.call('engine::workers::register', { name: 'mover', namespace: 'shop', runtime: 'node' });
    expect(await trusted.call('price', {}, { namespace: 'shop' })).toBe('shop');
    expect(await trusted.call('other', {}, { namespace: 'shop' })).toBe('mine');
  });

  it('may not name secrets of the engine', async () => {
    const worker = await session();
    const invocation = { url: 'https://evil.example', auth: { type: 'bearer', token_key: 'SECRET' } };
    worker.send({ type: 'registerfunction', id: 'leak', invocation });
    await settled(worker);
    expect(await exists('leak')).toBe(false);
    await logged('may not name secrets');
  });
});

describe('triggers', () => {
  it('call the prefixed function, and are what the hook makes of them', async () => {
    const worker = await session({ function_registration_prefix: 'acme' });
    const got: unknown[] = [];
    worker.serve('on::event', (data) => void got.push(data));
    await settled(worker);
    hook = () => ({ config: { topic: 'hooked' }, trigger_id: 'hooked-id' });
    asked = [];
    worker.send({ ...subscribe('t1', 'plain', 'on::event'), metadata: { m: 1 } });
    await settled(worker);
    expect(asked).toEqual([
      {
        trigger_id: 't1',
        trigger_type: 'subscribe',
        function_id: 'on::event',
        config: { topic: 'plain' },
        metadata: { m: 1 },
        namespace: 'default',
        context: {},
      },
    ]);
    await expect(trusted.call('engine::registered-triggers::info', { id: 'hooked-id' })).resolves.toMatchObject({
      function_id: 'acme::on::event',
      config: { topic: 'hooked' },
    });
    await trusted.call('publish', { topic: 'hooked', data: { n: 1 } });
    await waitFor(() => got.length === 1);
    worker.send({ type: 'unregistertrigger', id: 't1' });
    await settled(worker);
    await expect(trusted.call('engine::registered-triggers::info', { id: 'hooked-id' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('are refused by type and by hook, each with an answer that tells nothing of the hook', async () => {
    const worker = await session({ allowed_trigger_types: ['subscribe'] });
    worker.send({ type: 'registertrigger', id: 'state', trigger_type: 'state', function_id: 'charge', config: {} });
    expect(await worker.frame('triggerregistrationresult', ({ id }) => id === 'state')).toMatchObject({
      error: { code: 'FORBIDDEN', message: "Trigger type 'state' is not allowed for this session." },
    });
    const answers: Record<string, Hook> = {
      null: () => null,
      late: () => new Promise(() => undefined),
      throws: () => {
        throw new Error('inner matters');
      },
    };
    hook = (input) => (answers[String(input['trigger_id'])] as Hook)(input);
    for (const id of Object.keys(answers)) worker.send(subscribe(id, 'x', 'charge'));
    for (const id of Object.keys(answers))
      expect(await worker.frame('triggerregistrationresult', (frame) => frame['id'] === id)).toMatchObject({
        trigger_type: 'subscribe',
        function_id: 'charge',
        error: { code: 'FORBIDDEN', message: 'not allowed by the access rules of this listener' },
      });
    await logged('inner matters');
  });

  it('of nobody go through type list, prefix and hook as well', async () => {
    const worker = await session({ function_registration_prefix: 'acme', allowed_trigger_types: ['subscribe'] });
    const register = (trigger_type: string): Promise<unknown> =>
      worker.call('engine::register_trigger', { trigger_type, function_id: 'fn', config: { topic: 'p' } });
    await expect(register('state')).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: "Trigger type 'state' is not allowed for this session.",
    });
    const { id } = (await register('subscribe')) as { id: string };
    await expect(trusted.call('engine::registered-triggers::info', { id })).resolves.toMatchObject({
      function_id: 'acme::fn',
    });
    expect(await register('subscribe')).toEqual({ id });
    hook = () => null;
    await expect(register('subscribe')).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await trusted.call('engine::unregister_trigger', { id });
  });
});

describe('trigger types', () => {
  it('are refused by default', async () => {
    const worker = await session({ allow_trigger_type_registration: false });
    worker.send({ type: 'registertriggertype', id: 'webhook', description: 'd' });
    await settled(worker);
    await expect(trusted.call('engine::triggers::info', { id: 'webhook' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('are what the hook makes of them; the worker keeps its own name for them', async () => {
    hook = () => ({ trigger_type_id: 'acme-webhook', description: 'hooked' });
    const worker = await session();
    worker.send({ type: 'registertriggertype', id: 'webhook', description: 'd' });
    await settled(worker);
    expect(asked).toEqual([{ trigger_type_id: 'webhook', description: 'd', context: {} }]);
    trusted.send({ type: 'registertrigger', id: 'w1', trigger_type: 'acme-webhook', function_id: 'charge', config: 1 });
    expect(await worker.frame('registertrigger')).toMatchObject({ id: 'w1', trigger_type: 'webhook' });
    trusted.send({ type: 'unregistertrigger', id: 'w1' });
    expect(await worker.frame('unregistertrigger')).toMatchObject({ id: 'w1', trigger_type: 'webhook' });
    worker.send({ type: 'unregistertriggertype', id: 'webhook' });
    await settled(worker);
    await expect(trusted.call('engine::triggers::info', { id: 'acme-webhook' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('of others stay theirs, and a hook may say no', async () => {
    const worker = await session();
    hook = (input) => (input['trigger_type_id'] === 'denied' ? null : {});
    for (const id of ['subscribe', 'engine::mine', 'denied'])
      worker.send({ type: 'registertriggertype', id, description: 'stolen' });
    await settled(worker);
    await expect(trusted.call('engine::triggers::info', { id: 'subscribe' })).resolves.not.toMatchObject({
      description: 'stolen',
    });
    for (const id of ['engine::mine', 'denied'])
      await expect(trusted.call('engine::triggers::info', { id })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

it('without an auth function everything may be registered', async () => {
  const open = await accessBed({ rbac: { expose_functions: [] } });
  try {
    const worker = await RawWorker.connect(open.guarded);
    worker.serve('own', () => 1);
    worker.send({ type: 'registertriggertype', id: 'own-type', description: 'd' });
    await settled(worker);
    const outside = await RawWorker.connect(open.trusted);
    expect(await outside.call('own', {})).toBe(1);
    await outside.call('engine::triggers::info', { id: 'own-type' });
    await expect(worker.call('own', {})).rejects.toMatchObject({ code: 'FORBIDDEN' });
  } finally {
    await open.stop();
  }
});

it('a client cannot reattach on another listener', async () => {
  const worker = await session();
  await worker.call('engine::workers::register', { name: 'w', runtime: 'node', version: '0.22.1' });
  const other = await RawWorker.connect(bed.trusted);
  workers.push(other);
  other.reattach(worker);
  await settled(other);
  await settled(worker);
  expect(worker.isOpen).toBe(true);
});
