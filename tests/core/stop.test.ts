import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createEngine } from '@trine/engine';
import { RawWorker, tempFolder } from '@trine/testing';
import { describe, expect, test } from 'vitest';

const EMBEDDING = fileURLToPath(new URL('fixtures/embedding.mjs', import.meta.url));
/** After this long a process that does not end by itself is killed, and the test fails. */
const DEADLINE_MS = 30_000;

describe('stop - nothing of an engine is left', () => {
  test.each([1, 3])('a process that has stopped its engines ends by itself (%i engines)', async (count) => {
    const folder = await tempFolder();
    try {
      for (let i = 0; i < count; i++) await mkdir(`${folder.path}/${i}`);
      const run = promisify(execFile)(process.execPath, [EMBEDDING, folder.path, String(count)], {
        timeout: DEADLINE_MS,
      });
      const { stdout, stderr } = await run;
      const { answers, left } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as {
        answers: unknown[];
        left: string[];
      };
      expect(answers).toEqual(
        Array.from({ length: count }, (_, i) => ({ i, job: expect.anything() as unknown, state: i })),
      );
      expect(left).toEqual([]);
      expect(stderr).toBe('');
    } finally {
      await folder.remove();
    }
  });

  test('engines of one process share nothing; stopping one leaves the others alone', async () => {
    const folders = [await tempFolder(), await tempFolder()];
    const engines = await Promise.all(
      folders.map(({ path }) =>
        createEngine({
          cwd: path,
          logLevel: 'silent',
          config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }, { name: 'iii-state' }] },
        }),
      ),
    );
    const [first, second] = engines as [(typeof engines)[number], (typeof engines)[number]];
    try {
      await Promise.all(engines.map((engine) => engine.start()));
      expect(first.url).not.toBe(second.url);
      await first
        .worker('w')
        .trigger({ function_id: 'state::set', payload: { scope: 's', key: 'k', value: 'of the first' } });
      first.worker('w').registerFunction('first::only', () => true);
      const client = await RawWorker.connect(second.url);
      expect((await client.ask('first::only', {}))['error']).toMatchObject({ code: 'function_not_found' });
      expect(await client.call('state::get', { scope: 's', key: 'k' })).toBeUndefined();
      await first.stop();
      await first.stop();
      expect(client.isOpen).toBe(true);
      expect(await client.call('state::set', { scope: 's', key: 'k', value: 2 })).toMatchObject({ new_value: 2 });
      await client.close();
    } finally {
      await Promise.all(engines.map((engine) => engine.stop()));
      await Promise.all(folders.map((folder) => folder.remove()));
    }
  });
});
