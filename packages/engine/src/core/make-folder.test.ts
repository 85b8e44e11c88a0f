import { existsSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeFolder } from './make-folder.js';

let folder: TempFolder;
beforeEach(async () => void (folder = await tempFolder()));
afterEach(() => folder.remove());

describe('makeFolder', () => {
  it('makes all that are missing, and leaves alone what is there', () => {
    const path = join(folder.path, 'a', 'b', 'c');
    makeFolder(path);
    makeFolder(path);
    expect(statSync(path).isDirectory()).toBe(true);
  });

  it('says why it cannot', () => {
    writeFileSync(join(folder.path, 'file'), '');
    expect(() => makeFolder(join(folder.path, 'file', 'a'))).toThrow(/ENOTDIR/);
    symlinkSync(join(folder.path, 'nowhere'), join(folder.path, 'link'));
    expect(() => makeFolder(join(folder.path, 'link', 'a'))).toThrow(/ENOENT/);
  });

  it.skipIf(!existsSync('/proc/self'))('comes back from a file system that takes no folders', () => {
    expect(() => makeFolder('/proc/no-such-folder/a')).toThrow(/ENOENT/);
  });
});
