import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { tempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { planRun } from './run-plan.js';

let folder: Awaited<ReturnType<typeof tempFolder>>;
beforeEach(async () => void (folder = await tempFolder()));
afterEach(() => folder.remove());

async function files(contents: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(contents)) {
    await mkdir(dirname(join(folder.path, name)), { recursive: true });
    await writeFile(join(folder.path, name), text);
  }
}

describe('how a worker is installed and started', () => {
  it('names what is wrong with a worker_path that leads to no folder', async () => {
    await files({ 'main.py': '' });
    await expect(planRun(join(folder.path, 'absent'))).rejects.toThrow(/absent does not exist; correct worker_path/);
    await expect(planRun(join(folder.path, 'main.py'))).rejects.toThrow(
      `${join(folder.path, 'main.py')} is no folder; worker_path in config.yaml must name the folder of a worker`,
    );
  });

  it.each([
    ['typescript', 'npm', 'src/index.ts', 'npm install', 'npx tsx watch src/index.ts'],
    ['typescript', 'pnpm', 'src/main.ts', 'pnpm install', 'pnpm exec tsx watch src/main.ts'],
    ['javascript', 'npm', 'src/index.js', 'npm install', 'node --watch src/index.js'],
    ['bun', 'bun', 'src/index.ts', 'bun install', 'bun --watch run src/index.ts'],
  ])('%s with %s is inferred from the runtime', async (kind, manager, entry, install, start) => {
    await files({
      'iii.worker.yaml': `name: a\nruntime: { kind: ${kind}, package_manager: ${manager}, entry: ${entry} }\n`,
      'package.json': '{"devDependencies":{"tsx":"4"}}',
    });
    expect(await planRun(folder.path)).toMatchObject({ install, start, watchesItself: true, venv: undefined });
  });

  it('python gets a virtual environment, pip and watchfiles', async () => {
    await files({
      'iii.worker.yaml': 'name: a\nruntime: { kind: python, package_manager: pip, entry: main.py }\n',
      'pyproject.toml': '[project]\n',
    });
    expect(await planRun(folder.path)).toMatchObject({
      install: 'pip install .',
      start: "watchfiles 'python main.py'",
      watchesItself: true,
      venv: join(folder.path, '.venv'),
    });
  });

  it('quotes an entry that the shell would take apart', async () => {
    await files({ 'iii.worker.yaml': 'name: a\nruntime: { kind: javascript, entry: "my app\'s.js" }\n' });
    expect((await planRun(folder.path)).start).toBe(`node --watch 'my app'\\''s.js'`);
  });

  it('scripts win over what could be inferred, setup before install', async () => {
    await files({
      'iii.worker.yaml':
        'name: a\nruntime: { kind: javascript }\nscripts: { setup: echo 1, install: echo 2, start: node x.js }\n',
    });
    expect(await planRun(folder.path)).toMatchObject({
      install: 'echo 1\necho 2',
      start: 'node x.js',
      watchesItself: false,
    });
  });

  it('scripts of pip and watchfiles mean Python, whatever else is not said', async () => {
    await files({
      'iii.worker.yaml': `name: a\nscripts: { install: "pip install .", start: "watchfiles 'python main.py'" }\n`,
    });
    expect(await planRun(folder.path)).toMatchObject({
      kind: 'python',
      venv: join(folder.path, '.venv'),
      watchesItself: true,
    });
  });

  it('looks for a watcher inside the package script that is run', async () => {
    await files({
      'iii.worker.yaml': 'name: a\nscripts: { start: npm run start }\n',
      'package.json': '{"scripts":{"start":"tsx watch a.ts"}}',
    });
    expect((await planRun(folder.path)).watchesItself).toBe(true);
  });

  it('without a manifest the files decide', async () => {
    await files({ 'package.json': '{"scripts":{"dev":"node a.js"},"dependencies":{"a":"1"}}', 'yarn.lock': '' });
    expect(await planRun(folder.path)).toMatchObject({
      manifest: undefined,
      install: 'yarn install',
      start: 'yarn run dev',
      watchesItself: false,
    });
  });

  it('installs nothing in a pnpm workspace that has the dependencies already', async () => {
    await files({
      'pnpm-workspace.yaml': 'packages: [apps/*]\n',
      'apps/a/package.json': '{"dependencies":{"dep":"1"}}',
      'apps/a/iii.worker.yaml': 'name: a\nscripts: { start: node a.js }\n',
    });
    const app = join(folder.path, 'apps/a');
    expect((await planRun(app)).install).toBe('pnpm install');
    await files({ 'apps/a/node_modules/dep/package.json': '{}' });
    expect((await planRun(app)).install).toBeUndefined();
  });

  it('installs nothing where no dependency is declared', async () => {
    await files({ 'package.json': '{"scripts":{"start":"node a.js"}}' });
    expect(await planRun(folder.path)).toMatchObject({ install: undefined, start: 'npm run start' });
  });

  it('says what to add when nothing tells how to start', async () => {
    await files({ 'iii.worker.yaml': 'name: a\n' });
    await expect(planRun(folder.path)).rejects.toThrow('add `scripts: { start: "..." }` to iii.worker.yaml');
    await expect(planRun(join(folder.path, 'absent'))).rejects.toThrow('does not exist; correct worker_path');
  });
});
