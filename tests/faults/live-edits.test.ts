import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { Agent, get, type IncomingMessage } from 'node:http';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { createEngine, createLog, type Engine } from '@trine/engine';
import { RawWorker, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { registerWorker as registerOldWorker } from 'iii-sdk-0.11';
import { registerWorker as registerNewWorker } from 'iii-sdk-0.22';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { STACK_TRACE_LINE } from '../support/stack-trace.js';

const BASE = `# edited by hand, on a running engine
workers:
  - name: iii-worker-manager
    config:
      port: 0
  - name: iii-http
    config:
      port: 0
  - name: iii-queue
    config:
      queue_configs:
        clicks:
          max_retries: 5
`;
const DATABASE = (...names: string[]): string =>
  `  - name: database\n    config:\n      databases:\n${names.map((name) => `        ${name}:\n          url: sqlite:./${name}.db\n`).join('')}`;

let folder: TempFolder;
let engine: Engine;
let log: string;
let client: RawWorker;

beforeEach(async () => {
  folder = await tempFolder();
  log = '';
});
afterEach(async () => {
  client?.drop();
  await engine?.stop();
  await folder.remove();
});

const write = (text: string): Promise<void> => writeFile(join(folder.path, 'config.yaml'), text);

async function start(text = BASE): Promise<void> {
  await write(text);
  engine = await createEngine({
    cwd: folder.path,
    log: createLog({ level: 'info', stream: { write: (line) => (log += line) } }),
  });
  await engine.start();
  client = await RawWorker.connect(engine.url);
}

const reloads = (): number => log.split('reload: success').length - 1;

/** Writes config.yaml and waits until the engine runs what it says. */
async function edit(text: string): Promise<void> {
  const before = reloads();
  await write(text);
  await waitFor(() => reloads() > before, { what: 'the edit to apply' }).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${log.slice(-2_000)}`);
  });
}

const answers = async (functionId: string, data: unknown): Promise<boolean> =>
  (await client.ask(functionId, data))['error'] === undefined;

describe('live edits - what is added runs, what is removed goes', () => {
  test('a worker, databases and a queue come and go without a restart', async () => {
    await start();
    expect(await answers('state::set', { scope: 's', key: 'k', value: 1 })).toBe(false);
    await edit(`${BASE}  - name: iii-state\n`);
    expect(await client.call('state::set', { scope: 's', key: 'k', value: 1 })).toMatchObject({ new_value: 1 });

    await edit(BASE + DATABASE('one'));
    expect((await client.ask('state::get', { scope: 's', key: 'k' }))['error']).toMatchObject({
      code: 'function_not_found',
    });
    expect(await client.call('database::query', { db: 'one', sql: 'SELECT 1 AS n' })).toMatchObject({ row_count: 1 });
    expect(await answers('database::query', { db: 'two', sql: 'SELECT 1' })).toBe(false);
    await edit(BASE + DATABASE('one', 'two'));
    expect(await answers('database::query', { db: 'two', sql: 'SELECT 1' })).toBe(true);
    await edit(BASE + DATABASE('two'));
    expect(await answers('database::query', { db: 'one', sql: 'SELECT 1' })).toBe(false);

    const seen: unknown[] = [];
    client.serve('live::job', (data) => void seen.push(data));
    const enqueue = { action: { type: 'enqueue', queue: 'added' } };
    expect((await client.ask('live::job', {}, enqueue))['error']).toMatchObject({ code: 'enqueue_error' });
    await edit(`${BASE}        added:\n          type: standard\n`);
    expect(await client.call('live::job', { n: 1 }, enqueue)).toHaveProperty('messageReceiptId');
    await waitFor(() => seen.length === 1, { what: 'the job of the added queue' });
    await edit(BASE);
    expect((await client.ask('live::job', {}, enqueue))['error']).toMatchObject({ code: 'enqueue_error' });
    expect((await client.ask('database::query', { db: 'two', sql: 'SELECT 1' }))['error']).toMatchObject({
      code: 'function_not_found',
    });
  });

  test('workers that no edit names notice nothing: a running job, a kept connection, connected SDKs', async () => {
    await start();
    const options = { otel: { enabled: false } };
    const sdks = [registerOldWorker(engine.url, options), registerNewWorker(engine.url, options)];
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      sdks.forEach((sdk, i) => sdk.registerFunction(`sdk${i}::echo`, async (data: unknown) => data));
      for (const i of sdks.keys()) await waitFor(() => answers(`sdk${i}::echo`, {}), { what: `SDK ${i} to serve` });
      // Ids change with each connection: the same ids later mean that nobody had to connect again.
      const sessions = async (): Promise<string[]> =>
        ((await client.call('engine::workers::list', {})) as { workers: { id: string; runtime?: string }[] }).workers
          .filter(({ runtime }) => runtime === 'node')
          .map(({ id }) => id)
          .sort();
      const connected = await waitFor(async () => {
        const ids = await sessions();
        return ids.length === sdks.length ? ids : undefined;
      });

      client.serve('live::page', () => ({ status_code: 200, body: 'page' }));
      client.send({
        type: 'registertrigger',
        id: 't',
        trigger_type: 'http',
        function_id: 'live::page',
        config: { api_path: 'page' },
      });
      const port = engine.ports['http'] as number;
      await waitFor(async () => (await request(agent, port)).status === 200);
      const { socket } = await request(agent, port);

      const deliveries: unknown[] = [];
      let finish = (): void => undefined;
      client.serve('live::long', (_data, { metadata }) => {
        deliveries.push((metadata as { queue: { attempt: number } }).queue.attempt);
        return new Promise<null>((resolve) => (finish = () => resolve(null)));
      });
      await client.call('live::long', {}, { action: { type: 'enqueue', queue: 'clicks' } });
      await waitFor(() => deliveries.length === 1, { what: 'the job to start' });

      await edit(`${BASE}  - name: iii-state\n`);
      await edit(`${BASE}        added: {}\n${DATABASE('one')}`);
      await edit(BASE.replace('max_retries: 5', 'max_retries: 7'));
      await refused(`${BASE}  - name: iii-quue\n`);
      await edit(BASE);

      const after = await request(agent, port);
      expect(after).toMatchObject({ status: 200, socket });
      expect(engine.ports['http']).toBe(port);
      expect(await sessions()).toEqual(connected);
      expect(client.isOpen).toBe(true);
      for (const i of sdks.keys()) expect(await client.call(`sdk${i}::echo`, { i })).toMatchObject({ i });
      finish();
      const stats = (): Promise<unknown> => client.call('engine::queue::topic_stats', { topic: 'clicks' });
      await waitFor(async () => ((await stats()) as { depth: number }).depth === 0, { what: 'the job to end' });
      expect(await stats()).toMatchObject({ depth: 0, delayed: 0, dlq_depth: 0 });
      expect(deliveries).toEqual([1]);
    } finally {
      agent.destroy();
      await Promise.all(sdks.map((sdk) => sdk.shutdown()));
    }
  });
});

/** Writes what does not hold, waits until the log says so, and returns what it says. */
async function refused(text: string): Promise<string> {
  const from = log.length;
  await write(text);
  return waitFor(() => /reload: refused[\s\S]*\n/.exec(log.slice(from))?.[0], { what: 'the edit to be refused' });
}

describe('live edits - one that does not hold is refused, and what ran before runs on', () => {
  test.each([
    [
      'a misspelt worker name',
      `${BASE}  - name: iii-quue\n`,
      /config\.yaml:14: unknown worker 'iii-quue' \(did you mean "iii-queue"\?\)/,
    ],
    [
      'an unknown key',
      BASE.replace('max_retries', 'max_retrys'),
      /config\.yaml:13: iii-queue\.queue_configs\.clicks: unknown key "max_retrys" \(did you mean "max_retries"\?\)/,
    ],
    [
      'a wrong type',
      BASE.replace('max_retries: 5', 'max_retries: many'),
      /config\.yaml:13: iii-queue\.queue_configs\.clicks\.max_retries: expected a number, got text/,
    ],
    ['broken YAML', `${BASE}  - name: [\n`, /config\.yaml:\d+: not valid YAML/],
    [
      'an unset variable',
      BASE.replace('max_retries: 5', 'max_retries: ${TRINE_TEST_NOT_SET}'),
      /config\.yaml:13: environment variable TRINE_TEST_NOT_SET is not set/,
    ],
    ['a list of workers that is none', 'workers: iii-queue\n', /config\.yaml:1: workers must be a list/],
  ])('%s', async (_what, text, message) => {
    await start();
    client.serve('live::job', () => null);
    expect(await refused(text)).toMatch(message);
    expect(log).not.toMatch(STACK_TRACE_LINE);
    expect(client.isOpen).toBe(true);
    expect(await client.call('live::job', {}, { action: { type: 'enqueue', queue: 'clicks' } })).toHaveProperty(
      'messageReceiptId',
    );
    // Mended, the file applies again.
    await edit(`${BASE}  - name: iii-state\n`);
    expect(await answers('state::get', { scope: 's', key: 'k' })).toBe(true);
  });

  test('a port that is taken: the server stays where it was, the log names port and worker', async () => {
    await start();
    const port = engine.ports['http'] as number;
    const taken = Number(new URL(engine.url).port);
    const said = await refused(
      BASE.replace('name: iii-http\n    config:\n      port: 0', `name: iii-http\n    config:\n      port: ${taken}`),
    );
    expect(said).toContain('iii-http');
    expect(said).toContain(String(taken));
    expect(engine.ports['http']).toBe(port);
    expect((await fetch(`http://127.0.0.1:${port}/nothing`)).status).toBe(404);
  });
});

describe('live edits - one of which a part cannot be applied', () => {
  const TAKEN = (port: number): string =>
    BASE.replace('name: iii-http\n    config:\n      port: 0', `name: iii-http\n    config:\n      port: ${port}`);

  async function applyInPart(): Promise<string> {
    await start();
    const taken = TAKEN(Number(new URL(engine.url).port)).replace('max_retries: 5', 'max_retries: 7');
    await write(`${taken}  - name: iii-state\n`);
    return waitFor(() => /reload: applied in part.*\n/.exec(log)?.[0], { what: 'the reload' });
  }

  test('the log tells what was applied and what was not', async () => {
    await applyInPart();
    const { port } = new URL(engine.url);
    expect(log).toContain(
      `reload: applied in part (changed iii-queue, added iii-state); refused, and as it was before: iii-http: address 127.0.0.1:${port} is already in use`,
    );
    expect(log).not.toContain('reload: success');
    expect(log).not.toContain('what ran before runs on');
  });

  test('settings are read as they are in force, and what is refused does not stop others from being set', async () => {
    await applyInPart();
    const settings = async (id: string): Promise<unknown> =>
      ((await client.call('configuration::get', { id })) as { value: unknown }).value;
    expect(await settings('iii-queue')).toEqual({ queue_configs: { clicks: { max_retries: 7 } } });
    expect(await settings('iii-http')).toEqual({ port: 0 });
    const value = { queue_configs: { clicks: { max_retries: 9 } } };
    await client.call('configuration::set', { id: 'iii-queue', value });
    expect(await settings('iii-queue')).toEqual(value);
    expect(await readFile(join(folder.path, 'config.yaml'), 'utf8')).toContain('max_retries: 9');
    await edit(BASE);
    expect(await settings('iii-queue')).toEqual({ queue_configs: { clicks: { max_retries: 5 } } });
  });
});

describe('live edits - the worker port', () => {
  const at = (port: number): string => BASE.replace('port: 0', `port: ${port}`);

  test('one that is taken costs no worker its connection', async () => {
    await start();
    const { url } = engine;
    expect(await refused(at(engine.ports['http'] as number))).toContain('iii-worker-manager');
    expect(engine.url).toBe(url);
    await client.call('engine::workers::list', {});
    (await RawWorker.connect(url)).drop();
  });

  test('a second one is another way in, and its end leaves the first', async () => {
    await start();
    const { url } = engine;
    const second = '  - name: iii-worker-manager\n    config:\n      port: 0\n      handshake_timeout_ms: 5000\n';
    await edit(BASE + second);
    expect(engine.url).toBe(url);
    const late = await RawWorker.connect(`ws://127.0.0.1:${engine.ports['iii-worker-manager#1']}`);
    await late.call('engine::workers::list', {});
    late.drop();
    await edit(BASE);
    expect(engine.ports).toEqual({ 'iii-worker-manager': Number(new URL(url).port), http: engine.ports['http'] });
    await edit(BASE.replace('  - name: iii-http\n    config:\n      port: 0\n', ''));
    expect(engine.ports).toEqual({ 'iii-worker-manager': Number(new URL(url).port) });
    expect(engine.url).toBe(url);
  });

  test('a free one is where new workers connect, and those that are connected stay', async () => {
    await start();
    const { port } = await freePort();
    await edit(at(port));
    expect(engine.url).toBe(`ws://127.0.0.1:${port}`);
    client.serve('live::here', () => 'still');
    await client.call('engine::workers::list', {});
    const late = await RawWorker.connect(engine.url);
    expect(await late.call('live::here', {})).toBe('still');
    late.drop();
  });
});

async function freePort(): Promise<AddressInfo> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return address;
}

/** A local worker without an SDK, which says who it is and stays. */
const LOCAL_WORKER = `
import WebSocket from ${JSON.stringify(import.meta.resolve('ws'))};
const socket = new WebSocket(process.env.III_URL);
const data = { name: process.env.III_WORKER_NAME, pid: process.pid, runtime: 'node', version: '0.11.6' };
socket.on('open', () => socket.send(JSON.stringify({ type: 'invokefunction', function_id: 'engine::workers::register', data, action: { type: 'void' } })));
socket.on('close', () => process.exit(1));
socket.on('error', () => process.exit(1));
`;

describe('live edits - local workers', () => {
  test('one that was stopped by hand stays stopped over reloads, the other keeps its process', async () => {
    for (const name of ['alpha', 'beta']) {
      await mkdir(join(folder.path, name));
      await writeFile(
        join(folder.path, name, 'iii.worker.yaml'),
        `name: ${name}\nscripts:\n  start: "node worker.mjs"\n`,
      );
      await writeFile(join(folder.path, name, 'worker.mjs'), LOCAL_WORKER);
    }
    const config = `${BASE}  - name: alpha\n    worker_path: ./alpha\n  - name: beta\n    worker_path: ./beta\n`;
    await start(config);
    const status = async (name: string): Promise<{ status: string; pid: number | null } | undefined> =>
      (
        (await client.call('worker::list', {})) as { workers: { name: string; status: string; pid: number | null }[] }
      ).workers.find((worker) => worker.name === name);
    await waitFor(
      async () => (await status('alpha'))?.status === 'running' && (await status('beta'))?.status === 'running',
      { timeoutMs: 30_000 },
    );
    const beta = (await status('beta'))?.pid;
    await client.call('worker::stop', { name: 'alpha' });
    await waitFor(async () => (await status('alpha'))?.status === 'stopped');
    await edit(`${config}  - name: iii-state\n`);
    await edit(config.replace('max_retries: 5', 'max_retries: 2'));
    await edit(config);
    expect(await status('alpha')).toMatchObject({ status: 'stopped', pid: null });
    expect(await status('beta')).toMatchObject({ status: 'running', pid: beta });
    await client.call('worker::start', { name: 'alpha', wait: true });
    expect(await status('alpha')).toMatchObject({ status: 'running' });
  });
});

/** A request on the agent's one connection. */
async function request(agent: Agent, port: number): Promise<{ status: number | undefined; socket: Socket }> {
  const sent = get({ agent, host: '127.0.0.1', port, path: '/page' });
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const { socket } = response;
  response.resume();
  await once(response, 'end');
  return { status: response.statusCode, socket };
}
