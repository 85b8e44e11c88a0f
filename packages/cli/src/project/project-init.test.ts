import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parse } from 'yaml';
import { run } from '../testing/run-command.js';
import { readIni } from './ini.js';

let folder: TempFolder;
beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(() => folder.remove());

test('a name makes a folder with a configuration, its marker and what git leaves out', async () => {
  const { exitCode, stdout, stderr } = await run(['project', 'init', 'linkly'], { cwd: folder.path });
  const project = join(folder.path, 'linkly');
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
  expect(stderr).toContain(
    `  ✓ iii project 'linkly' initialized at ${project}\n  Next steps:\n    cd linkly\n    iii worker add <package>    # add a worker\n    iii   # start the engine\n`,
  );
  expect((await readdir(project)).sort()).toEqual(['.gitignore', '.iii', 'config.yaml']);
  const config = parse(await readFile(join(project, 'config.yaml'), 'utf8')) as {
    workers: { name: string; config: unknown }[];
  };
  expect(config.workers.map((worker) => worker.name)).toEqual(['iii-observability', 'iii-queue']);
  expect(config.workers[1]?.config).toEqual({ adapter: { name: 'builtin' } });
  const ini = await readIni(join(project, '.iii', 'project.ini'));
  expect(ini?.get('project_name')).toBe('linkly');
  expect(ini?.get('project_id')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4/);
  expect(await readFile(join(project, '.gitignore'), 'utf8')).toMatch(/^\.env\ndata\/\n\*\.db\n/);
});

test('without a name the working folder is the project', async () => {
  const { stderr } = await run(['project', 'init'], { cwd: folder.path });
  expect(stderr).toContain(`iii project '${basename(folder.path)}' initialized`);
  expect(stderr).not.toContain('    cd ');
});

test('doing it again keeps the id and every edit', async () => {
  await run(['project', 'init'], { cwd: folder.path });
  const ini = join(folder.path, '.iii', 'project.ini');
  const before = await readFile(ini, 'utf8');
  await writeFile(join(folder.path, 'config.yaml'), '# mine\nworkers: []\n');
  await writeFile(join(folder.path, 'notes.txt'), '');
  expect((await run(['project', 'init'], { cwd: folder.path })).exitCode).toBe(0);
  expect(await readFile(ini, 'utf8')).toBe(before);
  expect(await readFile(join(folder.path, 'config.yaml'), 'utf8')).toBe('# mine\nworkers: []\n');
});

test('a folder with other files is refused, with at most five of their names', async () => {
  for (const name of ['g', 'f', 'e', 'd', 'c', 'b', 'a', '.hidden']) await writeFile(join(folder.path, name), '');
  const refused = await run(['project', 'init'], { cwd: folder.path });
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toMatch(
    /^error: target directory is not empty\n {2}cause: .+ contains a, b, c, d, e, and 2 more\n {2}fix: .+--allow-non-empty/,
  );
  expect((await run(['project', 'init', '--allow-non-empty'], { cwd: folder.path })).exitCode).toBe(0);
});

test.each([
  [['--docker'], 'error: `--docker` is not in this version'],
  [['--template', 'quickstart'], "Template 'quickstart' not found. Available templates: bare"],
  [['-d', ''], 'directory argument cannot be empty'],
])('%j is refused and writes nothing', async (words, message) => {
  const { exitCode, stderr } = await run(['project', 'init', ...words], { cwd: folder.path });
  expect(exitCode).toBe(1);
  expect(stderr).toContain(message);
  expect(await readdir(folder.path)).toEqual([]);
});

test('a file in the place of the folder is told, without a stack trace', async () => {
  await writeFile(join(folder.path, 'taken'), '');
  await mkdir(join(folder.path, 'other'));
  const { exitCode, stderr } = await run(['project', 'init', 'taken'], { cwd: folder.path });
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^error: could not create .+taken\n {2}cause: a file is in its place\n/);
});
