import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtUrl } from '../../core/built-url.js';
import { systemClock } from '../../core/clock.js';
import { createLog } from '../../core/log-writer.js';
import { Database } from './database.js';
import type { Call } from './messages.js';

const THREAD = builtUrl(import.meta.url, './thread.js').href;

describe('a database and its thread', () => {
  let folder: TempFolder;
  let database: Database;
  let logged: string;

  const open = async (file: string): Promise<void> => {
    // The real thread, with one addition: a statement that ends it, as a crash would.
    const module = join(folder.path, 'thread.mjs');
    const crash = `import { parentPort } from 'node:worker_threads';\nparentPort.on('message', ({ sql }) => { if (sql === 'crash') process.exit(7); });\n`;
    await writeFile(module, `${crash}await import(${JSON.stringify(THREAD)});\n`);
    const log = createLog({ stream: { write: (text) => (logged += text) } });
    const options = {
      name: 'db',
      file: file === ':memory:' ? file : join(folder.path, file),
      acquireTimeoutMs: 5_000,
      clock: systemClock,
      log,
    };
    database = await Database.open({ ...options, thread: pathToFileURL(module) });
  };
  const query = (sql: string): Call => ({ kind: 'query', sql, params: undefined, timeoutMs: 30_000 });
  const execute = (sql: string): Call => ({ kind: 'execute', sql, params: undefined, returning: [] });

  beforeEach(async () => {
    folder = await tempFolder();
    logged = '';
  });

  afterEach(async () => {
    await database.close();
    await folder.remove();
  });

  it('starts a lost thread again: the running call fails with the reason, those that wait are served', async () => {
    await open('a.db');
    await database.run(execute('CREATE TABLE t (x)'));
    const lost = database.run(query('crash'));
    const after = database.run(query('SELECT count(*) AS n FROM t'));
    await expect(lost).rejects.toMatchObject({
      fault: {
        code: 'DRIVER_ERROR',
        message:
          'the database thread ended unexpectedly (exit code 7) while this ran: it may or may not have taken effect',
      },
    });
    expect(JSON.parse(await after)).toMatchObject({ rows: [{ n: 0 }] });
    expect(logged).toContain('The thread of a database ended and is started again');
  });

  it('says that a database in memory lost what it held', async () => {
    await open(':memory:');
    await expect(database.run(query('crash'))).rejects.toThrow();
    expect(JSON.parse(await database.run(query('SELECT 1 AS n')))).toMatchObject({ rows: [{ n: 1 }] });
    expect(logged).toContain('it was kept in memory');
  });

  it('closes after the calls that it took, and takes no more', async () => {
    await open('b.db');
    const taken = [execute('CREATE TABLE t (x)'), execute('INSERT INTO t VALUES (1)')].map((call) =>
      database.run(call),
    );
    const closed = database.close();
    await expect(database.run(query('SELECT 1'))).rejects.toMatchObject({
      fault: { message: expect.stringContaining('is closed') as string },
    });
    await closed;
    expect(
      (await Promise.all(taken)).map((json) => (JSON.parse(json) as { affected_rows: number }).affected_rows),
    ).toEqual([0, 1]);
    await database.close();
  });

  it('gives up its write lock when a transaction fails', async () => {
    await open('c.db');
    const other = await Database.open({
      name: 'other',
      file: database.file,
      acquireTimeoutMs: 5_000,
      clock: systemClock,
      log: createLog({ level: 'silent' }),
    });
    try {
      await database.run(execute('CREATE TABLE t (x UNIQUE)'));
      const twice = ['INSERT INTO t VALUES (1)', 'INSERT INTO t VALUES (1)'].map((sql) => ({ sql, params: undefined }));
      expect(JSON.parse(await database.run({ kind: 'transaction', statements: twice, immediate: true }))).toMatchObject(
        { committed: false },
      );
      expect(JSON.parse(await other.run(execute('INSERT INTO t VALUES (2)')))).toMatchObject({ affected_rows: 1 });
      // What another connection adds to the schema is seen: nothing is remembered between calls.
      await other.run(execute('ALTER TABLE t ADD COLUMN y'));
      expect(JSON.parse(await database.run(query('SELECT * FROM t')))).toMatchObject({
        columns: [{ name: 'x' }, { name: 'y' }],
        rows: [{ x: 2, y: null }],
      });
    } finally {
      await other.close();
    }
  });
});

describe('a file that is opened', () => {
  it('is given up when that takes too long', async () => {
    const folder = await tempFolder();
    const module = join(folder.path, 'stuck.mjs');
    await writeFile(module, 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);\n');
    const options = {
      name: 'db',
      file: join(folder.path, 'd.db'),
      acquireTimeoutMs: 5_000,
      openTimeoutMs: 50,
      clock: systemClock,
      log: createLog({ level: 'silent' }),
      thread: pathToFileURL(module),
    };
    await expect(Database.open(options)).rejects.toMatchObject({
      fault: { code: 'DRIVER_ERROR', inner_code: 'CannotOpen', message: 'it was not open after 50 ms' },
    });
    await folder.remove();
  });
});
