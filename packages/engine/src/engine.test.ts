import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ConfigError,
  createEngine,
  silentLog,
  TriggerAction,
  type Engine,
  type EngineOptions,
  type LogOutput,
} from './index.js';

let folder: TempFolder;
const engines: Engine[] = [];

beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.stop()));
  await folder.remove();
});

const quiet: LogOutput = Object.assign({}, silentLog, {
  level: 'silent' as const,
  format: 'default' as const,
  setLevel: () => undefined,
  setFormat: () => undefined,
  record: () => undefined,
});

const PORT = { name: 'iii-worker-manager', config: { port: 0 } };

async function start(workers: object[] = [], options: EngineOptions = {}): Promise<Engine> {
  const engine = await createEngine({
    cwd: folder.path,
    log: quiet,
    config: { workers: [PORT, ...workers] },
    ...options,
  });
  engines.push(engine);
  await engine.start();
  return engine;
}

describe('an embedded engine', () => {
  it('calls functions with the verbs of the SDKs, each receiver with a value of its own', async () => {
    const engine = await start();
    const [math, caller] = [engine.worker('math'), engine.worker('caller')];
    const input = { a: 1, deep: { b: 2 } };
    math.registerFunction('math::change', (data: typeof input, metadata) => {
      data.deep.b = 99;
      return { data, metadata };
    });
    const answer = await caller.trigger({ function_id: 'math::change', payload: input, metadata: { tag: 1 } });
    expect(answer).toEqual({ data: { a: 1, deep: { b: 99 }, _caller_worker_id: caller.id }, metadata: { tag: 1 } });
    expect(input).toEqual({ a: 1, deep: { b: 2 } });
  });

  it('rejects with the code of the failure', async () => {
    const engine = await start();
    const worker = engine.worker('w');
    worker.registerFunction('fails', () => {
      throw new Error('no luck');
    });
    worker.registerFunction('hangs', () => new Promise(() => undefined));
    worker.registerFunction('loops', () => {
      const cycle: Record<string, unknown> = {};
      return (cycle['self'] = cycle);
    });
    await expect(worker.trigger({ function_id: 'absent' })).rejects.toMatchObject({ code: 'function_not_found' });
    await expect(worker.trigger({ function_id: 'fails' })).rejects.toMatchObject({
      code: 'invocation_failed',
      message: 'no luck',
    });
    await expect(worker.trigger({ function_id: 'hangs', timeoutMs: 20 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: 'invocation timed out after 20ms',
    });
    await expect(worker.trigger({ function_id: 'loops' })).rejects.toMatchObject({ code: 'invocation_failed' });
    await expect(
      worker.trigger({ function_id: 'x', action: TriggerAction.Enqueue({ queue: 'q' }) }),
    ).rejects.toMatchObject({
      code: 'enqueue_error',
    });
    expect(() => worker.registerFunction('fails', () => 1)).toThrow(/registered already/);
    expect(await worker.trigger({ function_id: 'absent', action: TriggerAction.Void() })).toBe(undefined);
  });

  it('waits for a receipt no longer than it was told to', async () => {
    const engine = await start();
    engine.worker('q').registerFunction('engine::queue::enqueue', () => new Promise(() => undefined));
    const request = { function_id: 'f', action: TriggerAction.Enqueue({ queue: 'default' }), timeoutMs: 50 };
    await expect(engine.worker('w').trigger(request)).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: 'invocation timed out after 50ms',
    });
  });

  it('handles what one worker asks in order: a message published after a subscription reaches it', async () => {
    const engine = await start([{ name: 'iii-queue' }]);
    const worker = engine.worker('w');
    const seen: unknown[] = [];
    worker.registerFunction('note', (data) => void seen.push(data));
    worker.registerTrigger({ type: 'durable:subscriber', function_id: 'note', config: { topic: 't' } });
    await worker.trigger({ function_id: 'iii::durable::publish', payload: { topic: 't', data: { n: 1 } } });
    await waitFor(() => seen.length === 1);
    expect(seen).toEqual([{ n: 1 }]);
  });

  it('tells why a trigger was refused', async () => {
    const engine = await start([{ name: 'iii-http', config: { port: 0 } }]);
    const worker = engine.worker('w');
    const bad = worker.registerTrigger({ type: 'http', function_id: 'f', config: {} });
    await expect(bad.ready).rejects.toMatchObject({
      code: 'trigger_registration_failed',
      message: 'api_path is required for http triggers',
    });
    const waiting = worker.registerTrigger({ type: 'nobody::has', function_id: 'f' });
    await waiting.ready;
    expect(await worker.trigger({ function_id: 'engine::registered-triggers::list', payload: {} })).toMatchObject({
      registered_triggers: [{ id: waiting.id, status: 'pending' }],
    });
  });

  it('takes a worker with all it offers away on shutdown, and the name is free again', async () => {
    const engine = await start();
    const worker = engine.worker('w');
    worker.registerFunction('f', () => 1);
    expect(engine.worker('w')).toBe(worker);
    await worker.shutdown();
    await expect(engine.worker('w').trigger({ function_id: 'f' })).rejects.toMatchObject({
      code: 'function_not_found',
    });
  });

  it('takes nothing more from a worker that has left: nobody would take it away again', async () => {
    const engine = await start();
    const [worker, other] = [engine.worker('w'), engine.worker('other')];
    await worker.shutdown();
    const left = { code: 'invocation_stopped', message: expect.stringMatching(/worker w has left/) as string };
    expect(() => worker.registerFunction('w::late', () => 1)).toThrow(expect.objectContaining(left) as Error);
    expect(() => worker.registerTrigger({ type: 'subscribe', function_id: 'w::late' })).toThrow(
      expect.objectContaining(left) as Error,
    );
    await expect(worker.trigger({ function_id: 'engine::functions::list' })).rejects.toMatchObject(left);
    await expect(other.trigger({ function_id: 'w::late' })).rejects.toMatchObject({ code: 'function_not_found' });
  });

  it('starts and stops once, however often it is asked, and never again', async () => {
    const engine = await start();
    const { url } = engine;
    await engine.start();
    expect(engine.url).toBe(url);
    await Promise.all([engine.stop(), engine.stop()]);
    await engine.stop();
    await expect(engine.start()).rejects.toMatchObject({ code: 'engine_stopped' });
  });

  it('gives up a start that is stopped meanwhile', async () => {
    const engine = await createEngine({
      cwd: folder.path,
      log: quiet,
      config: { workers: [PORT, { name: 'iii-queue' }, { name: 'iii-http', config: { port: 0 } }] },
    });
    const started = engine.start();
    const stopped = engine.stop();
    await expect(started).rejects.toMatchObject({ code: 'engine_stopped' });
    await stopped;
    expect(engine.state).toBe('stopped');
    expect(() => engine.url).toThrow(/call start/);
  });

  it('lives beside others in one process', async () => {
    const [one, two] = [await start(), await start([], { dataDir: 'other' })];
    one.worker('w').registerFunction('who', () => 'one');
    two.worker('w').registerFunction('who', () => 'two');
    expect(await one.worker('c').trigger({ function_id: 'who' })).toBe('one');
    expect(await two.worker('c').trigger({ function_id: 'who' })).toBe('two');
    expect(one.url).not.toBe(two.url);
  });

  it('refuses a data folder in use by name, and stops what it had started', async () => {
    await start([{ name: 'iii-queue' }]);
    const second = await createEngine({
      cwd: folder.path,
      log: quiet,
      config: { workers: [PORT, { name: 'iii-queue' }] },
    });
    await expect(second.start()).rejects.toMatchObject({
      code: 'data_folder_locked',
      message: expect.stringContaining(folder.path) as string,
    });
    expect(second.state).toBe('stopped');
  });

  it('stops those that started beside one that could not', async () => {
    const others = [{ name: 'iii-state' }, { name: 'iii-queue' }, { name: 'iii-stream', config: { port: 0 } }];
    const database = { name: 'database', config: { databases: { primary: { url: 'sqlite:./no/one.db' } } } };
    await writeFile(join(folder.path, 'no'), 'a file');
    const engine = await createEngine({
      cwd: folder.path,
      log: quiet,
      config: { workers: [PORT, ...others, database] },
    });
    await expect(engine.start()).rejects.toThrow('databases.primary: cannot open');
    expect(engine.state).toBe('stopped');
    expect(engine.ports).toEqual({});
    const state = { name: 'iii-state', config: { adapter: { name: 'kv', config: { file_path: './no/state.db' } } } };
    const both = await createEngine({ cwd: folder.path, log: quiet, config: { workers: [PORT, state, database] } });
    await expect(both.start()).rejects.toThrow(/state.*\n.*databases[.]primary: cannot open/);
    await start(others);
  });

  it('says what is wrong with a configuration before anything starts', async () => {
    const faulty = (workers: object[]): Promise<Engine> =>
      createEngine({ cwd: folder.path, log: quiet, config: { workers } });
    await expect(faulty([{ name: 'iii-queu' }])).rejects.toThrow(/iii-queue/);
    await expect(faulty([{ name: 'iii-queu' }])).rejects.toBeInstanceOf(ConfigError);
    await expect(faulty([{ name: 'iii-queue', config: { queue_configs: { a: { max_retrys: 1 } } } }])).rejects.toThrow(
      /max_retrys.*max_retries/,
    );
    await expect(faulty([{ name: 'iii-sandbox' }])).rejects.toThrow(/not in this version/);
    await expect(faulty([{ name: 'queue' }, { name: 'iii-queue' }])).rejects.toThrow(/Duplicate worker configurations/);
    const rbac = (rules: unknown): object => ({ name: 'iii-worker-manager', config: { rbac: rules } });
    await expect(faulty([rbac({ expose: [] })])).rejects.toThrow(/iii-worker-manager\.rbac: unknown key "expose"/);
    await expect(faulty([rbac({ expose_functions: ['state::*'] })])).rejects.toThrow(/match\("pattern"\)/);
  });
});

describe('settings of a running engine', () => {
  it('change through configuration::set, in memory, all or nothing', async () => {
    const engine = await start([{ name: 'iii-queue' }]);
    const worker = engine.worker('w');
    const names = async (): Promise<string[]> => {
      const topics = await worker.trigger<unknown, { name: string }[]>({
        function_id: 'engine::queue::list_topics',
        payload: {},
      });
      return topics.map(({ name }) => name).sort();
    };
    expect(await names()).toEqual(['default']);
    await worker.trigger({
      function_id: 'configuration::set',
      payload: { id: 'iii-queue', value: { queue_configs: { clicks: { type: 'standard' } } } },
    });
    expect(await names()).toEqual(['clicks', 'default']);
    const bad = worker.trigger({
      function_id: 'configuration::set',
      payload: { id: 'iii-queue', value: { queue_configs: { x: { type: 'fifo' } } } },
    });
    await expect(bad).rejects.toThrow(/message_group_field/);
    expect(await names()).toEqual(['clicks', 'default']);
  });
});
