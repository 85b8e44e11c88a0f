/** The engine in few files, as the command loads it, is the engine. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import * as engine from '@trine/engine';
import * as bundled from '@trine/engine/bundled';
import { tempFolder } from '@trine/testing';
import { describe, expect, it } from 'vitest';

const PLACE = import.meta.resolve('@trine/engine/bundled');

describe('the bundled engine', () => {
  it('offers what the engine offers', () => {
    expect(Object.keys(bundled).sort()).toEqual(Object.keys(engine).sort());
  });

  it('runs built-in workers whose threads load modules of their own', async () => {
    const folder = await tempFolder();
    const workers = [
      { name: 'iii-worker-manager', config: { port: 0 } },
      { name: 'iii-http', config: { port: 0 } },
      { name: 'iii-state' },
      { name: 'iii-queue' },
      { name: 'iii-stream', config: { port: 0 } },
      { name: 'database', config: { databases: { primary: { url: 'sqlite:./data/one.db' } } } },
    ];
    const own = await bundled.createEngine({ cwd: folder.path, logLevel: 'silent', config: { workers } });
    try {
      await own.start();
      const worker = own.worker('w');
      const call = (id: string, payload: unknown): Promise<unknown> => worker.trigger({ function_id: id, payload });
      await call('state::set', { scope: 's', key: 'k', value: { n: 1 } });
      expect(await call('state::get', { scope: 's', key: 'k' })).toEqual({ n: 1 });
      expect(await call('database::query', { db: 'primary', sql: 'SELECT 1 AS one' })).toMatchObject({
        rows: [{ one: 1 }],
      });
      const ran = new Promise((done) => worker.registerFunction('f', (data) => done(data)));
      await worker.trigger({
        function_id: 'f',
        payload: 'job',
        action: bundled.TriggerAction.Enqueue({ queue: 'default' }),
      });
      expect(await ran).toBe('job');
    } finally {
      await own.stop();
      await folder.remove();
    }
  });

  it('finds the native parts that stay outside', () => {
    const require = createRequire(PLACE);
    for (const name of ['better-sqlite3', 'bufferutil']) expect(require.resolve(name)).toContain(name);
  });

  it('carries the terms of the libraries inside', () => {
    const terms = readFileSync(new URL('LICENSES.txt', PLACE), 'utf8');
    for (const name of ['fastify', 'ws', 'zod', 'yaml', 'pino', 'ajv'])
      expect(terms).toMatch(new RegExp(`^${name} \\d`, 'm'));
    expect(terms).toContain('MIT License');
    expect(terms).not.toContain('(see below)');
  });
});
