/** A worker that means harm, on the port that everybody uses: it is refused and logged, others notice nothing. */
import { createEngine, createLog, type Engine } from '@trine/engine';
import { RawWorker, tempFolder, waitFor, type Frame, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FastSocket } from '../support/fast-socket.js';

/** Frames of each kind in the flood. */
const FLOOD = 20_000;
/** Lines that the log may have of its faults, of which there are more than 100,000: some per ten seconds. */
const MAX_FLOOD_LINES = 1_000;

let folder: TempFolder;
let engine: Engine;
let http: number;
let victim: RawWorker;
let hostile: RawWorker;
let log: string;
const workers: RawWorker[] = [];

const TRIGGER = {
  type: 'registertrigger',
  id: 'victim-route',
  trigger_type: 'http',
  function_id: 'victim::page',
  config: { api_path: 'page' },
};

beforeEach(async () => {
  folder = await tempFolder();
  log = '';
  engine = await createEngine({
    cwd: folder.path,
    log: createLog({ level: 'info', stream: { write: (text) => void (log += text) } }),
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'iii-http', config: { port: 0 } },
        { name: 'iii-queue' },
        { name: 'iii-state' },
        { name: 'iii-pubsub' },
      ],
    },
  });
  await engine.start();
  http = engine.ports['http'] as number;
  victim = await connect('victim');
  victim.serve('victim::echo', (data) => data);
  victim.serve('victim::page', () => ({ status_code: 200, body: { page: 1 } }));
  victim.send({ type: 'registertriggertype', id: 'victim-type', description: 'Its own' });
  victim.send(TRIGGER);
  await settled(victim);
  hostile = await connect('hostile');
});

afterEach(async () => {
  for (const worker of workers.splice(0)) worker.drop();
  await engine.stop();
  await folder.remove();
});

async function connect(name: string): Promise<RawWorker> {
  const worker = await RawWorker.connect(engine.url);
  workers.push(worker);
  worker.describe({ name, pid: process.pid });
  await settled(worker);
  return worker;
}

/** Sends a frame that is answered, so that everything sent before has been handled. */
async function settled(worker: RawWorker): Promise<void> {
  await worker.ask('nobody::here', null);
}

async function isUnharmed(): Promise<void> {
  expect(victim.isOpen).toBe(true);
  expect(await victim.call('victim::echo', { n: 1 })).toMatchObject({ n: 1 });
  const response = await fetch(`http://127.0.0.1:${http}/page`);
  expect([response.status, await response.json()]).toEqual([200, { page: 1 }]);
}

interface Listed {
  readonly id: string;
  readonly function_id: string;
  readonly worker_name: string;
}

async function trigger(id: string): Promise<Listed | undefined> {
  const { registered_triggers: rows } = (await victim.call('engine::registered-triggers::list', {})) as {
    registered_triggers: Listed[];
  };
  return rows.find((row) => row.id === id);
}

describe('a hostile worker', () => {
  it('cannot unregister the triggers of others', async () => {
    hostile.send({ type: 'unregistertrigger', id: 'victim-route' });
    hostile.send({ type: 'unregistertrigger', id: 'victim-route', trigger_type: 'http' });
    expect(await hostile.call('engine::unregister_trigger', { id: 'victim-route' })).toEqual({ removed: false });
    expect(log).toMatch(/trigger not removed: it belongs to another worker.*hostile/s);
    expect(await trigger('victim-route')).toMatchObject({ function_id: 'victim::page', worker_name: 'victim' });
    await isUnharmed();
  });

  it('cannot take a trigger over by its id, nor by repeating it', async () => {
    hostile.send({ ...TRIGGER, function_id: 'hostile::page' });
    const refusal = await hostile.frame('triggerregistrationresult');
    expect(refusal).toMatchObject({
      id: 'victim-route',
      error: { code: 'FORBIDDEN', message: expect.stringContaining('belongs to worker victim') as string },
    });
    expect(log).toMatch(/trigger refused.*victim-route/s);
    await isUnharmed();

    // What looks like a client that reconnects: it holds the trigger too, and can neither change nor end it.
    hostile.send(TRIGGER);
    await settled(hostile);
    hostile.send({ ...TRIGGER, function_id: 'hostile::page' });
    await waitFor(() => hostile.frames.filter(({ type }) => type === 'triggerregistrationresult').length === 2);
    await isUnharmed();
    hostile.send({ type: 'unregistertrigger', id: 'victim-route' });
    await settled(hostile);
    expect(await trigger('victim-route')).toMatchObject({ function_id: 'victim::page', worker_name: 'victim' });
    await isUnharmed();
    hostile.send(TRIGGER);
    await settled(hostile);
    hostile.drop();
    await waitFor(() => log.includes('Worker unregistered'));
    await waitFor(async () => (await trigger('victim-route'))?.worker_name === 'victim');
    await isUnharmed();
    victim.send({ type: 'unregistertrigger', id: 'victim-route' });
    await settled(victim);
    expect(await trigger('victim-route')).toBe(undefined);
  });

  it('cannot take a trigger over while its worker is away for a moment', async () => {
    victim.describe({ name: 'victim', pid: process.pid, version: '0.22.1' });
    await settled(victim);
    victim.drop();
    await waitFor(() => log.includes('Worker lost its connection'));
    hostile.send({ ...TRIGGER, function_id: 'hostile::page' });
    expect(await hostile.frame('triggerregistrationresult')).toMatchObject({ error: { code: 'FORBIDDEN' } });
  });

  it('cannot touch a trigger that belongs to nobody', async () => {
    const { id } = (await victim.call('engine::register_trigger', {
      trigger_type: 'subscribe',
      function_id: 'victim::echo',
      config: { topic: 't' },
    })) as { id: string };
    const same = {
      type: 'registertrigger',
      id,
      trigger_type: 'subscribe',
      function_id: 'victim::echo',
      config: { topic: 't' },
    };
    hostile.send(same);
    expect(await hostile.frame('triggerregistrationresult')).toMatchObject({ error: { code: 'FORBIDDEN' } });
    hostile.send({ type: 'unregistertrigger', id });
    await settled(hostile);
    expect(await trigger(id)).toBeDefined();
  });

  it('cannot answer calls of others, even with an id that it has guessed', async () => {
    let release: (() => void) | undefined;
    victim.serve('victim::slow', () => new Promise((resolve) => (release = () => resolve('mine'))));
    hostile.serve('hostile::own', () => 1);
    await settled(victim);
    const pending = engine.worker('caller').trigger({ function_id: 'victim::slow', payload: {} });
    const call = await victim.frame('invokefunction', (frame) => frame['function_id'] === 'victim::slow');
    const forged = { type: 'invocationresult', invocation_id: call['invocation_id'], function_id: 'victim::slow' };
    hostile.send({ ...forged, result: 'stolen' });
    hostile.send({ ...forged, error: { code: 'c', message: 'm' } });
    hostile.send(`{"type":"invocationresult","invocation_id":"${String(call['invocation_id'])}","result":NaN}`);
    // Engine-made ids are counted up: the neighbours of its own are somebody's.
    await hostile.call('hostile::own', {});
    const own = String((await hostile.frame('invokefunction'))['invocation_id']);
    const count = Number.parseInt(own.slice(24), 16);
    for (let n = 0; n < 50; n++)
      hostile.send({
        ...forged,
        invocation_id: own.slice(0, 24) + (count - n).toString(16).padStart(12, '0'),
        result: 0,
      });
    await settled(hostile);
    expect(log).toMatch(/answer refused: the call belongs to another worker.*hostile/s);
    release?.();
    expect(await pending).toBe('mine');
    await isUnharmed();
  });

  it('cannot refuse triggers for a provider, nor take a type back', async () => {
    hostile.send({ type: 'unregistertriggertype', id: 'http' });
    hostile.send({ type: 'unregistertriggertype', id: 'victim-type' });
    hostile.send({
      type: 'triggerregistrationresult',
      id: 'victim-route',
      trigger_type: 'http',
      function_id: 'victim::page',
      error: { code: 'c', message: 'm' },
    });
    hostile.send({ type: 'unregisterfunction', id: 'victim::page' });
    await settled(hostile);
    expect(victim.frames.filter(({ type }: Frame) => type === 'triggerregistrationresult')).toEqual([]);
    await isUnharmed();
  });

  it('cannot claim what the engine serves, in any namespace', async () => {
    const other = await RawWorker.connect(engine.url);
    workers.push(other);
    other.send({
      type: 'invokefunction',
      function_id: 'engine::workers::register',
      data: { name: 'elsewhere', runtime: 'node', version: '0.23.0', pid: 1, namespace: 'elsewhere' },
      action: { type: 'void' },
    });
    for (const worker of [hostile, other]) {
      worker.serve('engine::functions::list', () => ({ functions: [] }));
      worker.serve('engine::workers::register', () => null);
      worker.send({ type: 'registertriggertype', id: 'engine::functions-available', description: 'd' });
      await settled(worker);
    }
    const inNamespace = await victim.call('engine::functions::list', {}, { namespace: 'elsewhere' });
    for (const list of [await victim.call('engine::functions::list', {}), inNamespace]) {
      expect((list as { functions: unknown[] }).functions.length).toBeGreaterThan(3);
    }
    expect(log.match(/function refused/g)?.length).toBe(4);
    expect(log.match(/trigger type refused/g)?.length).toBe(2);
    expect(log).toMatch(/belongs to the engine and cannot be taken over/);
    await isUnharmed();
  });

  it('cannot take over the connection of another worker', async () => {
    const { workers: rows } = (await hostile.call('engine::workers::list', {})) as {
      workers: Record<string, string>[];
    };
    const id = rows.find(({ name }) => name === 'victim')?.['id'];
    expect(id).toBe(victim.id);
    for (const reattach_token of [undefined, '', '00000000-0000-4000-8000-000000000000'])
      hostile.send({ type: 'reattach', previous_worker_id: id, reattach_token });
    await settled(hostile);
    expect(log.match(/reattach ignored/g)?.length).toBe(3);
    await isUnharmed();
  });

  it('may flood: the log stays short, the answers of others come in time, and its limits hold', async () => {
    const lines = log.split('\n').length;
    const socket = await FastSocket.open(engine.url, () => undefined);
    const send = (frame: object): void => socket.send(JSON.stringify(frame));
    let slowestMs = 0;
    let isOver = false;
    const watch = (async () => {
      for (let n = 0; !isOver; n++) {
        const asked = performance.now();
        expect(await victim.call('victim::echo', { n })).toMatchObject({ n });
        slowestMs = Math.max(slowestMs, performance.now() - asked);
      }
    })();
    for (let n = 0; n < FLOOD; n++) {
      send({ type: 'invokefunction', function_id: 'nobody::here', data: {}, action: { type: 'void' } });
      send({ type: 'registerfunction', id: `flood::${n}` });
      send({ type: 'registertrigger', id: `flood-${n}`, trigger_type: `flood-${n}`, function_id: 'f', config: {} });
      send({ type: 'registertriggertype', id: `flood-type-${n}`, description: 'd' });
      send({ type: 'unregistertrigger', id: 'victim-route' });
      send({ type: `unknown-${n}` });
      send({ type: 'invocationresult', invocation_id: '00000000-0000-4000-8000-000000000000', result: n });
      socket.send('{"type":"registerfunction","id":NaN}');
      await waitFor(() => socket.bufferedBytes < 4 * 1024 * 1024, { everyMs: 1, timeoutMs: 60_000 });
    }
    const good = '00000000-0000-4000-8000-0000000000ff';
    send({ type: 'registerfunction', id: 'flood::last' });
    send({ type: 'invokefunction', invocation_id: good, function_id: 'victim::echo', data: { last: true } });
    await victim.frame('invokefunction', (frame) => (frame['data'] as { last?: boolean }).last === true);
    isOver = true;
    await watch;
    expect(slowestMs).toBeLessThan(5_000);
    const { functions } = (await victim.call('engine::functions::list', { prefix: 'flood::' })) as {
      functions: unknown[];
    };
    expect(functions).toHaveLength(10_000);
    const { triggers } = (await victim.call('engine::triggers::list', { prefix: 'flood-type-' })) as {
      triggers: unknown[];
    };
    expect(triggers).toHaveLength(1_000);
    const own = (await victim.call('engine::registered-triggers::list', { search: 'flood-' })) as {
      registered_triggers: unknown[];
    };
    expect(own.registered_triggers).toHaveLength(10_000);
    socket.drop();
    await waitFor(async () => {
      const list = await victim.call('engine::functions::list', { prefix: 'flood::' });
      return (list as { functions: unknown[] }).functions.length === 0;
    });
    const told = log.split('\n').filter((line) => !/\[(UN)?REGISTERED\]/.test(line));
    expect(told.length - lines).toBeLessThan(MAX_FLOOD_LINES);
    expect(log).toMatch(/lines about a worker were not logged/);
    await isUnharmed();
  });
});
