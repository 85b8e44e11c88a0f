import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createEngine, type Engine } from '@trine/engine';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';

let folder: TempFolder;
const engines: Engine[] = [];

beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.stop();
  await folder.remove();
});

const BASE = 'workers:\n  # the port\n  - name: iii-worker-manager\n    config: { port: 0 }\n';

async function start(options: { text?: string; value?: unknown; env?: NodeJS.ProcessEnv } = {}) {
  if (options.value === undefined) await writeFile(join(folder.path, 'config.yaml'), options.text ?? BASE);
  const engine = await createEngine({
    cwd: folder.path,
    config: options.value ?? 'config.yaml',
    env: options.env ?? {},
    logLevel: 'error',
  });
  engines.push(engine);
  await engine.start();
  const worker = engine.worker('tester');
  const call = <T = unknown>(name: string, payload: unknown = {}): Promise<T> =>
    worker.trigger<unknown, T>({ function_id: `configuration::${name}`, payload });
  return { engine, worker, call };
}

const SCHEMA = {
  type: 'object',
  properties: { port: { type: 'integer' }, mode: { enum: ['a', 'b'] } },
  additionalProperties: false,
};
const MAILER = { id: 'mailer', name: 'Mailer', description: 'sends mail', schema: SCHEMA };

async function events(worker: Awaited<ReturnType<typeof start>>['worker'], config: unknown = {}) {
  const seen: Record<string, unknown>[] = [];
  const id = `tester::seen::${randomUUID()}`;
  worker.registerFunction(id, (event: unknown) => {
    seen.push(event as Record<string, unknown>);
    return Promise.resolve(null);
  });
  await worker.registerTrigger({ type: 'configuration', function_id: id, config }).ready;
  return seen;
}

describe('configurations that workers register', () => {
  it('are registered, set, read, listed and described', async () => {
    const { call } = await start();
    expect(await call('register', { ...MAILER, initial_value: { port: 25 }, metadata: { team: 'x' } })).toEqual({
      ...MAILER,
      value: { port: 25 },
      metadata: { team: 'x' },
    });
    expect(await call('set', { id: 'mailer', value: { port: 26 } })).toEqual({
      old_value: { port: 25 },
      new_value: { port: 26 },
    });
    expect(await call('get', { id: 'mailer' })).toEqual({ id: 'mailer', value: { port: 26 } });
    expect(await call('schema', { id: 'mailer' })).toEqual({ ...MAILER, metadata: { team: 'x' } });
    const { configurations } = await call<{ configurations: { id: string; value?: unknown }[] }>('list');
    expect(configurations.map(({ id }) => id)).toEqual(['iii-worker-manager', 'mailer']);
    expect(configurations.some((each) => 'value' in each)).toBe(false);
  });

  it('keep their value over a later register and a restart, schema included', async () => {
    const first = await start();
    await first.call('register', MAILER);
    expect(await first.call('get', { id: 'mailer' })).toEqual({ id: 'mailer', value: null });
    await first.call('set', { id: 'mailer', value: { port: 1 } });
    expect(await first.call('register', MAILER)).toMatchObject({ value: { port: 1 } });
    await first.engine.stop();
    expect(parse(await readFile(join(folder.path, 'config/mailer.yaml'), 'utf8'))).toEqual({
      ...MAILER,
      value: { port: 1 },
    });
    const second = await start();
    await second.call('set', { id: 'mailer', value: { port: 2 } });
    await expect(second.call('set', { id: 'mailer', value: { port: 'x' } })).rejects.toMatchObject({
      code: 'SCHEMA_INVALID',
      message: 'schema validation failed: port: must be integer',
    });
    expect(await second.call('get', { id: 'mailer' })).toEqual({ id: 'mailer', value: { port: 2 } });
    expect(await readdir(join(folder.path, 'config'))).toEqual(['mailer.yaml']);
  });

  it('expand placeholders when read, and say which variables are unset', async () => {
    const { call } = await start({ env: { PORT: '2525' } });
    await call('register', { ...MAILER, initial_value: { port: '${PORT}' } });
    expect(await call('get', { id: 'mailer' })).toEqual({ id: 'mailer', value: { port: 2525 } });
    expect(await call('get', { id: 'mailer', raw: true })).toEqual({ id: 'mailer', value: { port: '${PORT}' } });
    await call('set', { id: 'mailer', value: { port: '${A}', mode: '${B}' } });
    await expect(call('get', { id: 'mailer' })).rejects.toMatchObject({
      code: 'EXPAND_FAILED',
      message: "configuration 'mailer' references unset environment variable(s) with no default: A, B",
    });
  });

  it.each([
    ['get', { id: 'nope' }, 'NOT_FOUND', "configuration 'nope' not found"],
    ['schema', { id: 'nope' }, 'NOT_FOUND', "configuration 'nope' not found"],
    [
      'set',
      { id: 'nope', value: 1 },
      'NOT_REGISTERED',
      "configuration 'nope' is not registered; call configuration::register first",
    ],
    [
      'register',
      { ...MAILER, id: '../../etc/passwd' },
      'INVALID_ID',
      "invalid configuration id '../../etc/passwd': must match [a-z0-9_-]{1,64}",
    ],
    ['set', { id: '..', value: 1 }, 'INVALID_ID', "invalid configuration id '..': must match [a-z0-9_-]{1,64}"],
    [
      'register',
      { ...MAILER, initial_value: { colour: 1 } },
      'SCHEMA_INVALID',
      'schema validation failed: unknown key "colour"',
    ],
    [
      'register',
      { ...MAILER, schema: { type: 'nonsense' } },
      'SCHEMA_INVALID',
      /^schema validation failed: the schema itself: /,
    ],
    [
      'set',
      { id: 'mailer' },
      'deserialization_error',
      'Failed to deserialize input for configuration::set: missing field `value`',
    ],
  ])('%s of %j is answered with %s', async (name, payload, code, message) => {
    const { call } = await start();
    const text: unknown = typeof message === 'string' ? message : expect.stringMatching(message);
    await expect(call(name, payload)).rejects.toMatchObject({ code, message: text });
    expect((await readdir(folder.path)).includes('config')).toBe(false);
  });

  it('cannot be set while nobody has brought a schema', async () => {
    await mkdir(join(folder.path, 'config'));
    await writeFile(join(folder.path, 'config/old.yaml'), 'id: old\nname: Old\ndescription: d\nvalue: 1\n');
    await writeFile(join(folder.path, 'config/theirs.yaml'), 'some: app\n');
    const { call } = await start();
    expect(await call('get', { id: 'old' })).toEqual({ id: 'old', value: 1 });
    await expect(call('set', { id: 'old', value: 2 })).rejects.toMatchObject({ code: 'SCHEMA_UNAVAILABLE' });
    await expect(call('get', { id: 'theirs' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('fire triggers in order, and only when something differs', async () => {
    const { call, worker } = await start();
    const all = await events(worker);
    const updates = await events(worker, { configuration_id: 'mailer', event_types: ['updated'] });
    await call('register', { ...MAILER, initial_value: { port: 1 } });
    await call('register', { ...MAILER, initial_value: { port: 1 } });
    await call('set', { id: 'mailer', value: { port: 1 } });
    await call('set', { id: 'mailer', value: { port: '${P:2}' } });
    await call('register', { ...MAILER, id: 'other' });
    await waitFor(() => all.length === 3);
    expect(all.map((event) => [event['event_type'], event['id']])).toEqual([
      ['configuration:registered', 'mailer'],
      ['configuration:updated', 'mailer'],
      ['configuration:registered', 'other'],
    ]);
    expect(updates).toEqual([
      {
        type: 'configuration',
        event_type: 'configuration:updated',
        ...MAILER,
        old_value: { port: 1 },
        new_value: { port: 2 },
      },
    ]);
  });

  it('ask a condition first', async () => {
    const { call, worker } = await start();
    const asked: unknown[] = [];
    worker.registerFunction('tester::even', (event: unknown) => {
      asked.push(event);
      return Promise.resolve((event as { new_value: { port: number } }).new_value.port % 2 === 0);
    });
    const seen = await events(worker, { condition_function_id: 'tester::even' });
    for (const port of [1, 2, 3, 4])
      await call(
        port === 1 ? 'register' : 'set',
        port === 1 ? { ...MAILER, initial_value: { port } } : { id: 'mailer', value: { port } },
      );
    await waitFor(() => asked.length === 4 && seen.length === 2);
    expect(seen.map((event) => event['new_value'])).toEqual([{ port: 2 }, { port: 4 }]);
  });

  it('take edits of their file by hand, keep the value before a bad one, and go with the file', async () => {
    const { call, worker } = await start();
    await call('register', { ...MAILER, initial_value: { port: 1 } });
    const seen = await events(worker);
    const file = join(folder.path, 'config/mailer.yaml');
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('  port: 1', '  port: 7'));
    await waitFor(() => seen.length === 1);
    expect(seen[0]).toMatchObject({
      event_type: 'configuration:updated',
      old_value: { port: 1 },
      new_value: { port: 7 },
    });
    await writeFile(file, text.replace('  port: 1', '  port: many'));
    await writeFile(join(folder.path, 'config/fresh.yaml'), 'id: fresh\nvalue: 1\n');
    await waitFor(() => seen.some((event) => event['id'] === 'fresh'));
    expect(await call('get', { id: 'mailer' })).toEqual({ id: 'mailer', value: { port: 7 } });
    await rm(file);
    await waitFor(() =>
      seen.some((event) => event['event_type'] === 'configuration:deleted' && event['id'] === 'mailer'),
    );
    await expect(call('get', { id: 'mailer' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('configurations of built-in workers', () => {
  const QUEUE = `${BASE}  - name: iii-queue # named so\n    config:\n      queue_configs:\n        clicks:\n          max_retries: 5 # five\n`;

  it('are read and set where they stand, in force when answered, comments kept', async () => {
    const { call, worker } = await start({ text: QUEUE });
    const seen = await events(worker, { configuration_id: 'iii-queue' });
    expect(await call('get', { id: 'iii-queue' })).toEqual({
      id: 'iii-queue',
      value: { queue_configs: { clicks: { max_retries: 5 } } },
    });
    const value = { queue_configs: { clicks: { max_retries: 6 }, mails: {} } };
    expect(await call('set', { id: 'iii-queue', value })).toEqual({
      old_value: { queue_configs: { clicks: { max_retries: 5 } } },
      new_value: value,
    });
    expect(await call('get', { id: 'queue' })).toEqual({ id: 'queue', value });
    expect(await readFile(join(folder.path, 'config.yaml'), 'utf8')).toBe(
      QUEUE.replace('max_retries: 5 # five', 'max_retries: 6 # five\n        mails: {}'),
    );
    await waitFor(() => seen.length === 1);
    expect(seen[0]).toMatchObject({ event_type: 'configuration:updated', new_value: value });
    const described = await call<{ id: string; schema: unknown }>('schema', { id: 'iii-queue' });
    expect(described.id).toBe('iii-queue');
    expect(JSON.stringify(described.schema)).toContain('"max_retries"');
  });

  it('are refused with the nearest key, and nothing is written', async () => {
    const { call } = await start({ text: QUEUE });
    await expect(
      call('set', { id: 'iii-queue', value: { queue_configs: { clicks: { max_retrys: 1 } } } }),
    ).rejects.toMatchObject({
      code: 'SCHEMA_INVALID',
      message:
        'schema validation failed: iii-queue.queue_configs.clicks: unknown key "max_retrys" (did you mean "max_retries"?)',
    });
    await expect(call('register', { ...MAILER, id: 'queue' })).rejects.toMatchObject({ code: 'INVALID_ID' });
    await expect(
      call('set', { id: 'iii-queue', value: { queue_configs: { clicks: { max_retries: '${N}' } } } }),
    ).rejects.toMatchObject({ code: 'EXPAND_FAILED' });
    expect(await readFile(join(folder.path, 'config.yaml'), 'utf8')).toBe(QUEUE);
  });

  it('are set in config/<id>.yaml where they come from there', async () => {
    await mkdir(join(folder.path, 'config'));
    await writeFile(join(folder.path, 'config/queue.yaml'), '# mine\nid: queue\nvalue:\n  queue_configs: {}\n');
    const { call } = await start({ text: `${BASE}  - name: queue\n` });
    await call('set', { id: 'queue', value: { queue_configs: { a: {} } } });
    expect(await readFile(join(folder.path, 'config/queue.yaml'), 'utf8')).toBe(
      '# mine\nid: queue\nvalue:\n  queue_configs:\n    a: {}\n',
    );
    expect(await readFile(join(folder.path, 'config.yaml'), 'utf8')).toBe(`${BASE}  - name: queue\n`);
  });

  it('change in memory only when the engine is embedded', async () => {
    const value = { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, { name: 'queue' }] };
    const { call } = await start({ value });
    await call('set', { id: 'queue', value: { queue_configs: { a: {} } } });
    expect(await call('get', { id: 'queue' })).toEqual({ id: 'queue', value: { queue_configs: { a: {} } } });
    await call('register', { ...MAILER, initial_value: {} });
    expect((await readdir(folder.path)).filter((name) => name.startsWith('config'))).toEqual([]);
    expect(value.workers[1]).toEqual({ name: 'queue' });
  });
});

describe('the worker itself', () => {
  it.each([
    [
      'ttl_seconds: 5',
      'configuration.ttl_seconds: deleting configurations that nobody watches is not in this version: use 0',
    ],
    ['adapter: { name: bridge }', 'configuration.adapter.name: the bridge adapter is not in this version: use fs'],
    ['directry: x', 'configuration: unknown key "directry" (did you mean "directory"?)'],
  ])('refuses %s by name', async (line, message) => {
    await expect(start({ text: `${BASE}  - name: configuration\n    config:\n      ${line}\n` })).rejects.toThrow(
      message,
    );
  });

  it('keeps files in another folder when told to', async () => {
    const { call } = await start({
      text: `${BASE}  - name: configuration\n    config: { adapter: { name: fs, config: { directory: ./data/settings } } }\n`,
    });
    await call('register', MAILER);
    expect(await readdir(join(folder.path, 'data/settings'))).toEqual(['mailer.yaml']);
  });

  it('refuses a trigger that it does not understand', async () => {
    const { worker } = await start();
    await expect(events(worker, { event_types: ['sneezed'] })).rejects.toThrow(
      'Failed to parse configuration trigger config',
    );
  });
});
