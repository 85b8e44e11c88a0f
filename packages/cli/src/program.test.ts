import { tempFolder, type TempFolder } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from './testing/run-command.js';
import { CLI_VERSION } from './version.js';

let folder: TempFolder;
beforeAll(async () => {
  folder = await tempFolder();
});
afterAll(() => folder.remove());

test('-v prints the bare version on stdout', async () => {
  expect(await run(['-v'], { cwd: folder.path })).toMatchObject({
    exitCode: 0,
    stdout: `${CLI_VERSION}\n`,
    stderr: '',
  });
});

test('--help lists the commands on stdout', async () => {
  const { exitCode, stdout } = await run(['--help'], { cwd: folder.path });
  expect(exitCode).toBe(0);
  for (const name of ['trigger', 'project', 'worker', '--use-default-config']) expect(stdout).toContain(name);
});

test.each([
  [['help'], ['--help']],
  [
    ['help', 'trigger'],
    ['trigger', '--help'],
  ],
  [
    ['help', 'worker', 'add'],
    ['worker', 'add', '--help'],
  ],
])('%j shows what %j shows', async (words, option) => {
  const { exitCode, stdout } = await run(words, { cwd: folder.path });
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: (await run(option, { cwd: folder.path })).stdout });
});

describe('what is typed wrongly ends with 2', () => {
  test.each([
    [['help', 'projet'], "unknown command 'projet' (did you mean 'project'?)"],
    [['projet'], "unknown command 'projet' (did you mean 'project'?)"],
    [['zzz'], "unknown command 'zzz'\n"],
    [['-V'], "unknown option '-V'"],
    [['worker', 'statsu'], "unknown command 'statsu'\n(Did you mean status?)"],
    [['project', 'init', '--config', 'x'], "unknown option '--config'"],
    [['-c', 'x', '--use-default-config'], "'--use-default-config' cannot be used with option '-c, --config <CONFIG>'"],
    [['trigger', 'a::b', '--port', 'x'], "invalid value 'x' for '--port <PORT>'"],
    [['trigger', 'a::b', '--timeout-ms', '1s'], "invalid value '1s' for '--timeout-ms <MS>'"],
  ])('%j', async (words, message) => {
    const { exitCode, stdout, stderr } = await run(words, { cwd: folder.path });
    expect(stderr).toContain(message);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  });
});

describe('what this version lacks is said in one line', () => {
  test.each([
    ['update', ['update', '--list-targets']],
    ['cloud', ['cloud']],
    ['console', ['console', '--help']],
    ['compose', ['compose', 'up']],
    ['worker sandbox', ['worker', 'sandbox', 'run', 'x']],
    ['worker exec', ['worker', 'exec', 'x', '--', 'ls']],
    ['project generate-docker', ['project', 'generate-docker', '-d', 'x']],
  ])('%s', async (name, words) => {
    expect(await run(words, { cwd: folder.path })).toMatchObject({
      exitCode: 1,
      stdout: '',
      stderr: `error: \`iii ${name}\` is not in this version\n`,
    });
  });
});
