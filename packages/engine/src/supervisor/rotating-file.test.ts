import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RotatingFile } from './rotating-file.js';
import { readable, tailLines } from './worker-output.js';

let folder: Awaited<ReturnType<typeof tempFolder>>;
let path: string;
beforeEach(async () => {
  folder = await tempFolder();
  path = join(folder.path, 'logs', 'out.log');
});
afterEach(() => folder.remove());

describe('a log file', () => {
  it('is appended to, over restarts too', async () => {
    for (const text of ['one', 'two']) {
      const file = new RotatingFile(path);
      file.line(text);
      await file.flush();
    }
    expect(await readFile(path, 'utf8')).toBe('one\ntwo\n');
  });

  it('moves aside at its limit and keeps a few', async () => {
    const file = new RotatingFile(path, { maxBytes: 10, kept: 2 });
    for (let index = 0; index < 6; index++) {
      file.line(`line ${index}`);
      await file.flush();
    }
    expect((await readdir(join(folder.path, 'logs'))).sort()).toEqual(['out.log', 'out.log.1', 'out.log.2']);
    expect(await readFile(path, 'utf8')).toBe('line 5\n');
    expect(await readFile(`${path}.2`, 'utf8')).toBe('line 3\n');
    expect(await tailLines(path, 2)).toEqual(['line 4', 'line 5']);
  });

  it('says so when the disk was too slow for all of it', async () => {
    const file = new RotatingFile(path);
    for (let index = 0; index < 1100; index++) file.line('x'.repeat(1023));
    await file.flush();
    expect((await readFile(path, 'utf8')).split('\n').at(-2)).toMatch(/^--- \d+ lines were dropped/);
  });

  it('remembers that it could not be written', async () => {
    await writeFile(join(folder.path, 'logs'), 'a file, not a folder');
    const file = new RotatingFile(path);
    file.line('x');
    await file.flush();
    expect(file.failure).toBeInstanceOf(Error);
  });
});

it('lines are shown without colours, cursor moves and control characters', () => {
  expect(readable('\x1bc\x1b[32mok\x1b[0m\x07 \u202ea\tb\r')).toBe('ok a\tb');
});

it('a log that is not there has no last lines', async () => {
  expect(await tailLines(path, 5)).toEqual([]);
});
