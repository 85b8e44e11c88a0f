import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Payload } from '@trine/protocol';
import { FakeClock, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BuiltIns } from '../../built-ins.js';
import { Core } from '../../core/core.js';
import { EmbeddedWorker } from '../../core/embedded-worker.js';
import { silentLog } from '../../core/log.js';
import { systemRandom } from '../../core/random.js';
import type { WorkerHost } from '../../core/worker-host.js';
import { StorageThreads } from '../../storage/index.js';
import { databaseWorker } from './index.js';

/** Some tenths of a second of work that nothing can interrupt. */
const SLOW =
  'WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 2000000) SELECT count(*) AS n FROM c';

interface Rows {
  readonly rows: Record<string, unknown>[];
  readonly row_count: number;
}

describe('database worker', () => {
  let folder: TempFolder;
  let clock: FakeClock;
  let core: Core;
  let builtIns: BuiltIns;
  let worker: EmbeddedWorker;
  let host: WorkerHost;

  const parse = (config: unknown): unknown => databaseWorker.config.parse(config);
  const start = (config?: unknown): Promise<void> =>
    builtIns.start({ id: 'db', name: 'database', config: parse(config) }, databaseWorker);
  const change = (config: unknown): Promise<void> =>
    builtIns.change({ id: 'db', name: 'database', config: parse(config) });
  const call = <Result>(name: string, payload: unknown): Promise<Result> =>
    worker.trigger<unknown, Result>({ function_id: `database::${name}`, payload });
  /** The JSON text of a result, with the digits it was answered with. */
  const rawCall = async (name: string, json: string): Promise<string> => {
    const outcome = await host.invoke({ functionId: `database::${name}`, payload: Payload.fromJson(json) });
    if (!outcome.ok) throw new Error(outcome.error.message);
    return outcome.result?.json ?? '';
  };
  const fault = async (name: string, payload: unknown): Promise<Record<string, unknown>> => {
    const error = await call(name, payload).then(
      () => {
        throw new Error('the call succeeded');
      },
      (reason: unknown) => reason as { code: string; message: string },
    );
    expect(error.code).toBe('invocation_failed');
    expect(error.message).toMatch(/^handler error: \{"code":"/);
    return JSON.parse(error.message.slice('handler error: '.length)) as Record<string, unknown>;
  };

  beforeEach(async () => {
    folder = await tempFolder();
    clock = new FakeClock();
    core = new Core({ clock, random: systemRandom, log: silentLog });
    const storage = new StorageThreads({ projectDir: folder.path, dataDir: join(folder.path, 'data') });
    builtIns = new BuiltIns({
      core,
      storage,
      projectDir: folder.path,
      dataDir: join(folder.path, 'data'),
      alwaysOn: new Set(),
      reportPort: () => undefined,
    });
    worker = new EmbeddedWorker(core, 'tester');
    host = builtIns.host('tester-host');
  });

  afterEach(async () => {
    await builtIns.stopAll();
    core.router.stop();
    await folder.remove();
  });

  it('keeps the data of the default database in the project, over a restart', async () => {
    await start();
    await call('execute', { db: 'primary', sql: 'CREATE TABLE IF NOT EXISTS links (code TEXT PRIMARY KEY, url TEXT)' });
    const upsert = 'INSERT INTO links VALUES (?, ?) ON CONFLICT (code) DO UPDATE SET url = excluded.url';
    await call('execute', { db: 'primary', sql: upsert, params: ['iii', 'https://iii.dev'] });
    await builtIns.stop('db');
    expect(existsSync(join(folder.path, 'data', 'iii.db'))).toBe(true);

    await start();
    expect(
      await call('query', { db: 'primary', sql: 'SELECT url FROM links WHERE code = ?', params: ['iii'] }),
    ).toEqual({
      columns: [{ name: 'url', type: 'TEXT' }],
      row_count: 1,
      rows: [{ url: 'https://iii.dev' }],
    });
  });

  it('answers execute with counts, the id as a string, and returned rows', async () => {
    await start();
    await call('execute', { sql: 'CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)' });
    expect(await call('execute', { sql: "INSERT INTO t (x) VALUES ('a'), ('b;')" })).toEqual({
      affected_rows: 2,
      last_insert_id: '2',
      returned_rows: [],
    });
    expect(await call('execute', { sql: 'UPDATE t SET x = ? WHERE id = 1', params: ['c'] })).toEqual({
      affected_rows: 1,
      last_insert_id: null,
      returned_rows: [],
    });
    expect(await call('execute', { sql: 'INSERT INTO t (x) VALUES (?) RETURNING x, id', params: ['d'] })).toEqual({
      affected_rows: 1,
      last_insert_id: '3',
      returned_rows: [{ id: 3, x: 'd' }],
    });
    expect(await call('execute', { sql: 'DELETE FROM t WHERE id > 2; -- all new ones', returning: ['id'] })).toEqual({
      affected_rows: 1,
      last_insert_id: null,
      returned_rows: [{ id: 3 }],
    });
  });

  it('keeps every digit and every fraction, in both directions', async () => {
    await start();
    await rawCall('execute', '{"sql":"CREATE TABLE t (i INTEGER, r REAL, x)"}');
    await rawCall('execute', '{"sql":"INSERT INTO t VALUES (?, ?, ?)","params":[9007199254740993,1.0,1]}');
    expect(
      await rawCall(
        'query',
        '{"sql":"SELECT i, r, x, typeof(x) AS k FROM t WHERE i = ?","params":[ 9007199254740993 ]}',
      ),
    ).toBe(
      '{"columns":[{"name":"i","type":"INTEGER"},{"name":"r","type":"REAL"},{"name":"x","type":""},{"name":"k","type":""}],' +
        '"row_count":1,"rows":[{"i":"9007199254740993","k":"integer","r":1.0,"x":1}]}',
    );
  });

  it('takes the aliases: query for sql, params as a JSON string, iii-database for database', async () => {
    await start();
    const payload = { query: 'SELECT ? AS a, ? AS b', params: '[1, "x"]' };
    expect(await worker.trigger({ function_id: 'iii-database::query', payload })).toMatchObject({
      rows: [{ a: 1, b: 'x' }],
    });
    await expect(call('query', {})).rejects.toMatchObject({
      code: 'deserialization_error',
      message: expect.stringContaining('missing field `sql`') as string,
    });
  });

  it('finds the meant database: the only one, else primary, else an error that lists them', async () => {
    await start({ databases: { a: { url: 'sqlite::memory:' } } });
    expect(await call('query', { sql: 'SELECT 1 AS n' })).toMatchObject({ rows: [{ n: 1 }] });
    await change({ databases: { a: { url: 'sqlite::memory:' }, b: { url: 'sqlite::memory:' } } });
    expect(await fault('query', { sql: 'SELECT 1' })).toEqual({ code: 'MISSING_DB', available: ['a', 'b'] });
    expect(await fault('query', { db: 'primary', sql: 'SELECT 1' })).toEqual({
      code: 'UNKNOWN_DB',
      db: 'primary',
      available: ['a', 'b'],
    });
    await change({ databases: { a: { url: 'sqlite::memory:' }, primary: { url: 'sqlite::memory:' } } });
    expect(await call('query', { sql: 'SELECT 2 AS n' })).toMatchObject({ rows: [{ n: 2 }] });
  });

  it('tells what SQLite says, by kind', async () => {
    await start();
    await call('execute', { sql: 'CREATE TABLE t (x TEXT UNIQUE)' });
    await call('execute', { sql: "INSERT INTO t VALUES ('a')" });
    expect(await fault('execute', { sql: "INSERT INTO t VALUES ('a')" })).toMatchObject({
      code: 'DRIVER_ERROR',
      driver: 'sqlite',
      inner_code: 'ConstraintViolation',
    });
    expect(await fault('query', { sql: 'SELECT * FROM nowhere' })).toMatchObject({
      inner_code: null,
      message: expect.stringContaining('no such table: nowhere') as string,
    });
    expect(await fault('query', { sql: 'SELECT ?', params: [1, 2] })).toMatchObject({
      message: 'Wrong number of parameters passed to query. Got 2, needed 1',
    });
    expect(await fault('execute', { sql: 'DELETE FROM t; DELETE FROM t' })).toMatchObject({
      inner_code: 'MULTI_STATEMENT',
    });
    expect(await fault('execute', { sql: ' ; -- nothing' })).toMatchObject({ driver: 'Sqlite', message: 'empty SQL' });
    expect(await fault('execute', { sql: 'BEGIN' })).toMatchObject({ code: 'INVALID_PARAM' });
    expect(await fault('query', { sql: 'SELECT ?', params: '{"a":1}' })).toEqual({
      code: 'INVALID_PARAM',
      index: 0,
      reason: 'params must be an array',
    });
  });

  it('commits all statements of a transaction or none', async () => {
    await start();
    await call('execute', { sql: 'CREATE TABLE t (x INTEGER UNIQUE)' });
    const insert = { sql: 'INSERT INTO t VALUES (?)', params: [1] };
    expect(
      await call('transaction', {
        statements: [insert, { sql: 'SELECT x, 2 AS a FROM t' }],
        isolation: 'serializable',
      }),
    ).toEqual({
      committed: true,
      results: [
        { affected_rows: 1, rows: [] },
        { affected_rows: 1, rows: [[1, 2]] },
      ],
    });
    const failed = await call('transaction', { statements: [{ sql: 'INSERT INTO t VALUES (2)' }, insert] });
    expect(failed).toMatchObject({
      committed: false,
      failed_index: 1,
      error: { code: 'DRIVER_ERROR', inner_code: 'ConstraintViolation' },
    });
    expect(await call('query', { sql: 'SELECT x FROM t' })).toMatchObject({ rows: [{ x: 1 }] });
    expect(await call('transaction', { statements: [] })).toEqual({ committed: true, results: [] });
    expect(await call('transaction', { statements: [{ sql: 'COMMIT' }] })).toMatchObject({
      committed: false,
      failed_index: 0,
    });
    expect(await fault('transaction', { statements: [], isolation: 'chaos' })).toEqual({
      code: 'INVALID_PARAM',
      index: 0,
      reason: 'unknown isolation `chaos`',
    });
  });

  it('runs prepared statements until their handle expires or their database goes', async () => {
    await start({ databases: { a: { url: 'sqlite::memory:' }, b: { url: 'sqlite::memory:' } } });
    const prepare = async (db: string): Promise<string> => {
      const { handle } = await call<{ handle: { id: string; expires_at: string } }>('prepareStatement', {
        db,
        sql: 'SELECT ? + 1 AS n',
        ttl_seconds: 60,
      });
      expect(Date.parse(handle.expires_at)).toBe(clock.now() + 60_000);
      return handle.id;
    };
    const [a, b] = [await prepare('a'), await prepare('b')];
    expect(await call('runStatement', { handle_id: a, params: [41] })).toMatchObject({ rows: [{ n: 42 }] });
    await change({ databases: { a: { url: 'sqlite::memory:' } } });
    expect(await fault('runStatement', { handle_id: b, params: [1] })).toEqual({
      code: 'STATEMENT_NOT_FOUND',
      handle_id: b,
    });
    await clock.advance(60_000);
    expect(await fault('runStatement', { handle_id: a, params: [1] })).toEqual({
      code: 'STATEMENT_NOT_FOUND',
      handle_id: a,
    });
  });

  it('adds, removes and changes databases live and leaves the others alone', async () => {
    await start({ databases: { kept: { url: 'sqlite::memory:' }, gone: { url: 'sqlite:./gone.db' } } });
    await call('execute', { db: 'kept', sql: 'CREATE TABLE t (x)' });
    await change({
      databases: {
        kept: { url: 'sqlite::memory:', pool: { acquire_timeout_ms: 100 } },
        analytics: { url: 'sqlite:./deep/er/analytics.db' },
      },
    });
    expect(await call('query', { db: 'kept', sql: 'SELECT count(*) AS n FROM t' })).toMatchObject({ rows: [{ n: 0 }] });
    await call('execute', { db: 'analytics', sql: 'CREATE TABLE t (x)' });
    expect(existsSync(join(folder.path, 'deep', 'er', 'analytics.db'))).toBe(true);
    expect(await fault('query', { db: 'gone', sql: 'SELECT 1' })).toMatchObject({
      code: 'UNKNOWN_DB',
      available: ['analytics', 'kept'],
    });
    expect(await call('listDatabases', {})).toMatchObject({
      count: 2,
      databases: [
        { name: 'analytics', driver: 'sqlite', url: 'sqlite:./deep/er/analytics.db' },
        { name: 'kept', pool: { acquire_timeout_ms: 100, idle_timeout_ms: 30_000, max: 10 } },
      ],
    });
  });

  it('refuses a change whose database cannot be opened, and runs on as before', async () => {
    await start({ databases: { kept: { url: 'sqlite::memory:' } } });
    await call('execute', { sql: 'CREATE TABLE t (x)' });
    const bad = { databases: { fine: { url: 'sqlite::memory:' }, broken: { url: 'sqlite:.' } } };
    await expect(change(bad)).rejects.toThrow(/databases\.broken: cannot open .* \(there is a folder in its place\)/);
    expect(await call('query', { sql: 'SELECT count(*) AS n FROM t' })).toMatchObject({ rows: [{ n: 0 }] });
  });

  it('answers QUERY_TIMEOUT at the deadline, then POOL_TIMEOUT while the statement runs on', async () => {
    await start({
      databases: { a: { url: 'sqlite::memory:', pool: { acquire_timeout_ms: 1_000 } }, b: { url: 'sqlite::memory:' } },
    });
    const slow = fault('query', { db: 'a', sql: SLOW, timeout_ms: 200 });
    const waiting = fault('query', { db: 'a', sql: 'SELECT 1' });
    await waitFor(() => clock.pending >= 2, { what: 'both timers' });
    await clock.advance(200);
    expect(await slow).toEqual({ code: 'QUERY_TIMEOUT', db: 'a', timeout_ms: 200 });
    expect(await call('query', { db: 'b', sql: 'SELECT 1 AS n' })).toMatchObject({ rows: [{ n: 1 }] });
    await clock.advance(800);
    expect(await waiting).toEqual({ code: 'POOL_TIMEOUT', db: 'a', waited_ms: 1_000 });
    expect(await call('query', { db: 'a', sql: 'SELECT 3 AS n' })).toMatchObject({ rows: [{ n: 3 }] });
  });

  it('ends a long SELECT between two rows, so that its database is free again', async () => {
    await start();
    const endless = 'WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c';
    expect(await fault('query', { sql: endless, timeout_ms: 50 })).toEqual({
      code: 'QUERY_TIMEOUT',
      db: 'primary',
      timeout_ms: 50,
    });
    expect(await call('query', { sql: 'SELECT 1 AS n' })).toMatchObject({ rows: [{ n: 1 }] });
  });

  it('does not block the main thread while a statement runs', async () => {
    await start();
    const before = performance.now();
    const slow = call<Rows>('query', { sql: SLOW });
    let turns = 0;
    let done = false;
    void slow.then(() => (done = true));
    while (!done) {
      await new Promise((resolve) => setImmediate(resolve));
      turns++;
    }
    expect((await slow).rows).toEqual([{ n: 2_000_000 }]);
    expect(turns).toBeGreaterThan(100);
    expect(performance.now() - before).toBeGreaterThan(10);
  });
});

describe('database configuration', () => {
  const message = (config: unknown): string =>
    databaseWorker.config
      .safeParse(config)
      .error?.issues.map((issue) => issue.message)
      .join('; ') ?? '';

  it('means the default database when it is left out', () => {
    expect(databaseWorker.config.parse(undefined)).toEqual(databaseWorker.config.parse(databaseWorker.defaultBlock));
  });

  it('refuses what this version cannot open', () => {
    expect(message({ databases: { a: { url: 'postgres://u:p@host/db' } } })).toContain('not in this version');
    expect(message({ databases: { a: { url: 'mongo://host' } } })).toContain('unknown url scheme');
    expect(message({ databases: { a: { url: 'sqlite:' } } })).toContain('names no file');
    expect(message({ databases: {} })).toBe('config must declare at least one database');
    expect(message({ databases: { a: { url: 'SQLite::memory:' } } })).toBe('');
  });
});
