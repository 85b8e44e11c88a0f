import { execFile } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tempFolder } from '@trine/testing';
import { describe, expect, it } from 'vitest';
import { pythonWith } from './python.js';

const run = promisify(execFile);

describe('virtual environments of tests', () => {
  it('work for all that ask at once, and leave nothing else behind', async () => {
    const cache = await tempFolder('trine-venvs-');
    try {
      // What every environment has already: nothing is downloaded.
      const asked = await Promise.all([1, 2].map(() => pythonWith(['pip'], cache.path)));
      expect(new Set(asked).size).toBe(1);
      expect(await readdir(cache.path)).toHaveLength(1);
      const { stdout } = await run(asked[0] as string, ['-c', 'import pip, sys; print(sys.prefix)']);
      expect(stdout.trim().startsWith(cache.path)).toBe(true);
    } finally {
      await cache.remove();
    }
  });

  it('are other ones when a pin is another one, and hold what is pinned', async () => {
    const cache = await tempFolder('trine-venvs-');
    try {
      const pins = join(cache.path, 'pins.txt');
      const make = async (text: string): Promise<string> => {
        await writeFile(pins, text);
        return pythonWith(['pip'], cache.path, pins);
      };
      const first = await make('no-such-package==1\n');
      expect(await make('no-such-package==1\n')).toBe(first);
      // A pin that the requirement cannot meet: another environment, which is not made.
      await expect(make('pip==0.0.0\n')).rejects.toThrow(/pip==0\.0\.0|conflict|No matching distribution/);
      expect((await readdir(cache.path)).filter((name) => name.startsWith('trine-'))).toHaveLength(1);
    } finally {
      await cache.remove();
    }
  });
});
