/** Registrations count in full once a worker has described itself, in the namespace that it declares. */
import { createEngine, type Engine } from '@trine/engine';
import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let engine: Engine;
let folder: TempFolder;

async function start(provisionalMs: number): Promise<void> {
  engine = await createEngine({
    config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, { name: 'state' }, { name: 'pubsub' }] },
    cwd: folder.path,
    logLevel: 'error',
    limits: { provisionalMs },
  });
  await engine.start();
}

beforeEach(async () => {
  folder = await tempFolder();
  await start(60_000);
});
afterEach(async () => {
  await engine.stop();
  await folder.remove();
});

const INFO = { runtime: 'python', version: '0.25.0' } as const;

async function settled(worker: RawWorker): Promise<void> {
  await worker.ask('nobody::here', null);
}

async function described(name: string, namespace?: string): Promise<RawWorker> {
  const worker = await RawWorker.connect(engine.url);
  worker.describe({ name, ...INFO, ...(namespace === undefined ? {} : { namespace }) });
  await settled(worker);
  return worker;
}

describe('a worker that has not described itself yet', () => {
  it('serves where nobody else does, and itself', async () => {
    const old = await described('old');
    old.serve('shared', () => 'old');
    await settled(old);
    const fresh = await RawWorker.connect(engine.url);
    fresh.serve('shared', () => 'fresh');
    fresh.serve('alone', () => 'fresh');
    expect(await fresh.call('shared', {}), 'its own call').toBe('fresh');
    expect(await old.call('shared', {})).toBe('old');
    expect(await old.call('alone', {})).toBe('fresh');
    fresh.describe({ name: 'fresh', ...INFO });
    await settled(fresh);
    expect(await old.call('shared', {})).toBe('fresh');
  });

  it('counts in full when it has had the time to: some never do', async () => {
    await engine.stop();
    await start(100);
    const old = await described('old');
    old.serve('shared', () => 'old');
    await settled(old);
    const fresh = await RawWorker.connect(engine.url);
    fresh.serve('shared', () => 'fresh');
    await settled(fresh);
    await waitFor(async () => (await old.call('shared', {})) === 'fresh');
  });

  it('reaches its own functions in the namespace that it is about to declare', async () => {
    const fresh = await RawWorker.connect(engine.url);
    fresh.serve('shop::price', () => 12);
    expect(await fresh.call('shop::price', {}, { namespace: 'shop' })).toBe(12);
  });
});

describe('a namespace', () => {
  it('takes all that its worker registered, as one', async () => {
    const other = await described('other');
    other.serve('shop::price', () => 'default');
    await settled(other);
    const shop = await RawWorker.connect(engine.url);
    shop.serve('shop::price', () => 'shop');
    shop.serve('shop::stock', () => 3);
    shop.describe({ name: 'shop', ...INFO, namespace: 'shop' });
    await settled(shop);
    expect(await other.call('shop::price', {})).toBe('default');
    expect(await other.call('shop::price', {}, { namespace: 'shop' })).toBe('shop');
    await expect(other.call('shop::stock', {})).rejects.toMatchObject({
      code: 'function_not_found',
      message: 'Function shop::stock not found. It is registered in namespace(s): shop.',
    });
    const { functions } = (await other.call('engine::functions::list', { prefix: 'shop::' })) as {
      functions: { function_id: string; namespace: string }[];
    };
    expect(functions.map(({ function_id, namespace }) => `${namespace}/${function_id}`).sort()).toEqual([
      'default/shop::price',
      'shop/shop::price',
      'shop/shop::stock',
    ]);
  });

  it('falls back to built-ins of default for calls and trigger types, and to nobody else', async () => {
    const other = await described('other');
    other.serve('plain', () => 1);
    other.send({ type: 'registertriggertype', id: 'timer', description: 'Timer' });
    const shop = await described('shop', 'shop');
    await shop.call('state::set', { scope: 's', key: 'k', value: 1 }, { namespace: 'shop' });
    expect(await other.call('state::get', { scope: 's', key: 'k' })).toBe(1);
    await expect(shop.call('plain', {}, { namespace: 'shop' })).rejects.toMatchObject({ code: 'function_not_found' });

    const heard: unknown[] = [];
    shop.serve('shop::hear', (data) => void heard.push(data));
    for (const [id, type] of [
      ['t1', 'subscribe'],
      ['t2', 'timer'],
    ]) {
      shop.send({
        type: 'registertrigger',
        id,
        trigger_type: type,
        function_id: 'shop::hear',
        namespace: 'shop',
        config: { topic: 'news' },
      });
    }
    await settled(shop);
    await other.call('publish', { topic: 'news', data: 'hello' });
    await waitFor(() => heard.length === 1);
    const { registered_triggers } = (await other.call('engine::registered-triggers::list', {})) as {
      registered_triggers: { id: string; status?: string }[];
    };
    expect(registered_triggers.find(({ id }) => id === 't2')?.status).toBe('pending');
    expect(other.frames.some(({ type }) => type === 'registertrigger')).toBe(false);
  });

  it('takes the trigger types of its worker along, and triggers find them there first', async () => {
    const provider = await RawWorker.connect(engine.url);
    provider.send({ type: 'registertriggertype', id: 'timer', description: 'Timer' });
    provider.describe({ name: 'provider', ...INFO, namespace: 'shop' });
    await settled(provider);
    const user = await RawWorker.connect(engine.url);
    user.send({
      type: 'registertrigger',
      id: 't1',
      trigger_type: 'timer',
      function_id: 'f',
      namespace: 'shop',
      config: {},
    });
    await settled(user);
    expect(provider.frames.some(({ type }) => type === 'registertrigger')).toBe(false);
    user.describe({ name: 'user', ...INFO, namespace: 'shop' });
    expect(await provider.frame('registertrigger')).toMatchObject({
      id: 't1',
      namespace: 'shop',
      trigger_namespace: 'shop',
    });
  });

  it.each(['', ' \t'])('must not be blank (%j)', async (blank) => {
    const worker = await RawWorker.connect(engine.url);
    await expect(worker.call('state::get', {}, { namespace: blank })).rejects.toMatchObject({
      code: 'INVALID_NAMESPACE',
    });
    for (const field of ['namespace', 'trigger_namespace']) {
      const trigger = { id: field, trigger_type: 'state', function_id: 'f', config: {}, [field]: blank };
      worker.send({ type: 'registertrigger', ...trigger });
      const { error } = await worker.frame('triggerregistrationresult', ({ id }) => id === field);
      expect(error).toMatchObject({
        code: 'INVALID_NAMESPACE',
        message: expect.stringContaining(`\`${field}\``) as unknown,
      });
    }
    worker.send({ type: 'registertriggertype', id: 'nowhere', description: '', namespace: blank });
    await settled(worker);
    expect([...engine.core.bindings.types()].some(({ id }) => id === 'nowhere')).toBe(false);
    await expect(
      worker.call('engine::workers::register', { runtime: 'python', name: 'x', namespace: blank }),
    ).rejects.toMatchObject({ code: 'INVALID_NAMESPACE' });
  });

  it('may have two workers of one name', async () => {
    const [first, second] = [await described('twin', 'shop'), await described('twin', 'shop')];
    await settled(first);
    await settled(second);
    expect([first.isOpen, second.isOpen]).toEqual([true, true]);
  });
});
