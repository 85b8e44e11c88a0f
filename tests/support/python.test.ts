import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
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
});
