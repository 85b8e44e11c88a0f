/** A process that does nothing but stop a part of the engine ends after that, and not while it waits. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtUrl } from './built-url.js';

/** A process that does not end by itself is killed after this time, in milliseconds, and the test fails. */
const DEADLINE_MS = 15_000;

const built = (path: string): string => JSON.stringify(builtUrl(import.meta.url, path).href);

describe('a process whose threads are at work when they are stopped', () => {
  let folder: TempFolder;
  beforeEach(async () => {
    folder = await tempFolder();
  });
  afterEach(() => folder.remove());

  /** Ends with code 13 and without its last line when nothing keeps its last wait alive. */
  const run = (program: string): Promise<{ stdout: string; stderr: string }> => {
    const args = ['--input-type=module', '-e', `${program}\nconsole.log('stopped');`];
    return promisify(execFile)(process.execPath, args, { timeout: DEADLINE_MS, cwd: folder.path });
  };

  it('ends after the storage threads', async () => {
    const program = `
      const { StorageThreads } = await import(${built('../storage/index.js')});
      const threads = new StorageThreads({ projectDir: process.cwd(), dataDir: 'data' });
      const store = await threads.open({ module: new URL(${built('../workers/state/store.js')}) });
      const operations = [];
      for (let i = 0; i < 50; i++) operations.push(store.write('set', 's', 'k' + i, '1'), store.read('list', 's'));
      await threads.stop();
      await Promise.allSettled(operations);`;
    expect(await run(program)).toEqual({ stdout: 'stopped\n', stderr: '' });
  });

  it('ends after the thread of a database', async () => {
    const program = `
      const { Connection } = await import(${built('../workers/database/connection.js')});
      const thread = new URL(${built('../workers/database/thread.js')});
      const connection = await Connection.open(thread, { name: 'db', file: process.cwd() + '/one.db' });
      const sql = 'WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT count(*) FROM n';
      const answer = connection.run({ kind: 'query', sql, params: undefined, timeoutMs: 10_000 });
      await connection.close();
      await answer;`;
    expect(await run(program)).toEqual({ stdout: 'stopped\n', stderr: '' });
  });
});
