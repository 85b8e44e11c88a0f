/** The supervisor inside a real engine: workers that connect, edits of config.yaml, an engine that is killed. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createEngine, type Engine } from '@trine/engine';
import { tempFolder, waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { groupWorks } from './process-group.js';

/** Engines, workers and installs of several files share the processor. */
const TIMEOUT_MS = 60_000;

/** A worker without an SDK: registers one function, answers with what its environment says. */
const WORKER = `
import WebSocket from ${JSON.stringify(import.meta.resolve('ws'))};
const name = process.env.III_WORKER_NAME;
const socket = new WebSocket(process.env.III_URL);
const send = (frame) => socket.send(JSON.stringify(frame));
socket.on('open', () => {
  send({ type: 'invokefunction', function_id: 'engine::workers::register', data: { name, pid: process.pid, runtime: 'node', version: '0.11.6' }, action: { type: 'void' } });
  send({ type: 'registerfunction', id: name + '::pid' });
});
socket.on('message', (text) => {
  const frame = JSON.parse(text);
  if (frame.type === 'invokefunction') send({ type: 'invocationresult', invocation_id: frame.invocation_id, function_id: frame.function_id, result: { pid: process.pid } });
});
socket.on('close', () => process.exit(1));
socket.on('error', () => process.exit(1));
`;

let folder: Awaited<ReturnType<typeof tempFolder>>;
let engine: Engine | undefined;
let killed: ChildProcess | undefined;
beforeEach(async () => void (folder = await tempFolder()));
afterEach(async () => {
  await engine?.stop();
  engine = undefined;
  killed?.kill('SIGKILL');
  await folder.remove();
});

async function addFolder(name: string): Promise<void> {
  await mkdir(join(folder.path, name), { recursive: true });
  await writeFile(join(folder.path, name, 'iii.worker.yaml'), `name: ${name}\nscripts:\n  start: "node worker.mjs"\n`);
  await writeFile(join(folder.path, name, 'worker.mjs'), WORKER);
}

const config = (...names: string[]): Promise<void> => configAt('localhost', ...names);

async function configAt(host: string, ...names: string[]): Promise<void> {
  const locals = names.map((name) => `  - name: ${name}\n    worker_path: ./${name}\n`).join('');
  const manager = `  - name: iii-worker-manager\n    config:\n      port: 0\n      host: ${host}\n`;
  await writeFile(join(folder.path, 'config.yaml'), `# kept\nworkers:\n${manager}${locals}`);
}

async function start(): Promise<Engine> {
  engine = await createEngine({ cwd: folder.path, config: 'config.yaml', logLevel: 'silent' });
  await engine.start();
  return engine;
}

function pidOf(running: Engine, name: string): Promise<number> {
  return waitFor(
    async () => {
      const answer = await running
        .worker('test')
        .trigger<unknown, { pid: number }>({ function_id: `${name}::pid`, payload: {} });
      return answer.pid;
    },
    { what: `${name} to answer`, timeoutMs: 20_000 },
  );
}

interface Listed {
  readonly workers: readonly { readonly name: string; readonly status: string; readonly pid: number | null }[];
}

async function listed(running: Engine, name: string): Promise<Listed['workers'][number] | undefined> {
  const list = await running.worker('test').trigger<unknown, Listed>({ function_id: 'worker::list', payload: {} });
  return list.workers.find((worker) => worker.name === name);
}

describe('local workers of an engine', { timeout: TIMEOUT_MS }, () => {
  it('connect, come and go with config.yaml, and end with the engine', async () => {
    await addFolder('one');
    await addFolder('two');
    await config('one');
    const running = await start();
    await pidOf(running, 'one');
    expect(await listed(running, 'one')).toMatchObject({ status: 'running' });

    await config('one', 'two');
    await pidOf(running, 'two');
    const two = (await listed(running, 'two'))?.pid ?? 0;
    expect(await groupWorks(two)).toBe(true);

    await config('one');
    await waitFor(async () => !(await groupWorks(two)));
    expect(await listed(running, 'two')).toBeUndefined();

    const one = (await listed(running, 'one'))?.pid ?? 0;
    await running.stop();
    expect(await groupWorks(one)).toBe(false);
  });

  it('are listed where config.yaml has them, not in the order in which workers start', async () => {
    await addFolder('one');
    await config('one');
    const path = join(folder.path, 'config.yaml');
    await writeFile(path, `${await readFile(path, 'utf8')}  - name: iii-pubsub\n`);
    const running = await start();
    const names = async (): Promise<string[]> => {
      const list = await running.worker('test').trigger<unknown, Listed>({ function_id: 'worker::list', payload: {} });
      return list.workers.map((worker) => worker.name);
    };
    expect((await names()).slice(0, 3)).toEqual(['iii-worker-manager', 'one', 'iii-pubsub']);
    const head = '# kept\nworkers:\n';
    await writeFile(path, (await readFile(path, 'utf8')).replace(head, `${head}  - name: iii-queue\n`));
    await waitFor(async () => (await names()).includes('iii-queue'));
    await waitFor(async () => (await names())[0] === 'iii-queue', { what: 'the new entry in its place' });
  });

  it('connect to the address that the engine listens on, and again when it moves', async () => {
    await addFolder('one');
    await configAt('127.0.0.2', 'one');
    const running = await start();
    const first = await pidOf(running, 'one');
    expect(running.url).toMatch(/^ws:\/\/127\.0\.0\.2:\d+$/);
    await configAt('127.0.0.3', 'one');
    await waitFor(async () => (await pidOf(running, 'one')) !== first, { timeoutMs: 20_000 });
    expect(running.url).toMatch(/^ws:\/\/127\.0\.0\.3:\d+$/);
  });

  it('are added and removed through the engine, which edits config.yaml', async () => {
    await addFolder('one');
    await config();
    const running = await start();
    const test = running.worker('test');
    const payload = { source: { kind: 'local', path: join(folder.path, 'one') } };
    expect(await test.trigger({ function_id: 'worker::add', payload })).toMatchObject({
      name: 'one',
      status: 'installed',
    });
    expect(await listed(running, 'one')).toMatchObject({ status: 'running' });
    const text = await readFile(join(folder.path, 'config.yaml'), 'utf8');
    expect(text).toMatch(/^# kept\n/);
    expect(text).toMatch(/ {2}- name: one\n {4}worker_path: \.\/one\n$/);
    const removal = { names: ['one'], yes: true };
    expect(await test.trigger({ function_id: 'worker::remove', payload: removal })).toEqual({ removed: ['one'] });
    expect(await readFile(join(folder.path, 'config.yaml'), 'utf8')).not.toContain('one');
  });

  it('end when the engine is killed, and run once when it is started again', async () => {
    await addFolder('one');
    await config('one');
    const program = join(folder.path, 'engine.mjs');
    await writeFile(
      program,
      `import { createEngine } from ${JSON.stringify(import.meta.resolve('@trine/engine'))};
       await (await createEngine({ cwd: ${JSON.stringify(folder.path)}, logLevel: 'silent' })).start();`,
    );
    killed = spawn(process.execPath, [program], { stdio: 'inherit' });
    const record = await waitFor(
      async () =>
        JSON.parse(await readFile(join(folder.path, '.iii/pids/one.json'), 'utf8')) as { readonly pid: number },
      { timeoutMs: 20_000 },
    );
    expect(await groupWorks(record.pid)).toBe(true);
    killed.kill('SIGKILL');

    const running = await start();
    await pidOf(running, 'one');
    expect(await groupWorks(record.pid)).toBe(false);
    expect(await listed(running, 'one')).toMatchObject({ status: 'running' });
  });
});
