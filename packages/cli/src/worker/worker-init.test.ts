import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { run } from '../testing/run-command.js';

let folder: TempFolder;
beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(() => folder.remove());

const init = (...words: string[]) => run(['worker', 'init', ...words], { cwd: folder.path });
const read = (...path: string[]) => readFile(join(folder.path, ...path), 'utf8');

describe('a Python worker', () => {
  test('has main.py at its root, a project file for pip and a manifest without scripts', async () => {
    const { exitCode, stdout, stderr } = await init('analytics', '--language', 'python');
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
    expect((await readdir(join(folder.path, 'analytics'))).sort()).toEqual([
      '.iii',
      'iii.worker.yaml',
      'main.py',
      'pyproject.toml',
    ]);
    expect(parse(await read('analytics', 'iii.worker.yaml'))).toEqual({
      name: 'analytics',
      runtime: { kind: 'python', package_manager: 'pip', entry: 'main.py' },
    });
    const project = await read('analytics', 'pyproject.toml');
    expect(project).toContain('"iii-sdk>=0.18,<0.19"');
    expect(project).toContain('"watchfiles"');
    expect(await read('analytics', 'main.py')).toContain('worker.register_function("analytics::hello", hello)');
    const id = /worker_id=(\S+)/.exec(await read('analytics', '.iii', 'worker.ini'))?.[1] ?? 'none';
    expect(stderr).toContain(
      `  ✓ iii worker 'analytics' (py) scaffolded at ${join(folder.path, 'analytics')}\n  id: ${id}\n  Next steps:\n    cd analytics\n    edit ./main.py    # add your function handlers\n`,
    );
  });
});

describe('a TypeScript worker', () => {
  test('is named after the worker everywhere', async () => {
    expect((await init('click-streamer', '-l', 'ts')).exitCode).toBe(0);
    expect(parse(await read('click-streamer', 'iii.worker.yaml'))).toEqual({
      name: 'click-streamer',
      runtime: { kind: 'typescript', package_manager: 'npm', entry: 'src/index.ts' },
    });
    const pkg = JSON.parse(await read('click-streamer', 'package.json')) as Record<string, Record<string, string>>;
    expect(pkg['name']).toBe('click-streamer');
    expect(pkg['dependencies']?.['iii-sdk']).toBe('0.11.6');
    expect(pkg['scripts']?.['start']).toBe('tsx watch src/index.ts');
    expect(await read('click-streamer', 'src', 'index.ts')).toContain('worker.registerFunction("clickStreamer::hey"');
    expect(await read('click-streamer', '.iii', 'worker.ini')).toMatch(
      /^\[worker\]\nworker_id=\S+\nname=click-streamer\nsource=init\nlanguage=ts\n$/,
    );
  });
});

test('a JavaScript worker has plain source', async () => {
  await init('web', '-l', 'javascript');
  expect((await readdir(join(folder.path, 'web', 'src'))).sort()).toEqual(['index.js']);
  expect(await read('web', 'src', 'index.js')).toContain('web::hello');
});

test('in the folder of a project the next steps can be typed as they stand', async () => {
  await writeFile(join(folder.path, 'config.yaml'), 'workers: []\n');
  const { stderr } = await init('services/link', '-l', 'ts');
  expect(stderr).toContain(
    '  Next steps:\n    edit ./services/link/src/index.ts    # add your function handlers\n    iii worker add ./services/link\n',
  );
  expect(stderr).not.toContain('path/to');
});

test('doing it again keeps the id and every edit', async () => {
  await init('web', '-l', 'js');
  const before = await read('web', '.iii', 'worker.ini');
  await writeFile(join(folder.path, 'web', 'src', 'index.js'), '// mine\n');
  expect((await init('web', '-l', 'js')).exitCode).toBe(0);
  expect(await read('web', '.iii', 'worker.ini')).toBe(before);
  expect(await read('web', 'src', 'index.js')).toBe('// mine\n');
});

test.each([
  [['x', '-l', 'rust'], "error: language 'rust' is not in this version"],
  [['x', '-l', 'pyhton'], "(did you mean 'python'?)"],
  [
    ['x'],
    'error: no language selected\n  cause: stdin is not a TTY, so the interactive language picker cannot run\n  fix: pass --language <ts|js|py>',
  ],
  [
    ['bad name', '-l', 'ts'],
    "error: Worker name 'bad name' contains invalid characters. Only alphanumeric, dash, underscore, and dot are allowed.",
  ],
  [['.hidden', '-l', 'ts'], 'must not begin with a dot'],
  [
    ['http', '-l', 'py'],
    "error: 'http' is the name of a built-in worker\n  cause: an entry of that name in config.yaml runs the built-in\n  fix: choose another name, e.g. my-http",
  ],
])('%j is refused and writes nothing', async (words, message) => {
  const { exitCode, stderr } = await init(...words);
  expect(exitCode).toBe(1);
  expect(stderr).toContain(message);
  expect(await readdir(folder.path)).toEqual([]);
});
