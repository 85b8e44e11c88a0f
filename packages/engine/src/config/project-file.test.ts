import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { builtUrl } from '../core/built-url.js';
import { withFileLock } from './file-lock.js';
import { testCatalog } from './fixtures/catalog.js';
import type { ProjectConfig } from './project.js';
import { editProject } from './edit-project.js';
import { ProjectFile } from './project-file.js';

let folder: TempFolder;
let path: string;
const open: ProjectFile[] = [];

beforeEach(async () => {
  folder = await tempFolder();
  path = join(folder.path, 'config.yaml');
});
afterEach(async () => {
  for (const file of open.splice(0)) await file.close();
  await folder.remove();
});

async function project(text: string): Promise<ProjectFile> {
  await writeFile(path, text);
  const file = await ProjectFile.open(path, testCatalog, {});
  open.push(file);
  return file;
}

/** Watches and keeps what it is told. `refuse` makes it throw. */
async function watched(file: ProjectFile) {
  const seen = {
    changed: [] as ProjectConfig[],
    refused: [] as Error[],
    refuse: undefined as string | undefined,
  };
  await file.watch({
    changed: (next) => {
      if (seen.refuse !== undefined) throw new Error(seen.refuse);
      seen.changed.push(next);
    },
    refused: (error) => void seen.refused.push(error),
  });
  return seen;
}

const names = (config: ProjectConfig): string[] => config.entries.map((entry) => entry.name);

describe('config.yaml on disk', () => {
  it('says which file is missing and what to do', async () => {
    await expect(ProjectFile.open(join(folder.path, 'nope.yaml'), testCatalog, {})).rejects.toThrow(
      `Config file not found: '${join(folder.path, 'nope.yaml')}'.\nHint: create a config.yaml or pass --use-default-config to run with defaults.`,
    );
  });

  it('says so when it is a folder', async () => {
    await expect(ProjectFile.open(folder.path, testCatalog, {})).rejects.toThrow(
      `'${folder.path}' is a folder, not a config file: name the file in it, e.g. '${path}'.`,
    );
  });

  it('applies a good edit, tells a bad one and keeps what it had, and applies the next good one', async () => {
    const file = await project('workers: []\n');
    const seen = await watched(file);
    await writeFile(path, 'workers:\n  - name: queue\n');
    await waitFor(() => seen.changed.length === 1);
    await writeFile(path, 'workers:\n  - name: queue\n    config:\n      mod: fifo\n');
    await waitFor(() => seen.refused.length === 1);
    expect(seen.refused[0]?.message).toBe('config.yaml:4: queue: unknown key "mod" (did you mean "mode"?)');
    expect(file.current.entries[0]?.config).toMatchObject({ mode: 'standard' });
    await writeFile(path, 'workers:\n  - name: queue\n    config:\n      mode: fifo\n');
    await waitFor(() => seen.changed.length === 2);
    expect(file.current.entries[0]?.config).toMatchObject({ mode: 'fifo' });
  });

  it('does not take a file for empty while an editor writes it', async () => {
    const file = await project('workers:\n  - name: queue\n');
    const seen = await watched(file);
    await writeFile(path, '');
    await writeFile(path, 'workers:\n  - name: queue\n  - name: database\n');
    await waitFor(() => names(file.current).length === 2);
    expect(seen.changed.every((next) => next.entries.length > 0)).toBe(true);
  });

  it.each(['', '\n', '# all of it is commented out\n'])(
    'refuses %j when workers run: that is rarely meant',
    async (text) => {
      const file = await project('workers:\n  - name: queue\n');
      const seen = await watched(file);
      await writeFile(path, text);
      await waitFor(() => seen.refused.length === 1);
      expect(seen.refused[0]?.message).toBe(
        'config.yaml: the file is empty, which would stop every worker; if that is meant, write `workers: []`',
      );
      expect(names(file.current)).toEqual(['queue']);
      await writeFile(path, 'workers: []\n');
      await waitFor(() => seen.changed.length === 1);
      expect(names(file.current)).toEqual([]);
    },
  );

  it('sees an editor that renames another file into place, twice', async () => {
    const file = await project('workers: []\n');
    const seen = await watched(file);
    for (const [index, name] of ['queue', 'database'].entries()) {
      await writeFile(join(folder.path, 'config.yaml~'), `workers:\n  - name: ${name}\n`);
      await rename(join(folder.path, 'config.yaml~'), path);
      await waitFor(() => seen.changed.length === index + 1);
      expect(names(file.current)).toEqual([name]);
    }
  });

  it('keeps the configuration that its listener refused out of force, and tries the next save', async () => {
    const file = await project('workers: []\n');
    const seen = await watched(file);
    seen.refuse = 'port 80 is taken';
    await writeFile(path, 'workers:\n  - name: queue\n');
    await waitFor(() => seen.refused.length === 1);
    expect(seen.refused[0]?.message).toBe('config.yaml: port 80 is taken');
    expect(names(file.current)).toEqual([]);
    seen.refuse = undefined;
    await writeFile(path, 'workers:\n  - name: queue\n');
    await waitFor(() => seen.changed.length === 1);
    expect(names(file.current)).toEqual(['queue']);
  });

  it('notices what was saved between opening and watching', async () => {
    const file = await project('workers: []\n');
    await writeFile(path, 'workers:\n  - name: queue\n');
    const seen = await watched(file);
    await waitFor(() => seen.changed.length === 1);
  });

  it('watches the files of settings, also in a folder that comes later', async () => {
    const file = await project('workers:\n  - name: queue\n');
    const seen = await watched(file);
    await mkdir(join(folder.path, 'config'));
    await writeFile(join(folder.path, 'config/queue.yaml'), 'value: { mode: fifo }\n');
    await waitFor(() => seen.changed.length === 1);
    expect(file.current.entries[0]?.config).toMatchObject({ mode: 'fifo' });
    await writeFile(join(folder.path, 'config/queue.yaml'), 'value: { mode: bad }\n');
    await waitFor(() => seen.refused.length === 1);
    expect(seen.refused[0]?.message).toMatch(/^config\/queue\.yaml:1: queue\.mode: must be one of/);
  });

  it('applies its own edit once, without waiting for the watcher', async () => {
    const file = await project('workers: []\n');
    const seen = await watched(file);
    await file.edit((editor) => editor.addWorker({ name: 'queue' }));
    await waitFor(() => seen.changed.length === 1);
    await writeFile(path, `${await readFile(path, 'utf8')}# again\n`);
    await waitFor(() => seen.changed.length === 2);
    expect(seen.changed.map(names)).toEqual([['queue'], ['queue']]);
  });

  it('refuses an edit that would bring a fault, and writes nothing', async () => {
    const file = await project('workers: [] # mine\n');
    await expect(file.edit((editor) => editor.addWorker({ name: 'qeue' }))).rejects.toThrow('did you mean "queue"?');
    expect(await readFile(path, 'utf8')).toBe('workers: [] # mine\n');
  });

  it('lets a file with faults be mended', async () => {
    await writeFile(path, 'workers:\n  - name: queue\n  - name: nobody-knows\n');
    await editProject({ path, catalog: testCatalog, env: {} }, (editor) => editor.removeWorker('nobody-knows'));
    expect(await readFile(path, 'utf8')).toBe('workers:\n  - name: queue\n');
  });

  it('sets one block, in force when it resolves, comments kept', async () => {
    const file = await project('workers:\n  - name: queue # q\n    config:\n      # slow\n      mode: standard\n');
    const seen = await watched(file);
    await file.setConfig('queue', { mode: 'fifo' });
    expect(seen.changed).toHaveLength(1);
    expect(file.current.entries[0]?.config).toMatchObject({ mode: 'fifo' });
    expect(await readFile(path, 'utf8')).toBe(
      'workers:\n  - name: queue # q\n    config:\n      # slow\n      mode: fifo\n',
    );
  });

  it('sets the value of a file of settings, and takes back what was refused', async () => {
    await mkdir(join(folder.path, 'config'));
    const settings = join(folder.path, 'config/queue.yaml');
    await writeFile(settings, '# mine\nid: queue\nvalue:\n  mode: standard # m\n');
    const file = await project('workers:\n  - name: queue\n');
    const seen = await watched(file);
    await file.setConfig('queue', { mode: 'fifo' });
    expect(await readFile(settings, 'utf8')).toBe('# mine\nid: queue\nvalue:\n  mode: fifo # m\n');
    expect(await readFile(path, 'utf8')).toBe('workers:\n  - name: queue\n');
    await expect(file.setConfig('queue', { mode: 'bad' })).rejects.toThrow('queue.mode: must be one of');
    seen.refuse = 'not now';
    await expect(file.setConfig('queue', { mode: 'standard' })).rejects.toThrow('not now');
    expect(await readFile(settings, 'utf8')).toContain('mode: fifo # m');
    expect(file.current.entries[0]?.config).toMatchObject({ mode: 'fifo' });
  });

  it('writes through a link to the file it leads to', async () => {
    await writeFile(join(folder.path, 'real.yaml'), 'workers: []\n');
    await symlink(join(folder.path, 'real.yaml'), path);
    await editProject({ path, catalog: testCatalog, env: {} }, (editor) => editor.addWorker({ name: 'queue' }));
    expect(await readFile(join(folder.path, 'real.yaml'), 'utf8')).toContain('name: queue');
  });
});

describe('edits by several processes', () => {
  it('lose none of each other', async () => {
    await writeFile(path, '# top\nworkers: []\n');
    const EDITS = 15;
    const script = `
      import { editProject } from ${JSON.stringify(builtUrl(import.meta.url, './edit-project.js').href)};
      const catalog = { find: () => undefined, notBuilt: () => undefined, names: () => [] };
      for (let at = 0; at < ${EDITS}; at++) {
        await editProject({ path: process.argv[1], catalog, env: {} }, (editor) => editor.addWorker({ name: process.argv[2] + at, workerPath: '/w' }));
      }`;
    const run = (name: string) =>
      promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, path, name]);
    await Promise.all([run('a'), run('b'), run('c')]);
    const { workers } = parseYaml(await readFile(path, 'utf8')) as { workers: { name: string }[] };
    const expected = ['a', 'b', 'c'].flatMap((name) => Array.from({ length: EDITS }, (_, at) => `${name}${at}`));
    expect(workers.map((each) => each.name).sort()).toEqual(expected.sort());
    expect(await readdir(folder.path)).toEqual(['config.yaml']);
  });

  it('break the lock of a process that is gone', async () => {
    await writeFile(path, 'workers: []\n');
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', 'console.log(process.pid)']);
    await writeFile(join(folder.path, '.config.yaml.lock'), `${stdout.trim()} gone`);
    const order: string[] = [];
    await Promise.all(
      [1, 2, 3].map((each) =>
        withFileLock(path, async () => {
          order.push(`in ${each}`);
          await new Promise((turn) => setImmediate(turn));
          order.push(`out ${each}`);
        }),
      ),
    );
    expect(order.filter((_, index) => index % 2 === 0).map((entry) => entry.replace('in', 'out'))).toEqual(
      order.filter((_, index) => index % 2 === 1),
    );
    expect(await readdir(folder.path)).toEqual(['config.yaml']);
  });
});
