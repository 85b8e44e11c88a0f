import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readLocalProject } from './local-project.js';

let folder: TempFolder;
let config: string;
beforeEach(async () => {
  folder = await tempFolder();
  config = join(folder.path, 'config.yaml');
});
afterEach(() => folder.remove());

test('a folder without config.yaml has no entries and the usual port', async () => {
  const project = await readLocalProject(config);
  expect(project).toMatchObject({ hasConfig: false, entries: [], port: 49_134, configPath: config });
});

test('a folder in its place is told of', async () => {
  await expect(readLocalProject(folder.path)).rejects.toThrow(
    `error: ${folder.path} is a folder, not a config file: name the file in it, e.g. ${config}`,
  );
});

test('a file that is no YAML counts as empty: telling of its faults is up to others', async () => {
  await writeFile(config, 'workers: [*nobody]\n  - {');
  expect(await readLocalProject(config)).toMatchObject({ hasConfig: true, entries: [], port: 49_134 });
});

test('the worker port may stand under the short name of its entry', async () => {
  await writeFile(config, 'workers:\n  - name: worker-manager\n    config:\n      port: 5001\n');
  expect(await readLocalProject(config)).toMatchObject({ port: 5001 });
});

test('names and folders are read as they are written', async () => {
  await writeFile(
    config,
    'workers:\n  - name: "iii-queue" # durable\n  - name: link\n    worker_path: ./link\n  - broken\n',
  );
  const project = await readLocalProject(config);
  expect(project.entries).toEqual([
    { name: 'iii-queue', workerPath: undefined, config: undefined },
    { name: 'link', workerPath: './link', config: undefined },
  ]);
  expect(project.logFile('link', 'stderr')).toBe(join(folder.path, '.iii', 'logs', 'link', 'stderr.log'));
});

test.each([
  ['5001', 5001],
  ['0', 0],
  ['"5001"', 5001],
  ['${WORKER_PORT:5002}', 5002],
  ['${SET_PORT}', 5003],
  ['nonsense', 49_134],
])('port %s is %i', async (text, expected) => {
  await writeFile(config, `workers:\n  - name: iii-worker-manager\n    config:\n      port: ${text}\n`);
  expect((await readLocalProject(config, { SET_PORT: '5003' })).port).toBe(expected);
});

test('broken YAML shows no entries, and is left to those who edit or run it', async () => {
  await writeFile(config, 'workers: [\n');
  expect((await readLocalProject(config)).hasConfig).toBe(true);
});

test.each(['- name: iii-queue\n', '[]\n', 'text\n'])(
  'a file that holds something else than a block is told of: %j',
  async (text) => {
    await writeFile(config, text);
    await expect(readLocalProject(config)).rejects.toThrow(
      /config\.yaml must be a block of keys with a `workers:` list/,
    );
  },
);

test.each([
  ['', 'localhost'],
  ['      host: 0.0.0.0\n', 'localhost'],
  ['      host: "::"\n', 'localhost'],
  ['      host: 192.168.7.1\n', '192.168.7.1'],
  ['      host: "${HOST:fd00::7}"\n', 'fd00::7'],
])('an engine with %j is reached at %s', async (line, expected) => {
  await writeFile(config, `workers:\n  - name: iii-worker-manager\n    config:\n      port: 1\n${line}`);
  expect((await readLocalProject(config, {})).host).toBe(expected);
});
