import { once } from 'node:events';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { STACK_TRACE_LINE } from '../support/stack-trace.js';

let folder: TempFolder;
beforeEach(async () => void (folder = await tempFolder()));
afterEach(() => folder.remove());

/** Runs the command in the folder until it ends by itself. */
async function startFails(config: string): Promise<string> {
  await writeFile(join(folder.path, 'config.yaml'), config);
  const engine = EngineProcess.spawn({ cwd: folder.path });
  const timer = setTimeout(() => void engine.kill(), 30_000);
  const { code, signal } = await engine.exited;
  clearTimeout(timer);
  expect({ code, signal }, engine.output).toEqual({ code: 1, signal: null });
  expect(engine.output).not.toMatch(STACK_TRACE_LINE);
  return engine.output;
}

const FREE = 'workers:\n  - name: iii-worker-manager\n    config:\n      port: 0\n';

describe('start-up - a configuration that does not hold ends the engine with its file, line and remedy', () => {
  test.each([
    [
      'a misspelt worker name',
      '  - name: iii-quue\n',
      `config.yaml:5: unknown worker 'iii-quue' (did you mean "iii-queue"?)`,
    ],
    [
      'an unknown key',
      '  - name: iii-queue\n    config:\n      queue_configs:\n        clicks:\n          max_retrys: 5\n',
      'config.yaml:9: iii-queue.queue_configs.clicks: unknown key "max_retrys" (did you mean "max_retries"?)',
    ],
    [
      'an unknown key of an entry',
      '  - name: iii-queue\n    confg: {}\n',
      'config.yaml:6: iii-queue: unknown key "confg" (did you mean "config"?)',
    ],
    [
      'a wrong type',
      '  - name: iii-http\n    config:\n      port: high\n',
      'config.yaml:7: iii-http.port: expected a number, got text',
    ],
    ['a value out of range', '  - name: iii-http\n    config:\n      port: 70000\n', 'config.yaml:7: iii-http.port: '],
    ['broken YAML', '  - name: [iii-queue\n', 'not valid YAML'],
    [
      'an unset variable',
      '  - name: iii-http\n    config:\n      host: ${TRINE_TEST_NOT_SET}\n',
      'config.yaml:7: environment variable TRINE_TEST_NOT_SET is not set',
    ],
    ['one worker under two names', '  - name: iii-queue\n  - name: queue\n', 'Duplicate worker configurations'],
    ['a worker of a later version', '  - name: iii-cron\n', `config.yaml:5: worker 'iii-cron' is not in this version`],
  ])('%s', async (_what, lines, message) => {
    expect(await startFails(FREE + lines)).toContain(message);
  });

  test('several faults are all told at once', async () => {
    const output = await startFails(`${FREE}  - name: iii-quue\n  - name: iii-http\n    config:\n      prt: 1\n`);
    expect(output).toContain('config.yaml:5: ');
    expect(output).toContain('config.yaml:8: iii-http: unknown key "prt" (did you mean "port"?)');
  });

  test('a list of workers that is none', async () => {
    expect(await startFails('workers: iii-queue\n')).toContain('config.yaml:1: workers must be a list');
  });
});

describe('start-up - what the machine refuses ends the engine with the reason', () => {
  test.each(['iii-worker-manager', 'iii-http'])('the port of %s is taken', async (name) => {
    const holder = createServer();
    holder.listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const address = holder.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const other = name === 'iii-http' ? '  - name: iii-worker-manager\n    config:\n      port: 0\n' : '';
    try {
      const output = await startFails(
        `workers:\n${other}  - name: ${name}\n    config:\n      host: 127.0.0.1\n      port: ${port}\n`,
      );
      expect(output).toContain(String(port));
      expect(output).toContain(name);
      expect(output).toMatch(/in use|taken/);
    } finally {
      holder.close();
    }
  });

  const QUEUE = `${FREE}  - name: iii-queue\n`;

  test('a file stands where the data folder should be', async () => {
    await writeFile(join(folder.path, 'data'), '');
    expect(await startFails(QUEUE)).toContain(join(folder.path, 'data'));
  });

  test.runIf(process.platform === 'linux')('nothing can be written in the data folder', async () => {
    // The superuser writes anywhere but here.
    if (process.getuid?.() === 0) await symlink('/proc', join(folder.path, 'data'));
    else {
      await mkdir(join(folder.path, 'data'));
      await chmod(join(folder.path, 'data'), 0o500);
    }
    expect(await startFails(QUEUE)).toMatch(/cannot write .*data.*check that/);
  });

  test('another engine uses the data folder; that one runs on', async () => {
    const port = await freePort();
    const config = (own: number): string =>
      `workers:\n  - name: iii-worker-manager\n    config:\n      port: ${own}\n  - name: iii-queue\n`;
    await writeFile(join(folder.path, 'first.yaml'), config(port));
    const first = await EngineProcess.start({ cwd: folder.path, words: ['-c', 'first.yaml'], port });
    try {
      expect(await startFails(config(0))).toContain(
        `another engine is using the data folder ${join(folder.path, 'data')}`,
      );
      expect(first.isRunning).toBe(true);
      expect((await first.stop()).code).toBe(0);
    } finally {
      await first.kill();
    }
  });
});
