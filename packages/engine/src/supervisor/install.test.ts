import { execFileSync } from 'node:child_process';
import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InstallError } from './errors.js';
import { install } from './install.js';
import { launch } from './launch.js';
import { planRun } from './run-plan.js';
import { workerEnv } from './worker-env.js';

/** Making an environment with pip takes seconds of processor time, more where others use it too. */
const VENV_TIMEOUT_MS = 120_000;

const hasPython = ((): boolean => {
  try {
    execFileSync('python3', ['-c', 'import venv, ensurepip'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

let folder: Awaited<ReturnType<typeof tempFolder>>;
let commands: string[];
let lines: string[];
beforeEach(async () => {
  folder = await tempFolder();
  [commands, lines] = [[], []];
});
afterEach(() => folder.remove());

async function files(contents: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(contents)) await writeFile(join(folder.path, name), text);
}

async function run(): Promise<Record<string, string>> {
  const plan = await planRun(folder.path);
  const env = workerEnv({
    base: process.env,
    name: 'w',
    url: 'ws://localhost:4711',
    configPath: undefined,
    runId: 'r',
    manifestEnv: {},
    config: undefined,
    venv: plan.venv,
  });
  await install({
    folder: folder.path,
    plan,
    marker: join(folder.path, '.iii', 'marker.json'),
    env,
    signal: new AbortController().signal,
    line: (_stream, text) => void lines.push(text),
    command: (text) => void commands.push(text),
  });
  return env;
}

describe('an install', () => {
  it('runs again when the manifest, a dependency file or what was installed changed', async () => {
    await files({ 'iii.worker.yaml': 'name: w\nscripts: { install: mkdir -p node_modules, start: "true" }\n' });
    await files({ 'package.json': '{"dependencies":{}}' });
    await run();
    await run();
    expect(commands).toHaveLength(1);
    await files({ 'package.json': '{"dependencies":{"a":"1"}}' });
    await run();
    expect(commands).toHaveLength(2);
    await rm(join(folder.path, 'node_modules'), { recursive: true });
    await run();
    expect(commands).toHaveLength(3);
    await files({ 'iii.worker.yaml': 'name: w\nscripts: { install: mkdir -p node_modules, start: "false" }\n' });
    await run();
    expect(commands).toHaveLength(4);
  });

  it('is not run again for the lock file that it wrote itself', async () => {
    await files({ 'iii.worker.yaml': 'name: w\nscripts: { install: "echo {} > package-lock.json", start: "true" }\n' });
    await run();
    await run();
    expect(commands).toHaveLength(1);
  });

  it('is tried again after it failed', async () => {
    await files({ 'iii.worker.yaml': 'name: w\nscripts: { install: "test -e there", start: "true" }\n' });
    await expect(run()).rejects.toThrow(InstallError);
    await files({ there: '' });
    await run();
    await run();
    expect(commands).toHaveLength(2);
  });
});

describe.runIf(hasPython)('a Python worker', { timeout: VENV_TIMEOUT_MS }, () => {
  it('has a virtual environment that its scripts find first', async () => {
    await files({ 'iii.worker.yaml': 'name: w\nscripts: { install: pip --version, start: python main.py }\n' });
    const env = await run();
    expect(commands).toEqual(['python3 -m venv --clear .venv', 'pip --version']);
    expect(lines.join('\n')).toContain(join(folder.path, '.venv'));
    const printed: string[] = [];
    const script = 'python -c "import sys; print(sys.prefix)"';
    const launched = await launch({ script, cwd: folder.path, env, line: (_stream, text) => void printed.push(text) });
    await launched.exited;
    expect(printed).toEqual([join(folder.path, '.venv')]);
  });

  it('keeps an environment that is there, and mends one without pip', async () => {
    await files({
      'iii.worker.yaml': 'name: w\nscripts: { install: "true", start: "true" }\nruntime: { kind: python }\n',
    });
    execFileSync('python3', ['-m', 'venv', '--without-pip', '.venv'], { cwd: folder.path });
    await mkdir(join(folder.path, '.venv', 'mine'));
    await run();
    expect(commands).toEqual(['python3 -m venv .venv', 'true']);
    await access(join(folder.path, '.venv', 'bin', 'pip'));
    await access(join(folder.path, '.venv', 'mine'));
  });

  it('makes an environment anew that was copied with its folder', async () => {
    await files({
      'iii.worker.yaml': 'name: w\nscripts: { install: "true", start: "true" }\nruntime: { kind: python }\n',
    });
    await mkdir(join(folder.path, '.venv', 'bin'), { recursive: true });
    await files({ '.venv/bin/python': '', '.venv/bin/pip': '#!/elsewhere/.venv/bin/python\n' });
    await run();
    expect(commands).toEqual(['python3 -m venv --clear .venv', 'true']);
    expect(await readFile(join(folder.path, '.venv', 'bin', 'pip'), 'utf8')).toContain(join(folder.path, '.venv'));
  });
});
