/** What the tutorial's chapter promises of its queue, with the link worker's real code. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createEngine, createLog, systemClock, type Clock, type Engine } from '@trine/engine';
import { FakeClock, tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const LINK = join(import.meta.dirname, '..', '..', 'apps', 'link');
const BLOCKED_MS = 3_000;

let folder: TempFolder;
let engine: Engine;
let link: ChildProcess;

async function start(clock: Clock): Promise<void> {
  engine = await createEngine({
    cwd: folder.path,
    clock,
    log: createLog({ level: 'silent' }),
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'iii-http', config: { port: 0 } },
        { name: 'iii-state' },
        { name: 'iii-pubsub' },
        {
          name: 'iii-queue',
          config: {
            queue_configs: { clicks: { type: 'standard', max_retries: 5, concurrency: 5 } },
            adapter: { name: 'builtin' },
          },
        },
        { name: 'database', config: { databases: { primary: { url: 'sqlite:./data/iii.db' } } } },
      ],
    },
  });
  await engine.start();
  link = spawn(process.execPath, ['--import', 'tsx', 'src/index.ts'], {
    cwd: LINK,
    env: { ...process.env, III_URL: engine.url, OTEL_ENABLED: 'false' },
    stdio: 'ignore',
  });
  await waitFor(
    async () => (await follow('nobody')).status === 404 && (await follow('nobody')).headers.has('content-type'),
    {
      timeoutMs: 30_000,
      what: 'the link worker',
    },
  );
  await waitFor(async () => (await create('demo', 'https://iii.dev')).status === 201, { what: 'a link' });
}

const base = (): string => `http://127.0.0.1:${engine.ports['http']}`;
const follow = (code: string): Promise<Response> => fetch(`${base()}/s/${code}`, { redirect: 'manual' });
const create = (code: string, url: string): Promise<Response> =>
  fetch(`${base()}/links`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code, url }),
  });

function sql<T>(statement: string, kind: 'query' | 'execute' = 'query'): Promise<T> {
  return engine
    .worker('test')
    .trigger({ function_id: `database::${kind}`, payload: { db: 'primary', sql: statement } });
}

async function clicks(): Promise<number> {
  const { rows } = await sql<{ rows: { n: number }[] }>('SELECT COUNT(*) AS n FROM clicks');
  return rows[0]?.n ?? 0;
}

interface DeadLetter {
  readonly payload: { readonly code: string };
  readonly error: string;
  readonly retries: number;
  readonly function_id: string;
  readonly attempts: { readonly at: number; readonly error: string }[];
}

const deadLetters = (): Promise<DeadLetter[]> =>
  engine.worker('test').trigger({ function_id: 'engine::queue::dlq_messages', payload: { topic: 'clicks' } });

beforeEach(async () => {
  folder = await tempFolder('trine-linkly-');
});
afterEach(async () => {
  link.kill('SIGKILL');
  await engine.stop();
  await folder.remove();
});

describe('a redirect', () => {
  it('answers while the database is blocked for 3 s, and its click is stored afterwards', async () => {
    await start(systemClock);
    await follow('demo');
    await waitFor(async () => (await clicks()) === 1);
    const hold = `import sqlite3,time
c=sqlite3.connect(${JSON.stringify(join(folder.path, 'data', 'iii.db'))},isolation_level=None)
c.execute("BEGIN EXCLUSIVE")
print("held",flush=True)
time.sleep(${BLOCKED_MS / 1_000})
c.execute("COMMIT")`;
    const blocker = spawn('python3', ['-c', hold], { stdio: ['ignore', 'pipe', 'inherit'] });
    const released = once(blocker, 'exit');
    await once(blocker.stdout, 'data');
    const answer = await follow('demo');
    // The lock is still held: the slow write was not on the way of the answer.
    expect(blocker.exitCode).toBe(null);
    expect(answer.status).toBe(302);
    expect(answer.headers.get('location')).toBe('https://iii.dev');
    await released;
    await waitFor(async () => (await clicks()) === 2, { what: 'the click that waited' });
  });
});

describe('a click that the database refuses', () => {
  it('is delivered at 0, 1, 3, 7 and 15 s, then dead-lettered with its real error; a redrive after the repair stores it', async () => {
    const clock = new FakeClock();
    await start(clock);
    await sql(
      "CREATE TRIGGER refuse BEFORE INSERT ON clicks BEGIN SELECT RAISE(ABORT, 'clicks are closed'); END",
      'execute',
    );
    const startedAt = clock.now();
    expect((await follow('demo')).status).toBe(302);
    // Each retry waits for the answer to the delivery before it, then for its time.
    const stats = (): Promise<{ depth: number; delayed: number; running: number; dlq_depth: number }> =>
      engine.worker('test').trigger({ function_id: 'engine::queue::topic_stats', payload: { topic: 'clicks' } });
    for (const seconds of [1, 2, 4, 8]) {
      await waitFor(async () => (await stats()).delayed === 1, { what: `the retry after ${seconds} s` });
      await clock.advance(seconds * 1_000 - 1);
      expect((await stats()).delayed).toBe(1);
      await clock.advance(1);
    }
    const [letter, ...others] = await waitFor(async () => {
      const letters = await deadLetters();
      return letters.length > 0 ? letters : undefined;
    });
    expect(others).toEqual([]);
    expect(letter).toMatchObject({ payload: { code: 'demo' }, retries: 5, function_id: 'link::record_click' });
    expect(letter?.error).toContain('clicks are closed');
    expect(letter?.attempts.map(({ at }) => Math.round((at - startedAt) / 1_000))).toEqual([0, 1, 3, 7, 15]);
    expect(letter?.attempts.every(({ error }) => error.includes('clicks are closed'))).toBe(true);
    expect(await clicks()).toBe(0);

    await sql('DROP TRIGGER refuse', 'execute');
    const redriven = await engine
      .worker('test')
      .trigger({ function_id: 'iii::queue::redrive', payload: { queue: 'clicks' } });
    expect(redriven).toEqual({ queue: 'clicks', redriven: 1 });
    await waitFor(async () => (await clicks()) === 1);
    expect(await deadLetters()).toEqual([]);
  });
});
