import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run, start, type Running } from '../testing/run-command.js';

const CONFIG = '# mine\nworkers:\n  # the socket\n  - name: iii-worker-manager\n    config:\n      port: 0\n';
/** A worker in a few lines of plain Node: says its name, then stays. */
const SOURCE = `
const socket = new WebSocket(process.env.III_URL);
socket.onopen = () => {
  const data = { name: process.env.III_WORKER_NAME, runtime: 'node', pid: process.pid };
  socket.send(JSON.stringify({ type: 'invokefunction', function_id: 'engine::workers::register', data, action: { type: 'void' } }));
  console.log('connected as', data.name);
};
`;

let folder: TempFolder;
let engine: Running | undefined;
let url: Record<string, string> = {};
beforeEach(async () => {
  folder = await tempFolder();
  await writeFile(join(folder.path, 'config.yaml'), CONFIG);
});
afterEach(async () => {
  engine?.process.kill('SIGTERM');
  await engine?.finished;
  engine = undefined;
  url = {};
  await folder.remove();
});

const worker = (...words: string[]) => run(['worker', ...words], { cwd: folder.path, env: url });
const config = () => readFile(join(folder.path, 'config.yaml'), 'utf8');

async function startEngine(): Promise<void> {
  engine = start([], { cwd: folder.path });
  const port = await waitFor(() => /Engine listening on address: \S+:(\d+)/.exec(engine?.stdout() ?? '')?.[1]);
  await waitFor(() => engine?.stdout().includes('reload: watching'));
  url = { III_URL: `ws://127.0.0.1:${port}` };
}

async function localWorker(name: string): Promise<void> {
  await mkdir(join(folder.path, name));
  const start = 'exec node --experimental-websocket main.mjs';
  await writeFile(join(folder.path, name, 'iii.worker.yaml'), `name: ${name}\nscripts:\n  start: ${start}\n`);
  await writeFile(join(folder.path, name, 'main.mjs'), SOURCE);
}

describe('without an engine', () => {
  test('a built-in is added with its default block, comments kept', async () => {
    const { exitCode, stdout, stderr } = await worker('add', 'iii-pubsub');
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
    expect(stderr).toBe(
      '\n  ✓ Worker iii-pubsub added to config.yaml\n  Start the engine to run it, or edit config.yaml to customize.\n',
    );
    expect(await config()).toBe(`${CONFIG}  - name: iii-pubsub\n    config:\n      adapter:\n        name: local\n`);
    expect((await worker('add', 'pubsub')).stderr).toContain('Worker pubsub is in config.yaml already (as iii-pubsub)');
  });

  test('a folder is added with a path relative to config.yaml, once', async () => {
    await localWorker('link');
    const { exitCode, stderr } = await worker('add', './link');
    expect(exitCode).toBe(0);
    expect(stderr).toBe(
      "\n  ⚠ Added link (local) to config.yaml, but the engine isn't running.\n  --wait cannot observe it boot — run `iii` in another terminal first.\n",
    );
    expect(await config()).toBe(`${CONFIG}  - name: link\n    worker_path: ./link\n`);
    const again = await worker('add', './link');
    expect(again.exitCode).toBe(1);
    expect(again.stderr).toMatch(/^error: Worker 'link' is already in config\.yaml\.\nFix options:\n/);
    expect((await worker('add', './link', '--force')).exitCode).toBe(0);
    expect(await config()).toBe(`${CONFIG}  - name: link\n    worker_path: ./link\n`);
  });

  test.each([
    [['add', 'iii-sate'], "error: Worker 'iii-sate' not found (did you mean 'iii-state'?)"],
    [['add', 'iii-cron'], "error: worker 'iii-cron' is not in this version"],
    [['add', './absent'], "error: Cannot resolve path './absent': there is no "],
    [['add', './config.yaml'], "error: './config.yaml' is not a directory"],
    [
      ['add', 'ghcr.io/acme/thing:1'],
      "error: 'ghcr.io/acme/thing:1' reads as a container image, which is not in this version.",
    ],
    [
      ['remove', 'absent', '-y'],
      "error: Worker 'absent' is not in config.yaml. Run `iii worker list` to see known workers.",
    ],
    [['remove', 'iii-worker-manager'], 'error: remove is destructive; pass -y/--yes for non-interactive use'],
    [['start', 'link'], 'error: no iii engine runs at '],
    [['stop', 'absent'], "error: Worker 'absent' is not in config.yaml."],
    [['logs', 'absent'], "error: Worker 'absent' is not in config.yaml."],
  ])('%j is refused and changes nothing', async (words, message) => {
    const { exitCode, stderr } = await worker(...words);
    expect(stderr.startsWith(message)).toBe(true);
    expect(exitCode).toBe(1);
    expect(await config()).toBe(CONFIG);
  });

  test('a worker is removed, and the rest of the file stays', async () => {
    await worker('add', 'iii-pubsub');
    const { exitCode, stderr } = await worker('remove', 'iii-pubsub', '-y');
    expect(exitCode).toBe(0);
    expect(stderr).toBe('  • removing iii-pubsub\n  ✓ iii-pubsub removed from config.yaml\n');
    expect(await config()).toBe(CONFIG);
  });

  test('list and status show what config.yaml says', async () => {
    const list = await worker('list');
    expect(list).toMatchObject({ exitCode: 0, stdout: '' });
    expect(list.stderr).toMatch(
      / {2}NAME +VERSION +PID +STATUS\n {2}---- +------- +--- +------\n {2}iii-worker-manager +- +- +stopped\n/,
    );
    expect(JSON.parse((await worker('list', '--json')).stdout)).toEqual([
      { name: 'iii-worker-manager', version: null, running: false, status: 'stopped', pid: null },
    ]);
    const status = await worker('status', 'iii-worker-manager');
    expect(status.exitCode).toBe(1);
    expect(status.stderr).toContain('⚠ engine not running (start it with `iii`)');
  });

  test('a folder without config.yaml is told apart from a project without workers', async () => {
    const elsewhere = join(folder.path, 'elsewhere');
    await mkdir(elsewhere);
    const list = await run(['worker', 'list'], { cwd: elsewhere });
    expect(list).toMatchObject({ exitCode: 0, stdout: '' });
    expect(list.stderr).toMatch(/^note: no config file in .*elsewhere/);
    expect((await worker('list')).stderr).not.toContain('note: no config file');
  });

  test('the log of a built-in is the log of the engine', async () => {
    expect(await worker('logs', 'iii-worker-manager')).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: "iii-worker-manager runs inside the engine: its lines are in the engine's own output\n",
    });
  });
});

describe('with a running engine', () => {
  test('a built-in runs as soon as the command returns', async () => {
    await startEngine();
    const { exitCode, stderr } = await worker('add', 'iii-pubsub');
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '\n  ✓ Worker iii-pubsub added to config.yaml\n' });
    const { stdout } = await run(['trigger', 'engine::functions::list'], { cwd: folder.path, env: url });
    expect(stdout).toContain('"function_id": "publish"');
  });

  test('a misspelt built-in is refused by name, and config.yaml stays', async () => {
    await startEngine();
    const { exitCode, stderr } = await worker('add', 'iii-sate');
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: "error: Worker 'iii-sate' not found (did you mean 'iii-state'?)\n",
    });
    expect(await config()).toBe(CONFIG);
  });

  test('the folder that was meant by a bare name is named', async () => {
    await localWorker('link');
    await startEngine();
    const { exitCode, stderr } = await worker('add', 'link');
    expect(exitCode).toBe(1);
    expect(stderr).toBe(
      "error: Worker 'link' not found\n  For a folder of your own write its path: iii worker add ./link\n",
    );
  });

  test('a built-in that the engine refuses is taken out of config.yaml again, and not tried at later saves', async () => {
    await startEngine();
    await mkdir(join(folder.path, 'data', 'iii.db'), { recursive: true }); // where its default block wants a file
    const { exitCode, stderr } = await worker('add', 'database');
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^error: the engine refused it, and config\.yaml is as it was: database: /);
    expect(await config()).toBe(CONFIG);
    const before = engine?.stdout().split('database').length;
    expect((await worker('add', 'iii-pubsub')).exitCode).toBe(0);
    expect(engine?.stdout().split('database').length).toBe(before);
  });

  test('an entry of mine that cannot start keeps its settings when it is added, and can be removed', async () => {
    await startEngine();
    const taken = new URL(url['III_URL'] ?? '').port;
    const mine = `${CONFIG}  - name: iii-http\n    config:\n      port: ${taken} # mine\n`;
    await writeFile(join(folder.path, 'config.yaml'), mine);
    await waitFor(() => engine?.stdout().includes('reload: refused'));
    const { exitCode, stderr } = await worker('add', 'iii-http');
    expect(exitCode).toBe(1);
    expect(stderr).toBe(
      "error: Worker 'iii-http' is in config.yaml, and the engine could not apply it; its log says why.\n  Correct its entry, or write it anew: iii worker add iii-http --force\n",
    );
    expect(await config()).toBe(mine);
    expect(await worker('remove', 'iii-http', '-y')).toMatchObject({ exitCode: 0 });
    expect(await config()).toBe(CONFIG);
  });

  test('a worker that is added anew keeps its settings as they are written, variables and all', async () => {
    await localWorker('link');
    const entry = `  - name: link\n    worker_path: ./link\n    config:\n      secret: "\${TRINE_TEST_SECRET:none}"\n`;
    await writeFile(join(folder.path, 'config.yaml'), CONFIG + entry);
    await startEngine();
    expect(await worker('add', './link', '--force')).toMatchObject({ exitCode: 0 });
    expect(await config()).toContain('${TRINE_TEST_SECRET:none}');
  });

  test('a local worker is added, stopped, started, shown, followed and removed', async () => {
    await localWorker('link');
    await startEngine();
    const added = await worker('add', './link');
    expect(added.stderr).toMatch(/^\n {2}→ Adding link \(local\)\.\.\.\n( {2}⟳ link .+\n)* {2}✓ ready in \d+\.\ds\n$/);
    expect(added.exitCode).toBe(0);
    expect(await config()).toContain('  - name: link\n    worker_path: ./link\n');

    expect((await worker('status', 'link')).stderr).toMatch(/✓ link ready \(pid \d+\)\n\n {5}engine: {2}running\n/);
    expect((await worker('list')).stderr).toMatch(/ {2}link +- +\d+ +running\n/);

    expect((await worker('stop', 'link')).stderr).toBe('  Stopping link...\n  ✓ link stopped\n');
    expect((await worker('stop', 'link')).stderr).toBe('  ✓ link already stopped\n');
    expect((await worker('list')).stderr).toMatch(/ {2}link +- +- +stopped\n/);
    expect((await worker('start', 'link')).stderr).toMatch(
      /^ {2}Starting link\.\.\.\n( {2}⟳ link .+\n)* {2}✓ ready in /,
    );

    const logs = start(['worker', 'logs', 'link', '-f'], { cwd: folder.path, env: url });
    await waitFor(() => logs.stdout().split('connected as link').length === 3);
    expect((await worker('restart', 'link')).exitCode).toBe(0);
    await waitFor(() => logs.stdout().split('connected as link').length === 4, {
      what: 'the new line of the followed log',
    });
    logs.process.kill('SIGINT');
    await logs.finished;

    expect(await worker('remove', 'link', '-y')).toMatchObject({ exitCode: 0 });
    expect(await config()).not.toContain('link');
    expect((await worker('status', 'link')).stderr).toContain('✗ link not in config.yaml');
  });

  test('a local worker that cannot start fails the command with the reason', async () => {
    await mkdir(join(folder.path, 'broken'));
    await writeFile(
      join(folder.path, 'broken', 'iii.worker.yaml'),
      'name: broken\nscripts:\n  install: echo no index here >&2; exit 3\n  start: sleep 60\n',
    );
    await startEngine();
    const { exitCode, stderr } = await worker('add', './broken');
    expect(exitCode).toBe(1);
    expect(stderr).toContain('error: broken failed: ');
    expect(stderr).toContain('iii worker logs broken');
  });

  test('a local worker that ends by itself is told of with its error, not with what Node prints below', async () => {
    await mkdir(join(folder.path, 'broken'));
    await writeFile(
      join(folder.path, 'broken', 'iii.worker.yaml'),
      'name: broken\nscripts:\n  start: exec node nothere.js\n',
    );
    await startEngine();
    expect((await worker('add', './broken')).stderr).toMatch(/\n {2}\| Error: Cannot find module '.*nothere\.js'\n/);
    expect((await worker('status', 'broken')).stderr).toMatch(/ {7}tail: {2}Error: Cannot find module '/);
  });

  test('the error of a worker whose watcher waits for the next save is told while it is waited for', async () => {
    await mkdir(join(folder.path, 'broken'));
    await writeFile(
      join(folder.path, 'broken', 'iii.worker.yaml'),
      'name: broken\nscripts:\n  start: node nothere.js || exec sleep 60\n',
    );
    await startEngine();
    const adding = start(['worker', 'add', './broken'], { cwd: folder.path, env: url });
    await waitFor(() => /\n {2}\| Error: Cannot find module '.*nothere\.js'\n/.test(adding.stderr()));
    adding.process.kill('SIGKILL');
    const { stderr } = await adding.finished;
    expect(stderr.split('Cannot find module')).toHaveLength(2);
    // It is the error of that run, and not of the next one.
    await writeFile(join(folder.path, 'broken', 'nothere.js'), 'setInterval(() => undefined, 1000);\n');
    expect((await worker('restart', 'broken', '--no-wait')).exitCode).toBe(0);
    const status = await worker('status', 'broken');
    expect(status.stderr).toContain('⟳ broken starting (pid ');
    expect(status.stderr).not.toContain('Cannot find module');
  });

  test('built-ins cannot be stopped alone', async () => {
    await startEngine();
    expect((await worker('start', 'iii-worker-manager')).stderr).toBe(
      "'iii-worker-manager' is a builtin worker — served by the iii engine process.\n",
    );
    expect(await worker('stop', 'iii-worker-manager')).toMatchObject({
      exitCode: 1,
      stderr:
        "error: Cannot stop 'iii-worker-manager': config workers run inside the engine and cannot be stopped individually\n",
    });
  });

  test('the engine of another project is left alone', async () => {
    await startEngine();
    const port = new URL(url['III_URL'] ?? '').port;
    const other = join(folder.path, 'other');
    await mkdir(other);
    await writeFile(
      join(other, 'config.yaml'),
      `workers:\n  - name: iii-worker-manager\n    config:\n      port: ${port}\n`,
    );
    const { exitCode, stderr } = await run(['worker', 'add', 'iii-pubsub'], { cwd: other });
    expect(exitCode).toBe(0);
    expect(stderr).toContain('runs another project');
    expect(await readFile(join(other, 'config.yaml'), 'utf8')).toContain('iii-pubsub');
    expect(await config()).toBe(CONFIG);
  });
});
