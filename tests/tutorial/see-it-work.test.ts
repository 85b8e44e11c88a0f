/**
 * The tutorial's "See it work", through the real processes: the command runs the root config.yaml with
 * both Linkly workers, and everything is asked the way its reader would ask.
 */
import { execFile } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineProcess } from '../support/engine-process.js';

const ROOT = join(import.meta.dirname, '..', '..');
const COMMAND = join(ROOT, 'packages', 'cli', 'dist', 'main.js');
const run = promisify(execFile);

/** A first start makes a virtual environment and installs into it. */
const READY_TIMEOUT_MS = 150_000;

let folder: TempFolder;
let stack: EngineProcess | undefined;
const output = (): string => stack?.output ?? '';
let http = '';
let workerPort = '';

async function trigger(...args: string[]): Promise<unknown> {
  const { stdout } = await run('node', [COMMAND, 'trigger', '--port', workerPort, ...args]);
  return stdout === '' ? undefined : JSON.parse(stdout);
}

function post(path: string, body: unknown, method = 'POST'): Promise<Response> {
  return fetch(http + path, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
}

let redirects = 0;

async function clicks(): Promise<number> {
  const answer = (await trigger('database::query', 'db=primary', 'sql=SELECT COUNT(*) AS n FROM clicks')) as {
    rows: { n: number }[];
  };
  return answer.rows[0]?.n ?? 0;
}

async function follow(code: string): Promise<Response> {
  const answer = await fetch(`${http}/s/${code}`, { redirect: 'manual' });
  if (answer.status === 302) redirects++;
  return answer;
}

async function nothingRuns(): Promise<void> {
  await waitFor(async () => !(await run('ps', ['-eo', 'args'])).stdout.includes(folder.path), {
    what: 'every process of the project to end',
  });
}

function isOpen(port: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: Number(port) }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Starts the command and waits until both workers serve all they have. */
async function start(): Promise<void> {
  stack = EngineProcess.spawn({ cwd: folder.path, inOwnGroup: true });
  const portAfter = (text: string): Promise<string> =>
    waitFor(() => new RegExp(`${text} address: 127\\.0\\.0\\.1:(\\d+)`).exec(output())?.[1], { what: `"${text}"` });
  workerPort = await portAfter('Engine listening on');
  http = `http://127.0.0.1:${await portAfter('API listening on')}`;
  await waitFor(
    async () => {
      const { registered_triggers: triggers } = (await trigger('engine::registered-triggers::list')) as {
        registered_triggers: { function_id: string; status: string }[];
      };
      const active = new Set(triggers.filter(({ status }) => status === 'active').map((row) => row.function_id));
      return ['analytics::on_link_created', 'link::on_link_updated', 'http::update'].every((id) => active.has(id));
    },
    { timeoutMs: READY_TIMEOUT_MS, everyMs: 500, what: 'both workers' },
  );
}

beforeAll(async () => {
  folder = await tempFolder('trine-see-it-work-');
  await cp(join(ROOT, 'apps', 'analytics'), join(folder.path, 'analytics'), {
    recursive: true,
    filter: (path) => !/[/\\](\.venv|build|[^/\\]*\.egg-info|__pycache__)$/.test(path),
  });
  const config = (await readFile(join(ROOT, 'config.yaml'), 'utf8'))
    .replace('port: 3111', 'port: 0')
    .replace('./apps/link', join(ROOT, 'apps', 'link'))
    .replace('./apps/analytics', './analytics');
  await writeFile(
    join(folder.path, 'config.yaml'),
    `${config}  - name: iii-worker-manager\n    config:\n      port: 0\n`,
  );
  await start().catch((error: unknown) => {
    throw new Error(`the stack did not come up:\n${output()}`, { cause: error });
  });
}, READY_TIMEOUT_MS + 30_000);

afterAll(async () => {
  await stack?.kill();
  await folder.remove();
});

describe('the Linkly stack', () => {
  it('makes links, follows them, changes one, and counts in Python', async () => {
    const today = (): string => new Date().toISOString().slice(0, 10);
    const before = today();
    for (let n = 1; n <= 5; n++) {
      const created = await post('/links', { url: `https://iii.dev/${n}`, code: `link${n}` });
      expect(created.status).toBe(201);
      expect(await created.json()).toEqual({ code: `link${n}`, url: `https://iii.dev/${n}` });
    }
    for (let i = 0; i < 3; i++) {
      const answer = await follow('link1');
      expect(answer.status).toBe(302);
      expect(answer.headers.get('location')).toBe('https://iii.dev/1');
    }
    expect((await follow('missing')).status).toBe(404);
    expect(await (await post('/links/link1', {}, 'PUT')).json()).toEqual({ error: 'missing "url"' });

    const changed = await post('/links/link1', { url: 'https://iii.dev/docs' }, 'PUT');
    expect(changed.status).toBe(200);
    expect(await changed.json()).toEqual({ code: 'link1', url: 'https://iii.dev/docs' });
    // The durable subscriber refreshes the cache; the redirect reads the cache.
    await waitFor(async () => (await follow('link1')).headers.get('location') === 'https://iii.dev/docs', {
      what: 'the changed target',
    });

    const counts = await waitFor(async () => {
      const answer = (await trigger(
        'database::query',
        'db=analytics',
        'sql=SELECT day, count FROM daily_link_counts',
      )) as {
        rows: { day: string; count: number }[];
        row_count: number;
      };
      return answer.rows.reduce((sum, row) => sum + row.count, 0) >= 5 ? answer : undefined;
    });
    // At midnight in UTC the five may fall into two days.
    if (before === today()) expect(counts).toMatchObject({ rows: [{ day: before, count: 5 }], row_count: 1 });
  });

  it('has one row per redirect', async () => {
    for (let i = 0; i < 4; i++) expect((await follow('link2')).status).toBe(302);
    expect(redirects).toBeGreaterThanOrEqual(8);
    await waitFor(async () => (await clicks()) >= redirects, { what: 'the click rows' });
    expect(await trigger('engine::queue::topic_stats', 'topic=clicks')).toMatchObject({ depth: 0, dlq_depth: 0 });
    expect(await clicks()).toBe(redirects);
  });

  it('tells what its workers log, each line with the worker that wrote it', async () => {
    await waitFor(() => /\[INFO\] link link resolved\n(.*\n)*?.*code: "link1"/.test(output()), {
      what: 'the log of link',
    });
    await waitFor(() => /analytics .*counted new link link5 for \d{4}-\d\d-\d\d/.test(output()), {
      what: 'the log of analytics',
    });
  });

  it('killed outright it takes its workers along, and the next start has everything', async () => {
    await stack?.kill();
    await nothingRuns();
    await start();
    expect((await follow('link1')).headers.get('location')).toBe('https://iii.dev/docs');
    await waitFor(async () => (await clicks()) >= redirects, { what: 'the click rows' });
    expect(await clicks()).toBe(redirects);
  });

  it('ends with Ctrl-C: exit 0, ports free, no process left', async () => {
    expect(await stack?.interrupt()).toEqual({ code: 0, signal: null });
    expect(await isOpen(workerPort)).toBe(false);
    expect(await isOpen(new URL(http).port)).toBe(false);
    await nothingRuns();
  });
});
