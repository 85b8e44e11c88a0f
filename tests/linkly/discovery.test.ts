/** What workers of two SDK generations find when they ask the engine who offers what. */
import { createEngine, type Engine } from '@trine/engine';
import { FakeClock, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import * as sdk11 from 'iii-sdk-0.11';
import * as sdk22 from 'iii-sdk-0.22';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

/** More than any change is gathered for, in milliseconds of the engine's clock. */
const GATHERED_MS = 5_000;

type Worker = ReturnType<typeof sdk22.registerWorker>;
type Row = Readonly<Record<string, unknown>>;

let folder: TempFolder;
let engine: Engine;
let old: Worker;
let young: Worker;
const clock = new FakeClock();

const connectOld = (name: string): Worker =>
  sdk11.registerWorker(engine.url, { workerName: name, otel: { enabled: false } });
const connectYoung = (name: string): Worker =>
  sdk22.registerWorker(engine.url, { workerName: name, otel: { enabled: false } });

function ask<T>(worker: Worker, functionId: string, payload: unknown = {}): Promise<T> {
  return worker.trigger<unknown, T>({ function_id: functionId, payload });
}

async function functionIds(worker: Worker): Promise<unknown[]> {
  const { functions } = await ask<{ functions: Row[] }>(worker, 'engine::functions::list');
  return functions.map(({ function_id }) => function_id);
}

beforeAll(async () => {
  folder = await tempFolder('trine-discovery-');
  engine = await createEngine({
    cwd: folder.path,
    clock,
    logLevel: 'silent',
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'iii-http', config: { port: 0 } },
        { name: 'iii-queue' },
        { name: 'iii-state' },
      ],
    },
  });
  await engine.start();
  old = connectOld('old');
  young = connectYoung('young');
  for (const [name, worker] of [
    ['old', old],
    ['young', young],
  ] as const) {
    worker.registerFunction(`${name}::page`, async () => ({ status_code: 200 }), { description: `A page of ${name}` });
    worker.registerTrigger({
      type: 'http',
      function_id: `${name}::page`,
      config: { api_path: `/${name}`, http_method: 'GET' },
    });
  }
  await waitFor(async () => {
    const { registered_triggers } = await ask<{ registered_triggers: Row[] }>(
      young,
      'engine::registered-triggers::list',
    );
    const { workers } = await ask<{ workers: Row[] }>(young, 'engine::workers::list');
    const names = workers.map(({ name }) => name);
    return registered_triggers.length === 2 && names.includes('old') && names.includes('young');
  });
});

afterAll(async () => {
  await Promise.all([old?.shutdown(), young?.shutdown()]);
  await engine?.stop();
  await folder?.remove();
});

describe.each([
  ['iii-sdk 0.11.6', (): Worker => old, connectOld],
  ['iii-sdk 0.22.1', (): Worker => young, connectYoung],
] as const)('linkly - discovery by %s', (_sdk, worker, connect) => {
  it('lists the functions of all workers, without the engine’s own', async () => {
    const ids = await functionIds(worker());
    expect(ids).toEqual(expect.arrayContaining(['old::page', 'young::page', 'state::set']));
    expect(ids.filter((id) => String(id).startsWith('engine::') && !String(id).startsWith('engine::queue::'))).toEqual(
      [],
    );
    const { functions } = await ask<{ functions: Row[] }>(worker(), 'engine::functions::list', {
      include_internal: true,
    });
    expect(functions.length).toBeGreaterThan(ids.length);
  });

  it('lists a function as soon as it is registered, and no longer once it is not', async () => {
    const reference = worker().registerFunction('brief::visit', async () => null);
    expect(await functionIds(worker())).toContain('brief::visit');
    reference.unregister();
    expect(await functionIds(worker())).not.toContain('brief::visit');
    await expect(ask(worker(), 'brief::visit')).rejects.toMatchObject({ code: 'function_not_found' });
  });

  it('lists workers with the keys of both generations', async () => {
    const answer = await ask<{ workers: Row[]; timestamp: unknown }>(worker(), 'engine::workers::list');
    expect(answer.timestamp).toBe(clock.now());
    for (const [name, version] of [
      ['old', '0.11.6'],
      ['young', '0.22.1'],
    ]) {
      const row = answer.workers.find((each) => each['name'] === name);
      expect(row).toMatchObject({
        runtime: 'node',
        version,
        status: 'connected',
        pid: process.pid,
        ip_address: '127.0.0.1',
      });
      expect(row?.['functions']).toContain(`${name}::page`);
      expect(row?.['function_count']).toBe((row?.['functions'] as unknown[]).length);
      expect(typeof row?.['id']).toBe('string');
      expect(typeof row?.['connected_at_ms']).toBe('number');
    }
  });

  it('describes a function, a trigger type and a worker, and names what it does not know', async () => {
    expect(await ask(worker(), 'engine::functions::info', { function_id: 'old::page' })).toMatchObject({
      function_id: 'old::page',
      worker_name: 'old',
      description: 'A page of old',
      registered_triggers: [{ trigger_type: 'http', config: { api_path: '/old', http_method: 'GET' } }],
    });
    expect(await ask(worker(), 'engine::triggers::info', { id: 'http' })).toMatchObject({
      id: 'http',
      instance_count: 2,
      configuration_schema: { type: 'object' },
    });
    expect(await ask(worker(), 'engine::workers::info', { name: 'young' })).toMatchObject({
      worker: { name: 'young', version: '0.22.1' },
      functions: [{ function_id: 'young::page' }],
      registered_triggers: [{ trigger_type: 'http', function_id: 'young::page' }],
    });
    await expect(ask(worker(), 'engine::functions::info', { function_id: 'no::such' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining("Function 'no::such' is not registered") as string,
    });
  });

  describe('triggers', () => {
    const events: Row[] = [];
    const functionId = `${_sdk.replaceAll(/\W/g, '-')}::on_event`;
    beforeEach(() => void events.splice(0));

    it('fire when the set of functions changes, until they are unregistered', async () => {
      const reference = worker().registerFunction(functionId, async (event: Row) => void events.push(event));
      const trigger = worker().registerTrigger({
        type: 'engine::functions-available',
        function_id: functionId,
        config: {},
      });
      const told = (id: string) => (): boolean =>
        events.some(
          (event) =>
            event['event'] === 'functions_changed' &&
            (event['functions'] as Row[]).some(({ function_id }) => function_id === id),
        );
      const other = connect('newcomer');
      other.registerFunction('newcomer::hello', async () => null);
      await waitFor(async () => (await functionIds(worker())).includes('newcomer::hello'));
      await clock.advance(GATHERED_MS);
      await waitFor(told('newcomer::hello'), { what: 'the event' });
      await other.shutdown();
      await waitFor(async () => !(await functionIds(worker())).includes('newcomer::hello'));

      // What had been gathered is told now; the answers on this socket come after it.
      await clock.advance(GATHERED_MS);
      trigger.unregister();
      await functionIds(worker());
      events.splice(0);
      worker().registerFunction('newcomer::again', async () => null);
      await functionIds(worker());
      await clock.advance(GATHERED_MS);
      await functionIds(worker());
      expect(events).toEqual([]);
      reference.unregister();
    });

    it('do not fire when another worker serves a function that is known, or one comes and goes at once', async () => {
      const reference = worker().registerFunction(functionId, async (event: Row) => void events.push(event));
      const trigger = worker().registerTrigger({
        type: 'engine::functions-available',
        function_id: functionId,
        config: {},
      });
      await functionIds(worker());
      await clock.advance(GATHERED_MS);
      await functionIds(worker());
      events.splice(0);
      const other = connect('second');
      other.registerFunction('old::page', async () => null, { description: 'A page of old' });
      await ask(other, 'engine::functions::list');
      other.registerFunction('brief::visit', async () => null).unregister();
      await ask(other, 'engine::functions::list');
      await clock.advance(GATHERED_MS);
      await functionIds(worker());
      expect(events).toEqual([]);
      trigger.unregister();
      reference.unregister();
      await other.shutdown();
      await waitFor(async () => {
        const { workers } = await ask<{ workers: Row[] }>(worker(), 'engine::workers::list');
        return !workers.some(({ name }) => name === 'second');
      });
    });

    it('fire when a function is described differently', async () => {
      const reference = worker().registerFunction(functionId, async (event: Row) => void events.push(event));
      const trigger = worker().registerTrigger({
        type: 'engine::functions-available',
        function_id: functionId,
        config: {},
      });
      const described = worker().registerFunction('brief::visit', async () => null, { description: 'short' });
      await functionIds(worker());
      await clock.advance(GATHERED_MS);
      await waitFor(() => events.length > 0);
      events.splice(0);
      described.unregister();
      const again = worker().registerFunction('brief::visit', async () => null, { description: 'long' });
      await functionIds(worker());
      await clock.advance(GATHERED_MS);
      await waitFor(() => events.length > 0);
      expect(
        (events[0]?.['functions'] as Row[]).find(({ function_id }) => function_id === 'brief::visit'),
      ).toMatchObject({ description: 'long' });
      expect(events).toHaveLength(1);
      again.unregister();
      trigger.unregister();
      reference.unregister();
    });

    it('fire when workers come, say who they are, and go', async () => {
      const reference = worker().registerFunction(functionId, async (event: Row) => void events.push(event));
      const trigger = worker().registerTrigger({
        type: 'engine::workers-available',
        function_id: functionId,
        config: {},
      });
      await functionIds(worker());
      const visitor = connect('visitor');
      const has = (event: string) => (): boolean => events.some((each) => each['event'] === event);
      await waitFor(has('worker_metadata_updated'));
      await visitor.shutdown();
      await waitFor(has('worker_disconnected'));
      expect(events.map(({ event }) => event)).toEqual([
        'worker_connected',
        'worker_metadata_updated',
        'worker_disconnected',
      ]);
      expect(new Set(events.map(({ worker_id }) => worker_id)).size).toBe(1);
      trigger.unregister();
      reference.unregister();
    });
  });
});

describe('linkly - discovery where the generations differ', () => {
  it('lists triggers for iii-sdk 0.11.6, and their types under another name', async () => {
    const { triggers } = await ask<{ triggers: Row[] }>(old, 'engine::triggers::list');
    for (const name of ['old', 'young']) {
      expect(triggers).toContainEqual({
        id: expect.any(String) as string,
        trigger_type: 'http',
        function_id: `${name}::page`,
        config: { api_path: `/${name}`, http_method: 'GET' },
      });
    }
    const { trigger_types } = await ask<{ trigger_types: Row[] }>(old, 'engine::trigger-types::list');
    const http = trigger_types.find(({ id }) => id === 'http');
    expect(http).toMatchObject({ description: expect.stringMatching(/./) as string });
    expect(http?.['trigger_request_format']).toMatchObject({ type: 'object' });
  });

  it('lists trigger types for iii-sdk 0.22.1, and the triggers under another name', async () => {
    const { triggers } = await ask<{ triggers: Row[] }>(young, 'engine::triggers::list');
    const http = triggers.find(({ id }) => id === 'http');
    expect(http).toMatchObject({
      worker_name: expect.stringMatching(/http/) as string,
      description: expect.stringMatching(/./) as string,
    });
    expect(http).not.toHaveProperty('configuration_schema');
    expect(triggers.map(({ id }) => id)).toEqual(expect.arrayContaining(['durable:subscriber', 'state']));

    const list = 'engine::registered-triggers::list';
    const { registered_triggers: rows } = await ask<{ registered_triggers: Row[] }>(young, list);
    expect(rows.find(({ function_id }) => function_id === 'young::page')).toMatchObject({
      id: expect.any(String) as string,
      trigger_type: 'http',
      worker_name: 'young',
      config_summary: expect.stringContaining('/young') as string,
    });
    const { registered_triggers: all } = await ask<{ registered_triggers: Row[] }>(young, list, {
      include_internal: true,
    });
    expect(all.length).toBeGreaterThanOrEqual(rows.length);
  });

  it('shows a trigger whose type nobody provides as waiting', async () => {
    young.registerTrigger({ type: 'tide', function_id: 'young::page', config: { port: 'Brest' } });
    const { registered_triggers: rows } = await ask<{ registered_triggers: Row[] }>(
      young,
      'engine::registered-triggers::list',
      { trigger_type: 'tide' },
    );
    expect(rows).toMatchObject([{ trigger_type: 'tide', function_id: 'young::page', status: 'pending' }]);
  });
});
