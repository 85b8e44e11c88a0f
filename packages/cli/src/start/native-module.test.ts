import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { tempFolder } from '@trine/testing';
import { expect, test } from 'vitest';
import { checkNativeModule, mendCommand } from './native-module.js';

test.each([
  [
    '/home/ada/project/node_modules/better-sqlite3',
    'npm rebuild --prefix /home/ada/project better-sqlite3 --ignore-scripts=false',
  ],
  [
    '/opt/iii/lib/node_modules/@trine/cli/node_modules/better-sqlite3',
    'npm rebuild -g --prefix /opt/iii better-sqlite3 --ignore-scripts=false',
  ],
  [
    '/srv/repo/node_modules/.pnpm/better-sqlite3@1.0.0/node_modules/better-sqlite3',
    'pnpm --dir /srv/repo rebuild better-sqlite3',
  ],
  [
    '/home/ada/my project/node_modules/better-sqlite3',
    "npm rebuild --prefix '/home/ada/my project' better-sqlite3 --ignore-scripts=false",
  ],
])('installed at %s it is mended by %s', (folder, command) => {
  expect(mendCommand(folder)).toBe(command);
});

test('a package without its native part is told with the command, in two lines', async () => {
  const folder = await tempFolder();
  try {
    const installed = join(folder.path, 'node_modules', 'better-sqlite3');
    await mkdir(installed, { recursive: true });
    await writeFile(join(installed, 'package.json'), '{"name":"better-sqlite3","main":"index.js"}');
    await writeFile(
      join(installed, 'index.js'),
      'module.exports = class { constructor() { throw new Error("Could not locate the bindings file. Tried:\\n -> x"); } };',
    );
    expect(() => checkNativeModule(pathToFileURL(join(folder.path, 'engine.js')).href)).toThrow(
      new RegExp(
        `missing or does not fit this Node \\(v.+\\): Could not locate the bindings file\\.\nMend it with: npm rebuild --prefix ${folder.path} `,
      ),
    );
  } finally {
    await folder.remove();
  }
});

test('this checkout has its native part', () => {
  expect(() => checkNativeModule()).not.toThrow();
});
