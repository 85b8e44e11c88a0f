import { appendFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lastLines, LogFollower } from './log-follower.js';

let folder: TempFolder;
let path: string;
beforeEach(async () => {
  folder = await tempFolder();
  path = join(folder.path, 'stdout.log');
});
afterEach(() => folder.remove());

async function read(follower: LogFollower): Promise<string> {
  const chunks: Buffer[] = [];
  await follower.read((chunk) => chunks.push(Buffer.from(chunk)));
  return Buffer.concat(chunks).toString();
}

test('shows the last lines, with and without a line break at the end', async () => {
  await writeFile(path, 'a\nb\nc\n');
  expect((await lastLines(path, 2)).text).toBe('b\nc\n');
  await writeFile(path, 'a\nb\nc');
  expect((await lastLines(path, 2)).text).toBe('b\nc');
  expect((await lastLines(path, 10)).text).toBe('a\nb\nc');
});

test('goes on where the last lines ended', async () => {
  await writeFile(path, 'a\n');
  const { place } = await lastLines(path, 10);
  await appendFile(path, 'b\n');
  const follower = new LogFollower(path, place);
  expect(await read(follower)).toBe('b\n');
  expect(await read(follower)).toBe('');
  await appendFile(path, 'c\n');
  expect(await read(follower)).toBe('c\n');
  await follower.close();
});

test('loses no line when the file is moved aside for a new one', async () => {
  await writeFile(path, 'a\n');
  const follower = new LogFollower(path, undefined);
  expect(await read(follower)).toBe('a\n');
  await appendFile(path, 'last of the old\n');
  await rename(path, `${path}.1`);
  await writeFile(path, 'first of the new\n');
  expect(await read(follower)).toBe('last of the old\nfirst of the new\n');
  await rename(path, `${path}.1`);
  expect(await read(follower)).toBe('');
  await writeFile(path, 'third\n');
  expect(await read(follower)).toBe('third\n');
  await follower.close();
});

test('starts again in a file that was emptied', async () => {
  await writeFile(path, 'long enough\n');
  const follower = new LogFollower(path, undefined);
  await read(follower);
  await writeFile(path, 'short\n');
  expect(await read(follower)).toBe('short\n');
  await follower.close();
});

test('waits for a file that is not there yet', async () => {
  expect(await lastLines(path, 5)).toEqual({ text: '', place: undefined });
  const follower = new LogFollower(path, undefined);
  expect(await read(follower)).toBe('');
  await writeFile(path, 'now\n');
  expect(await read(follower)).toBe('now\n');
  await follower.close();
});
