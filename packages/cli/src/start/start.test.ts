import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run, start, type Running } from '../testing/run-command.js';

const FREE_PORT = 'workers:\n  - name: iii-worker-manager\n    config:\n      port: 0\n';

let folder: TempFolder;
let running: Running | undefined;
beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(async () => {
  running?.process.kill('SIGKILL');
  await running?.finished;
  running = undefined;
  await folder.remove();
});

const write = (name: string, text: string) => writeFile(join(folder.path, name), text);
const listening = (from: Running) =>
  waitFor(() => /Engine listening on address: \S+:(\d+)/.exec(from.stdout())?.[1], { what: 'the engine to listen' });

describe('an engine', () => {
  test('tells what it read, runs, and ends with 0 on a signal', async () => {
    await write('config.yaml', FREE_PORT);
    running = start([], { cwd: folder.path });
    await listening(running);
    expect(running.stdout()).toMatch(
      /^Initializing logging from config file: config\.yaml\nParsed config file: config\.yaml\nLog level from config: info, Log format: default, OTel enabled: true\n\[.+ [AP]M\] \[INFO\] iii Building engine with 1 workers\n/,
    );
    running.process.kill('SIGTERM');
    const { exitCode, stdout, stderr } = await running.finished;
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toMatch(
      /\[WARN\] iii Shutting down engine and destroying workers\n(.*\n)*.*\[WARN\] iii Engine shutdown complete\n$/,
    );
  });

  test('answers iii trigger, and a signal that comes twice at once is one', async () => {
    await write('config.yaml', FREE_PORT);
    running = start(['--no-update-check'], { cwd: folder.path });
    const port = await listening(running);
    const { exitCode, stdout } = await run(['trigger', 'engine::workers::list', '--port', port], { cwd: folder.path });
    expect(exitCode).toBe(0);
    expect(stdout).toContain('"workers": [');
    running.process.kill('SIGINT');
    await waitFor(() => running?.stdout().includes('Shutting down'), { everyMs: 1 });
    running.process.kill('SIGINT'); // as a package manager passes it on; by then it may have ended
    const { exitCode: ended, stdout: log } = await running.finished;
    expect(log).toContain('Engine shutdown complete');
    expect(ended ?? 0).toBe(0);
  });

  test('that is interrupted while it starts ends as well', async () => {
    await write('config.yaml', FREE_PORT);
    running = start([], { cwd: folder.path });
    await waitFor(() => running?.stdout().includes('Building engine'), { everyMs: 1 });
    running.process.kill('SIGINT');
    const { exitCode, stdout } = await running.finished;
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/Engine shutdown complete\n$/);
  });

  test('keeps its data beside its configuration, wherever it is started', async () => {
    await write('other.yaml', `${FREE_PORT}  - name: iii-state\n`);
    const elsewhere = await tempFolder();
    running = start(['-c', join(folder.path, 'other.yaml')], { cwd: elsewhere.path });
    const port = await listening(running);
    await run(['trigger', 'state::set', 'scope=a', 'key=b', 'value=1', '--port', port], { cwd: folder.path });
    running.process.kill('SIGINT');
    await running.finished;
    expect(await readdir(join(folder.path, 'data'))).toContain('engine.db');
    expect(await readdir(elsewhere.path)).toEqual([]);
    await elsewhere.remove();
  });
});

describe('a missing configuration', () => {
  test('is created where nobody can be asked', async () => {
    running = start([], { cwd: folder.path, env: { PATH: process.env['PATH'] ?? '' } });
    await waitFor(() => running?.stderr().includes('Created config.yaml.'));
    expect(running.stderr()).toBe(
      'Created config.yaml. Add workers with `iii worker add <name>` — the engine picks them up live.\n',
    );
    const text = await readFile(join(folder.path, 'config.yaml'), 'utf8');
    expect(text.split('\n')).toHaveLength(5);
    expect(text).toMatch(/\nworkers: \[\]\n$/);
  });

  test('in a folder that is not there is an error', async () => {
    const { exitCode, stderr } = await run(['-c', 'absent/config.yaml'], { cwd: folder.path });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /^Error: no absent\/config\.yaml found, and it could not be created: .+ does not exist\.\n$/,
    );
  });
});

describe('a start that fails ends with 1, one line per reason and no stack trace', () => {
  const fails = async (config: string): Promise<string> => {
    await write('config.yaml', config);
    const { exitCode, stderr } = await run([], { cwd: folder.path });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^(Error: .+\n)+$/);
    expect(stderr).not.toMatch(/\n\s+at /);
    return stderr;
  };

  test('a misspelt worker', async () => {
    expect(await fails('workers:\n  - name: iii-qeue\n')).toContain('iii-queue');
  });

  test('an unknown key and a wrong type at once', async () => {
    const stderr = await fails(
      'workers:\n  - name: iii-queue\n    config:\n      queue_configs:\n        clicks:\n          max_retrys: 5\n          concurrency: many\n',
    );
    expect(stderr).toContain('config.yaml:6');
    expect(stderr).toContain('max_retries');
    expect(stderr).toContain('config.yaml:7');
  });

  test('broken YAML', async () => {
    expect(await fails('workers: [\n')).toContain('config.yaml:');
  });

  test('a variable that is not set', async () => {
    expect(await fails('workers:\n  - name: iii-http\n    config:\n      port: ${TRINE_TEST_NOT_SET}\n')).toContain(
      'TRINE_TEST_NOT_SET',
    );
  });

  test('a port that is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    expect(await fails(`workers:\n  - name: iii-worker-manager\n    config:\n      port: ${port}\n`)).toContain(
      String(port),
    );
    server.close();
  });
});
