import { FakeClock, RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEngine, type Engine } from '../../engine.js';
import { oneNamespace } from './one-namespace.js';

type Row = Readonly<Record<string, unknown>>;

/** More than any change is gathered for, in milliseconds of the engine's clock. */
const GATHERED_MS = 1_000;

describe('discovery', () => {
  let folder: TempFolder;
  let engine: Engine;
  const open: RawWorker[] = [];
  const clock = new FakeClock();

  const connect = async (namespace?: string): Promise<RawWorker> => {
    const worker = await RawWorker.connect(engine.url);
    open.push(worker);
    const data = { runtime: 'node', name: 'twin', pid: 1, version: '0.23.0', namespace };
    await worker.ask('engine::workers::register', data);
    return worker;
  };
  const fails = (worker: RawWorker, id: string, payload: object, message: string): Promise<void> =>
    expect(worker.call(id, payload)).rejects.toMatchObject({ code: 'NOT_FOUND', message });

  beforeEach(async () => {
    folder = await tempFolder();
    const config = { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }] };
    engine = await createEngine({ cwd: folder.path, clock, logLevel: 'silent', config });
    await engine.start();
  });

  afterEach(async () => {
    for (const worker of open.splice(0)) worker.drop();
    await engine.stop();
    await folder.remove();
  });

  it('finds what is in one namespace only, and asks for one where there are several', async () => {
    const [a, b] = [await connect('a'), await connect('b')];
    for (const worker of [a, b]) {
      worker.serve('shared::f', () => null);
      worker.send({ type: 'registertriggertype', id: 'tide', description: 'Tides' });
      await worker.call('engine::functions::list', {});
    }
    a.serve('only::a', () => null);
    const several = "several namespaces ('a', 'b'). Pass `namespace` to select one.";
    expect(await a.call('engine::functions::info', { function_id: 'only::a' })).toMatchObject({ namespace: 'a' });
    await fails(
      a,
      'engine::functions::info',
      { function_id: 'shared::f' },
      `Function 'shared::f' is registered in ${several}`,
    );
    await fails(a, 'engine::triggers::info', { id: 'tide' }, `Trigger type 'tide' is registered in ${several}`);
    await fails(a, 'engine::workers::info', { name: 'twin' }, `Worker 'twin' is connected in ${several}`);
    const named = { namespace: 'b' };
    expect(await a.call('engine::functions::info', { function_id: 'shared::f', ...named })).toMatchObject(named);
    expect(await a.call('engine::triggers::info', { id: 'tide', ...named })).toMatchObject({
      ...named,
      instance_count: 0,
    });
    expect(await a.call('engine::workers::info', { name: 'twin', ...named })).toMatchObject({
      worker: { id: b.id, ...named },
      functions: [{ function_id: 'shared::f', ...named }],
      trigger_types: [{ id: 'tide', ...named }],
    });
    await fails(
      a,
      'engine::functions::info',
      { function_id: 'only::a', ...named },
      "Function 'only::a' is not registered in namespace 'b'.",
    );
    await fails(a, 'engine::functions::info', { function_id: 'no::such' }, "Function 'no::such' is not registered.");
    // Where a call would reach a built-in of the default namespace, a question does too.
    expect(await a.call('engine::functions::info', { function_id: 'engine::health::check', ...named })).toMatchObject({
      namespace: 'default',
    });
  });

  it('prefers the default namespace where none is named', () => {
    expect(oneNamespace('X', 'there', null, ['b', 'default'])).toBe('default');
    expect(oneNamespace('X', 'there', 'b', ['b', 'default'])).toBe('b');
    expect(() => oneNamespace('X', 'there', undefined, [])).toThrow('X is not there.');
  });

  it('lists the engine’s own functions as a worker too', async () => {
    const worker = await connect();
    const { workers } = (await worker.call('engine::workers::list', { search: 'engine-functions' })) as {
      workers: Row[];
    };
    expect(workers).toMatchObject([
      { name: 'iii-engine-functions', internal: true, runtime: 'engine', status: 'available' },
    ]);
    const info = (await worker.call('engine::workers::info', { name: 'iii-engine-functions' })) as { functions: Row[] };
    expect(info.functions.map(({ function_id }) => function_id)).toContain('engine::workers::list');
  });

  it('tells of many changes at once in one event, and of none to those who do not listen', async () => {
    const worker = await connect();
    const events: Row[] = [];
    worker.serve('on::change', (event) => void events.push(event as Row));
    const trigger = {
      id: 't',
      trigger_type: 'engine::functions-available',
      function_id: 'on::change',
      config: {},
      metadata: { m: 1 },
    };
    worker.send({ type: 'registertrigger', ...trigger });
    await worker.call('engine::functions::list', {});
    await clock.advance(GATHERED_MS);
    for (let n = 0; n < 50; n++) worker.serve(`many::f${n}`, () => null);
    await worker.call('engine::functions::list', {});
    await clock.advance(GATHERED_MS);
    await waitFor(() => events.length > 0);
    worker.send({ type: 'unregisterfunction', id: 'many::f0' });
    worker.serve('many::f0', () => null, { description: undefined });
    await worker.call('engine::functions::list', {});
    await clock.advance(GATHERED_MS);
    worker.serve('many::f1', () => null, { metadata: { price: 1 } });
    await worker.call('engine::functions::list', {});
    await clock.advance(GATHERED_MS);
    await waitFor(() => events.length === 2, { what: 'the event about metadata' });
    expect(
      (events[0]?.['functions'] as Row[]).filter(({ function_id }) => String(function_id).startsWith('many::')),
    ).toHaveLength(50);
    expect(worker.frames.filter(({ type }) => type === 'invokefunction').map(({ metadata }) => metadata)).toEqual([
      { m: 1 },
      { m: 1 },
    ]);
  });
});
