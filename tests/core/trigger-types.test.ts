/** Trigger types that workers provide and take back: what happens to the triggers bound at them. */
import { createEngine, type Engine } from '@trine/engine';
import { RawWorker, tempFolder, waitFor, type Frame, type TempFolder } from '@trine/testing';
import * as sdk11 from 'iii-sdk-0.11';
import * as sdk22 from 'iii-sdk-0.22';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

interface Listed {
  readonly id: string;
  readonly status: string;
}

let folder: TempFolder;
let engine: Engine;
const raw: RawWorker[] = [];
const shutdowns: (() => Promise<void>)[] = [];

beforeEach(async () => {
  folder = await tempFolder();
  const workers = [{ name: 'iii-worker-manager', config: { port: 0 } }];
  engine = await createEngine({ cwd: folder.path, logLevel: 'silent', config: { workers } });
  await engine.start();
});
afterEach(async () => {
  for (const worker of raw.splice(0)) worker.drop();
  await Promise.all(shutdowns.splice(0).map((shutdown) => shutdown()));
  await engine.stop();
  await folder.remove();
});

async function connect(): Promise<RawWorker> {
  const worker = await RawWorker.connect(engine.url);
  raw.push(worker);
  return worker;
}

/** Triggers of a type, by id, with their status. */
async function listed(type: string): Promise<Record<string, string>> {
  const { registered_triggers: rows } = await engine
    .worker('test')
    .trigger<unknown, { registered_triggers: Listed[] }>({
      function_id: 'engine::registered-triggers::list',
      payload: { trigger_type: type },
    });
  return Object.fromEntries(rows.map(({ id, status }) => [id, status]));
}

function bind(worker: RawWorker, id: string, type = 'bell'): void {
  worker.send({ type: 'registertrigger', id, trigger_type: type, function_id: 'f', config: {} });
}

/** Sends a frame that is answered, so that everything sent before has been handled. */
async function settled(worker: RawWorker): Promise<void> {
  await worker.ask('nobody::here', null);
}

const idsOf = (worker: RawWorker, type: string): unknown[] =>
  worker.frames.filter((frame: Frame) => frame.type === type).map((frame) => frame['id']);

const IDS = Array.from({ length: 50 }, (_, i) => `t${String(i).padStart(2, '0')}`);
const all = (status: string): Record<string, string> => Object.fromEntries(IDS.map((id) => [id, status]));

describe('a trigger type that its worker takes back', () => {
  const type = { type: 'registertriggertype', id: 'bell', description: 'Rings' };

  it.each([
    ['the whole type', { ...type, type: 'unregistertriggertype', message_type: 'unregistertriggertype' }],
    ['its id', { type: 'unregistertriggertype', id: 'bell' }],
    ['its id and namespace', { type: 'unregistertriggertype', id: 'bell', namespace: 'default' }],
    ['its id and no namespace', { type: 'unregistertriggertype', id: 'bell', namespace: null }],
  ])('named by %s: its triggers wait, and it hears of none any more', async (_what, frame) => {
    const [provider, consumer] = [await connect(), await connect()];
    provider.send(type);
    await settled(provider);
    for (const id of IDS) bind(consumer, id);
    await settled(consumer);
    expect(await listed('bell')).toEqual(all('active'));
    provider.send(frame);
    await settled(provider);
    expect(await listed('bell')).toEqual(all('pending'));
    expect(idsOf(provider, 'unregistertrigger')).toEqual(IDS);
    const heard = provider.frames.filter(({ type }) => type === 'registertrigger').length;
    bind(consumer, 'late');
    consumer.send({ type: 'unregistertrigger', id: 't00' });
    await settled(consumer);
    await settled(provider);
    expect(await listed('bell')).toEqual({ ...all('pending'), t00: undefined, late: 'pending' });
    expect(provider.frames.filter(({ type }) => type === 'registertrigger')).toHaveLength(heard);
    expect(idsOf(provider, 'unregistertrigger')).toEqual(IDS);
    // It is offered again: what waited is told again.
    provider.send(type);
    await settled(provider);
    expect(await listed('bell')).toEqual({ ...all('active'), t00: undefined, late: 'active' });
    expect(idsOf(provider, 'registertrigger').slice(heard)).toEqual([...IDS.slice(1), 'late']);
  });

  it('goes to the worker that provided it before', async () => {
    const [old, young, consumer] = [await connect(), await connect(), await connect()];
    old.send(type);
    await settled(old);
    for (const id of IDS) bind(consumer, id);
    await settled(consumer);
    young.send(type);
    await settled(young);
    await settled(old);
    // Every trigger that moved is taken from the one before, so that it fires once.
    expect(idsOf(old, 'unregistertrigger')).toEqual(IDS);
    expect(idsOf(young, 'registertrigger')).toEqual(IDS);
    young.send({ type: 'unregistertriggertype', id: 'bell' });
    await settled(young);
    await settled(old);
    expect(idsOf(young, 'unregistertrigger')).toEqual(IDS);
    expect(idsOf(old, 'registertrigger')).toEqual([...IDS, ...IDS]);
    expect(await listed('bell')).toEqual(all('active'));
  });

  it('is kept when another worker tries to take it back', async () => {
    const [provider, stranger, consumer] = [await connect(), await connect(), await connect()];
    provider.send(type);
    await settled(provider);
    bind(consumer, 't00');
    await settled(consumer);
    stranger.send({ type: 'unregistertriggertype', id: 'bell' });
    await settled(stranger);
    expect(await listed('bell')).toEqual({ t00: 'active' });
    expect(idsOf(provider, 'unregistertrigger')).toEqual([]);
  });

  it('of a provider that stands behind a newer one is taken out of the line, and nothing moves', async () => {
    const [old, young, consumer] = [await connect(), await connect(), await connect()];
    old.send(type);
    await settled(old);
    young.send(type);
    await settled(young);
    bind(consumer, 't00');
    await settled(consumer);
    old.send({ type: 'unregistertriggertype', id: 'bell' });
    await settled(old);
    expect(idsOf(young, 'unregistertrigger')).toEqual([]);
    young.drop();
    await waitFor(async () => (await listed('bell'))['t00'] === 'pending');
    expect(idsOf(old, 'registertrigger')).toEqual([]);
  });
});

describe.each([
  ['0.11', sdk11],
  ['0.22', sdk22],
] as const)('a client of %s', (_version, sdk) => {
  it('provides a type, takes it back and provides it again', async () => {
    const client = sdk.registerWorker(engine.url, { workerName: 'provider' });
    shutdowns.push(() => client.shutdown());
    const consumer = await connect();
    const told: string[] = [];
    const handler = {
      registerTrigger: async ({ id }: { id: string }) => void told.push(`+${id}`),
      unregisterTrigger: async ({ id }: { id: string }) => void told.push(`-${id}`),
    };
    const bell = { id: 'bell', description: 'Rings' };
    client.registerTriggerType(bell, handler);
    bind(consumer, 'a');
    await waitFor(() => told.includes('+a'));
    expect(await listed('bell')).toEqual({ a: 'active' });
    client.unregisterTriggerType(bell);
    await waitFor(async () => (await listed('bell'))['a'] === 'pending');
    bind(consumer, 'b');
    await settled(consumer);
    expect(await listed('bell')).toEqual({ a: 'pending', b: 'pending' });
    client.registerTriggerType(bell, handler);
    await waitFor(() => told.includes('+b'));
    expect(told.filter((each) => each === '+a')).toHaveLength(2);
    expect(await listed('bell')).toEqual({ a: 'active', b: 'active' });
  });
});
