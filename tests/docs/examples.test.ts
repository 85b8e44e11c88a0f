import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { docExamples, ROOT } from './doc-examples.js';

/** An example that has not ended by itself after this long, in milliseconds, does not end. */
const EXAMPLE_TIMEOUT_MS = 60_000;

const examples = docExamples();

describe('documentation - examples', () => {
  let folder: TempFolder;

  beforeAll(async () => {
    folder = await tempFolder('trine-docs-');
    writeFileSync(join(folder.path, 'package.json'), '{ "type": "module", "private": true }');
    link('@trine/engine', fileURLToPath(new URL('..', import.meta.resolve('@trine/engine'))));
    link('@types/node', join(ROOT, 'node_modules/@types/node'));
    for (const { name, code } of examples) writeFileSync(join(folder.path, `${name}.ts`), code);
  });

  afterAll(() => folder.remove());

  function link(name: string, target: string): void {
    const path = join(folder.path, 'node_modules', name);
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(target, path, 'junction');
  }

  test('are there: the README has the one that embeds', () => {
    expect(examples.map(({ page, name }) => `${page} ${name}`)).toContain('README.md embedding');
  });

  test('are fully typed', () => {
    const tsc = fileURLToPath(import.meta.resolve('typescript/bin/tsc'));
    const options = '--noEmit --strict --skipLibCheck --target es2023 --module nodenext --types node'.split(' ');
    const files = examples.map(({ name }) => `${name}.ts`);
    const { stdout, status } = spawnSync(process.execPath, [tsc, ...options, ...files], {
      cwd: folder.path,
      encoding: 'utf8',
      timeout: EXAMPLE_TIMEOUT_MS,
    });
    expect({ stdout, status }).toEqual({ stdout: '', status: 0 });
  });

  test.each(examples)('$page: $name prints what the page says, and ends by itself', async ({ name, output }) => {
    const own = await tempFolder('trine-docs-run-');
    try {
      const { stdout, stderr, status } = spawnSync(
        process.execPath,
        ['--import', import.meta.resolve('tsx'), join(folder.path, `${name}.ts`)],
        { cwd: own.path, encoding: 'utf8', timeout: EXAMPLE_TIMEOUT_MS },
      );
      expect({ stdout, stderr, status }).toEqual({ stdout: output, stderr: '', status: 0 });
    } finally {
      await own.remove();
    }
  });
});
