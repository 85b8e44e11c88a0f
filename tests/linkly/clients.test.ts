/** Workers of two SDK generations and two languages on one engine, and what a worker misses while it is away. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { createEngine, createLog, type Engine } from '@trine/engine';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import * as sdk11 from 'iii-sdk-0.11';
import * as sdk22 from 'iii-sdk-0.22';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pythonWith } from '../support/python.js';

interface Told {
  readonly kind: string;
  readonly data: unknown;
}

let folder: TempFolder;
let engine: Engine;
let python: string;
let log = '';
let child: ChildProcessByStdio<Writable, Readable, null> | undefined;
const told: Told[] = [];

async function startEngine(port: number): Promise<void> {
  engine = await createEngine({
    cwd: folder.path,
    log: createLog({ level: 'info', stream: { write: (text) => void (log += text) } }),
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port } },
        { name: 'iii-http', config: { port: 0 } },
        { name: 'iii-queue' },
        { name: 'iii-pubsub' },
        { name: 'iii-state' },
      ],
    },
  });
  await engine.start();
}

async function startPython(): Promise<void> {
  const ready = told.filter(({ kind }) => kind === 'ready').length;
  child = spawn(python, [join(import.meta.dirname, 'fixtures', 'worker.py')], {
    env: { ...process.env, III_URL: engine.url },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  createInterface(child.stdout).on('line', (line) => {
    if (line.startsWith('{')) told.push(JSON.parse(line) as Told);
  });
  await waitFor(() => told.filter(({ kind }) => kind === 'ready').length > ready, {
    timeoutMs: 30_000,
    what: 'the Python worker',
  });
  await served('python::on_updated');
}

async function stopPython(): Promise<void> {
  const gone = new Promise((resolve) => child?.once('exit', resolve));
  child?.kill('SIGKILL');
  await gone;
  await waitFor(async () => !(await isServed('python::echo')), { what: 'the engine to notice' });
}

async function isServed(id: string): Promise<boolean> {
  const { functions } = await engine.worker('test').trigger<unknown, { functions: { function_id: string }[] }>({
    function_id: 'engine::functions::list',
    payload: {},
  });
  return functions.some(({ function_id }) => function_id === id);
}

const served = (id: string): Promise<unknown> =>
  waitFor(() => isServed(id), { timeoutMs: 40_000, what: `${id} to be served` });

const seen = (kind: string): unknown[] => told.filter((each) => each.kind === kind).map(({ data }) => data);

type Client = ReturnType<typeof sdk22.registerWorker>;
let old: Client;
let young: Client;

beforeAll(async () => {
  folder = await tempFolder('trine-clients-');
  python = await pythonWith(['iii-sdk>=0.18,<0.19']);
  await startEngine(0);
  old = sdk11.registerWorker(engine.url, { workerName: 'node-0.11' });
  young = sdk22.registerWorker(engine.url, { workerName: 'node-0.22' });
  old.registerFunction('old::echo', async (data: Record<string, unknown>) => {
    const { _caller_worker_id: _, ...rest } = data;
    return { from: 'old', data: rest };
  });
  young.registerFunction('young::echo', async (data: Record<string, unknown>) => {
    const { _caller_worker_id: _, ...rest } = data;
    return { from: 'young', data: rest };
  });
  await startPython();
  await served('old::echo');
  await served('young::echo');
});

afterAll(async () => {
  child?.kill('SIGKILL');
  await Promise.all([old.shutdown(), young.shutdown()]);
  await engine.stop();
  await folder.remove();
});

describe('workers of two generations and two languages', () => {
  it('call each other', async () => {
    const payload = { n: 1, text: 'ü' };
    for (const client of [old, young]) {
      for (const [id, from] of [
        ['old::echo', 'old'],
        ['young::echo', 'young'],
        ['python::echo', 'python'],
      ] as const) {
        expect(await client.trigger({ function_id: id, payload })).toEqual({ from, data: payload });
      }
    }
    for (const id of ['old::echo', 'young::echo']) {
      const answer = await young.trigger({ function_id: 'python::call_node', payload: { function_id: id, payload } });
      expect(answer).toMatchObject({ data: payload });
    }
  });

  it('see errors by code and message', async () => {
    for (const client of [old, young]) {
      await expect(client.trigger({ function_id: 'nobody::here', payload: {} })).rejects.toMatchObject({
        code: 'function_not_found',
      });
      await expect(client.trigger({ function_id: 'python::fail', payload: {} })).rejects.toMatchObject({
        code: 'invocation_failed',
        message: expect.stringContaining('no luck in Python') as string,
      });
    }
  });

  it('put work on a queue for one another', async () => {
    const jobs: unknown[] = [];
    young.registerFunction(
      'young::job',
      async (data: unknown, metadata?: unknown) => void jobs.push({ data, metadata }),
    );
    await served('young::job');
    const receipt = await old.trigger({
      function_id: 'young::job',
      payload: { n: 1 },
      action: sdk11.TriggerAction.Enqueue({ queue: 'default' }),
    });
    expect(receipt).toEqual({ messageReceiptId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string });
    await waitFor(() => jobs.length === 1);
    expect(jobs[0]).toMatchObject({
      data: { n: 1 },
      metadata: { queue: { ...{ receipt: (receipt as { messageReceiptId: string }).messageReceiptId }, attempt: 1 } },
    });
  });

  it('serve a trigger type of one for the triggers of another', async () => {
    const bound: unknown[] = [];
    const fired: unknown[] = [];
    old.registerTriggerType(
      { id: 'bell', description: 'Rings when bound' },
      {
        registerTrigger: async (config) => {
          bound.push(config);
          await old.trigger({
            function_id: config.function_id,
            payload: { rung: true },
            action: sdk11.TriggerAction.Void(),
          });
        },
        unregisterTrigger: async () => undefined,
      },
    );
    young.registerFunction('young::on_bell', async (data: unknown) => void fired.push(data));
    await served('young::on_bell');
    young.registerTrigger({ type: 'bell', function_id: 'young::on_bell', config: { loud: true } });
    await waitFor(() => fired.length === 1);
    expect(bound).toMatchObject([{ function_id: 'young::on_bell', config: { loud: true } }]);
    expect(fired).toMatchObject([{ rung: true }]);
  });

  it('find triggers in the shapes of their own generation', async () => {
    const list = { function_id: 'engine::triggers::list', payload: {} };
    type Rows = { triggers: Record<string, unknown>[] };
    const instances = await old.trigger<unknown, Rows>(list);
    expect(instances.triggers).toContainEqual(
      expect.objectContaining({ trigger_type: 'subscribe', function_id: 'python::on_created' }),
    );
    const types = await young.trigger<unknown, Rows>(list);
    expect(types.triggers).toContainEqual(expect.objectContaining({ id: 'http', worker_name: 'http' }));
  });

  it('log through the engine, with worker, level, message and fields', async () => {
    await waitFor(() => /\[INFO\] .*python worker ready\n.*answer.*42/.test(log), { what: 'the log record of Python' });
  });
});

describe('a worker that is away', () => {
  it('misses regular events, and nothing that is durable', async () => {
    const publish = async (n: number): Promise<void> => {
      await young.trigger({ function_id: 'publish', payload: { topic: 'link.created', data: { n } } });
      await young.trigger({ function_id: 'iii::durable::publish', payload: { topic: 'link.updated', data: { n } } });
    };
    await publish(1);
    await waitFor(() => seen('created').length === 1 && seen('updated').length === 1);
    await stopPython();
    await publish(2);
    await publish(3);
    await startPython();
    await waitFor(() => seen('updated').length === 3, { what: 'what was published meanwhile' });
    await publish(4);
    await waitFor(() => seen('created').length === 2);
    expect(seen('created')).toEqual([{ n: 1 }, { n: 4 }]);
    await waitFor(() => seen('updated').length === 4);
    expect(new Set(seen('updated').map((data) => (data as { n: number }).n))).toEqual(new Set([1, 2, 3, 4]));
  });
});

describe('an engine that restarts', () => {
  it('finds all of its workers again', async () => {
    const port = engine.ports['iii-worker-manager'] as number;
    await engine.stop();
    await startEngine(port);
    for (const id of ['old::echo', 'young::echo', 'python::echo']) await served(id);
    expect(await young.trigger({ function_id: 'python::echo', payload: { n: 2 } })).toEqual({
      from: 'python',
      data: { n: 2 },
    });
    await young.trigger({ function_id: 'iii::durable::publish', payload: { topic: 'link.updated', data: { n: 5 } } });
    await waitFor(() => seen('updated').some((data) => (data as { n: number }).n === 5));
  });
});
