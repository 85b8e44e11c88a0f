/** Triggers of `engine::register_trigger` belong to no worker and outlive the engine. */
import { createEngine, type Engine } from '@trine/engine';
import { RawWorker, tempFolder, waitFor, type Frame, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let engine: Engine;
let folder: TempFolder;

async function start(): Promise<void> {
  engine = await createEngine({
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'http', config: { host: '127.0.0.1', port: 0 } },
      ],
    },
    cwd: folder.path,
    logLevel: 'error',
  });
  await engine.start();
}

beforeEach(async () => {
  folder = await tempFolder();
  await start();
});
afterEach(async () => {
  await engine.stop();
  await folder.remove();
});

const ROUTE = { trigger_type: 'http', function_id: 'shop::price', config: { api_path: '/price', http_method: 'GET' } };

async function serve(): Promise<RawWorker> {
  const worker = await RawWorker.connect(engine.url);
  worker.serve('shop::price', () => ({ status_code: 200, body: { price: 12 } }));
  await worker.ask('nobody::here', null);
  return worker;
}

async function rows(worker: RawWorker): Promise<{ id: string; persistent?: boolean; status: string }[]> {
  const answer = await worker.call('engine::registered-triggers::list', {});
  return (answer as { registered_triggers: { id: string; persistent?: boolean; status: string }[] })
    .registered_triggers;
}

const get = (): Promise<Response> => fetch(`http://127.0.0.1:${engine.ports['http'] ?? 0}/price`);

describe('a trigger that belongs to no worker', () => {
  it('serves again after a restart, under its id, until it is removed', async () => {
    const { id } = (await (await serve()).call('engine::register_trigger', ROUTE)) as { id: string };
    expect((await get()).status).toBe(200);
    await engine.stop();
    await start();
    const worker = await serve();
    expect(await (await get()).json()).toEqual({ price: 12 });
    expect(await rows(worker)).toMatchObject([{ id, persistent: true, status: 'active' }]);
    expect(await worker.call('engine::unregister_trigger', { id })).toEqual({ removed: true });
    expect((await get()).status).toBe(404);
    await engine.stop();
    await start();
    expect(await rows(await serve())).toEqual([]);
  });

  it('is one, however often it is registered, with the metadata of the last time', async () => {
    const worker = await serve();
    const ids = await Promise.all(
      [1, 2, 3].map((n) => worker.call('engine::register_trigger', { ...ROUTE, metadata: { n } })),
    );
    expect(new Set(ids.map((answer) => (answer as { id: string }).id)).size).toBe(1);
    const [first] = await rows(worker);
    expect(await worker.call('engine::registered-triggers::info', { id: first?.id })).toMatchObject({
      metadata: { n: 3 },
    });
    await engine.stop();
    await start();
    expect(await rows(await serve())).toHaveLength(1);
  });

  it('waits for the answer of a provider on a socket, and is not kept when that refuses', async () => {
    const provider = await RawWorker.connect(engine.url);
    provider.send({ type: 'registertriggertype', id: 'timer', description: 'Timer' });
    await provider.ask('nobody::here', null);
    const worker = await serve();
    const registered = worker.call('engine::register_trigger', {
      trigger_type: 'timer',
      function_id: 'shop::price',
      config: { every: 0 },
    });
    const frame = await provider.frame('registertrigger');
    provider.send({
      type: 'triggerregistrationresult',
      id: frame['id'],
      trigger_type: 'timer',
      function_id: 'shop::price',
      error: { code: 'bad_interval', message: 'every must be positive' },
    });
    await expect(registered).rejects.toMatchObject({
      code: 'trigger_registration_failed',
      message: 'bad_interval: every must be positive',
    });
    expect(await rows(worker)).toEqual([]);
  });

  it('stays as it was when its provider refuses other metadata', async () => {
    const provider = await RawWorker.connect(engine.url);
    provider.send({ type: 'registertriggertype', id: 'timer', description: 'Timer' });
    await provider.ask('nobody::here', null);
    const worker = await serve();
    let told = 0;
    const register = (n: number): Promise<unknown> =>
      worker.call('engine::register_trigger', { trigger_type: 'timer', function_id: 'shop::price', metadata: { n } });
    const answer = async (): Promise<void> => {
      const frames = (): Frame[] => provider.frames.filter(({ type }) => type === 'registertrigger');
      const frame = await waitFor(() => frames()[told]);
      told++;
      const { id, metadata } = frame as Frame & { metadata: { n: number } };
      const error = metadata.n > 1 ? { error: { code: 'too_many', message: 'one is enough' } } : {};
      const words = { trigger_type: 'timer', function_id: 'shop::price' };
      provider.send({ type: 'triggerregistrationresult', id, ...words, ...error });
    };
    const [first] = await Promise.all([register(1), answer()]);
    const { id } = first as { id: string };
    const second = register(2);
    await answer();
    await answer(); // told again of the one that it had
    await expect(second).rejects.toMatchObject({ message: 'too_many: one is enough' });
    expect(await rows(worker)).toMatchObject([{ id, status: 'active', persistent: true }]);
    expect(await worker.call('engine::registered-triggers::info', { id })).toMatchObject({ metadata: { n: 1 } });
    expect(await worker.call('engine::unregister_trigger', { id })).toEqual({ removed: true });
    await engine.stop();
    await start();
    expect(await rows(await serve())).toEqual([]);
  });

  it('of a type that nobody provides waits for it, also over a restart', async () => {
    await (await serve()).call('engine::register_trigger', { trigger_type: 'timer', function_id: 'shop::price' });
    await engine.stop();
    await start();
    const provider = await RawWorker.connect(engine.url);
    expect(await rows(provider)).toMatchObject([{ status: 'pending', persistent: true }]);
    provider.send({ type: 'registertriggertype', id: 'timer', description: 'Timer' });
    expect(await provider.frame('registertrigger')).toMatchObject({ function_id: 'shop::price', config: null });
    await waitFor(async () => (await rows(provider))[0]?.status === 'active');
  });
});
