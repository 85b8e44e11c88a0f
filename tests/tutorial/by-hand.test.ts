/**
 * The tutorial by hand: the packed command, installed from its tarballs, in an empty folder. Everything
 * after `iii` is done to the running engine, as its reader would do it.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { docExamples } from '../docs/doc-examples.js';
import { EngineProcess, freePort } from '../support/engine-process.js';
import { STACK_TRACE_LINE } from '../support/stack-trace.js';
import { APPS, linkSource, type EditName } from './link-source.js';
import { offerNativePart, packAll, shell, succeed, terminal } from './packed-command.js';

/** npm and pip install what a worker needs, from their registries, on a busy machine: milliseconds. */
const INSTALL_TIMEOUT_MS = 180_000;
const RELOAD_TIMEOUT_MS = 30_000;

let folder: TempFolder;
let tarballs: string;
/** Folder of `iii`, as `npm install -g` makes it. */
let bin: string;
let nativePart: NodeJS.ProcessEnv;

beforeAll(async () => {
  folder = await tempFolder('trine-by-hand-');
  const prefix = join(folder.path, 'prefix');
  bin = join(prefix, 'bin');
  tarballs = (await packAll(join(folder.path, 'packages'))).map((path) => `"${path}"`).join(' ');
  nativePart = await offerNativePart(join(folder.path, 'prebuilt'));
  await succeed(`npm install -g --ignore-scripts --prefix "${prefix}" ${tarballs}`, {
    cwd: folder.path,
    env: process.env,
  });
}, INSTALL_TIMEOUT_MS);

afterAll(() => folder.remove());

describe('tutorial - the packed command', () => {
  test('tells its version, under both names', async () => {
    const { version } = JSON.parse(await readFile(join(APPS, '../packages/cli/package.json'), 'utf8')) as {
      version: string;
    };
    const options = { cwd: folder.path, env: terminal(bin) };
    expect(await succeed('iii --version', options)).toBe(`${version}\n`);
    expect(await succeed('trine --version', options)).toBe(`${version}\n`);
  });

  test('names the command that mends a missing native part, and that command mends it', async () => {
    const project = join(folder.path, 'unmended');
    await mkdir(project);
    await writeFile(
      join(project, 'config.yaml'),
      'workers:\n  - name: iii-worker-manager\n    config:\n      port: 0\n',
    );
    const { code, stdout, stderr } = await shell('iii', { cwd: project, env: terminal(bin) });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^Error: the native part of better-sqlite3 is missing .+\nMend it with: npm rebuild -g /);
    expect(stderr).not.toMatch(STACK_TRACE_LINE);
    const mend = /^Mend it with: (.+)$/m.exec(stderr)?.[1] ?? '';
    await succeed(mend, { cwd: project, env: terminal(bin, nativePart) });
    const engine = EngineProcess.spawn({ cwd: project, program: join(bin, 'iii') });
    await waitFor(() => engine.output.includes('Engine listening'), { what: 'the mended engine' }).finally(() =>
      engine.stop(),
    );
  });

  test('its packages install together into an empty folder, where the engine embeds', async () => {
    const own = join(folder.path, 'embedding');
    await mkdir(own);
    const options = { cwd: own, env: terminal(bin, nativePart) };
    await succeed(`npm install --ignore-scripts ${tarballs}`, options);
    await succeed('npm rebuild better-sqlite3 --ignore-scripts=false', options);
    const example = docExamples().find(({ page, name }) => page === 'README.md' && name === 'embedding');
    await writeFile(join(own, 'example.mts'), example?.code ?? '');
    expect(await shell(`node --import ${import.meta.resolve('tsx')} example.mts`, options)).toEqual({
      code: 0,
      stdout: example?.output,
      stderr: '',
    });
  });
});

describe('tutorial - by hand', () => {
  let project: string;
  let engine: EngineProcess | undefined;
  let url: string;
  let http: string;

  const inProject = (text: string): Promise<string> =>
    succeed(text, { cwd: project, env: terminal(bin, { III_URL: url }) });
  const trigger = async <T>(words: string): Promise<T> => JSON.parse(await inProject(`iii trigger ${words}`)) as T;
  const send = (path: string, body: unknown, method = 'POST'): Promise<Response> =>
    fetch(http + path, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  const follow = (code: string): Promise<Response> => fetch(`${http}/s/${code}`, { redirect: 'manual' });
  const clicks = async (code: string): Promise<number> => {
    type Counted = { rows: { n: number }[] };
    const { rows } = await trigger<Counted>(
      `database::query db=primary sql="SELECT COUNT(*) AS n FROM clicks WHERE code = '${code}'"`,
    );
    return rows[0]?.n ?? 0;
  };

  /** An edit of a file, as an editor saves it. @throws Error when the place for it is not there */
  async function edit(file: string, place: string, text: string): Promise<void> {
    const before = await readFile(join(project, file), 'utf8');
    if (!before.includes(place)) throw new Error(`${file} has no place for the edit:\n${before}`);
    await writeFile(join(project, file), before.replace(place, text));
  }

  const starts = (): number => (engine?.output ?? '').split('link worker ready').length - 1;

  /** Saves src/index.ts and waits until the link worker has come back with it. */
  async function editLink(...made: EditName[]): Promise<void> {
    const before = starts();
    await writeFile(join(project, 'link/src/index.ts'), linkSource(...made));
    await waitFor(() => starts() > before, { timeoutMs: RELOAD_TIMEOUT_MS, what: 'the link worker to start anew' });
    await waitFor(async () => (await follow('none')).status === 404, { what: 'its routes' });
  }

  const done = (what: RegExp): Promise<unknown> =>
    waitFor(() => what.test(engine?.output ?? ''), { timeoutMs: RELOAD_TIMEOUT_MS, what: String(what) });

  afterAll(() => engine?.kill());

  test(
    'an empty folder becomes a project with a link worker, on a running engine',
    { timeout: INSTALL_TIMEOUT_MS },
    async () => {
      await succeed('iii project init linkly', { cwd: folder.path, env: terminal(bin) });
      project = join(folder.path, 'linkly');
      // Ports of the test's own; the tutorial's reader has the usual ones free.
      const [port, httpPort] = [await freePort(), await freePort()];
      http = `http://127.0.0.1:${httpPort}`;
      await edit(
        'config.yaml',
        'workers:\n',
        `workers:\n  - name: iii-worker-manager\n    config:\n      port: ${port}\n`,
      );
      await edit('config.yaml', 'workers:\n', `workers:\n  - name: iii-http\n    config:\n      port: ${httpPort}\n`);
      engine = await EngineProcess.start({ cwd: project, port, program: join(bin, 'iii'), inOwnGroup: true });
      url = `ws://localhost:${port}`;

      await inProject('iii worker add iii-http iii-state database');
      await inProject('iii worker init link --language typescript');
      await writeFile(join(project, 'link/src/index.ts'), linkSource());
      await inProject('iii worker add ./link');
      const config = await readFile(join(project, 'config.yaml'), 'utf8');
      expect(config).toContain('  - name: link\n    worker_path: ./link\n');
      expect(config).toMatch(/^# iii engine configuration$/m);

      await waitFor(async () => (await send('/links', { url: 'iii.dev/0', code: 'link0' })).status === 201, {
        timeoutMs: RELOAD_TIMEOUT_MS,
        what: 'the link worker',
      });
      expect((await follow('link0')).headers.get('location')).toBe('https://iii.dev/0');
      expect(await clicks('link0')).toBe(1);
    },
  );

  test('redirects become fast with a queue that is added live', async () => {
    await inProject('iii worker add iii-pubsub');
    const queue =
      'queue_configs:\n        clicks:\n          type: standard\n          max_retries: 5\n          concurrency: 5\n';
    await edit('config.yaml', '  - name: iii-queue\n    config:\n', `  - name: iii-queue\n    config:\n      ${queue}`);
    await waitFor(async () => JSON.stringify(await trigger('engine::queue::list_topics')).includes('"clicks"'), {
      what: 'the queue',
    });
    await editLink('import TriggerAction', 'enqueue the click');
    expect((await follow('link0')).status).toBe(302);
    await waitFor(async () => (await clicks('link0')) === 2, { what: 'the click' });
  });

  test('links can change, and the cache hears of it', async () => {
    await editLink('import TriggerAction', 'enqueue the click', 'publish link.created');
    await editLink(
      'import TriggerAction',
      'enqueue the click',
      'publish link.created',
      'update links',
      'refresh the cache',
    );
    expect(await readFile(join(project, 'link/src/index.ts'), 'utf8')).toBe(
      await readFile(join(APPS, 'link/src/index.ts'), 'utf8'),
    );
    const changed = await waitFor(async () => {
      const answer = await send('/links/link0', { url: 'iii.dev/docs' }, 'PUT');
      return answer.status === 200 ? answer : undefined;
    });
    expect(await changed.json()).toEqual({ code: 'link0', url: 'https://iii.dev/docs' });
    await waitFor(async () => (await follow('link0')).headers.get('location') === 'https://iii.dev/docs', {
      what: 'the changed target',
    });
  });

  test('a Python worker joins', { timeout: INSTALL_TIMEOUT_MS }, async () => {
    await inProject('iii worker init analytics --language python');
    await writeFile(join(project, 'analytics/main.py'), await readFile(join(APPS, 'analytics/main.py'), 'utf8'));
    const manifest = await readFile(join(project, 'analytics/iii.worker.yaml'), 'utf8');
    expect(manifest).not.toContain('scripts:');
    const scripts = `scripts:\n  install: "pip install ."\n  start: "watchfiles 'python main.py'"\n`;
    await writeFile(join(project, 'analytics/iii.worker.yaml'), manifest + scripts);
    await edit(
      'config.yaml',
      '        primary:\n',
      '        analytics:\n          url: sqlite:./data/analytics.db\n        primary:\n',
    );
    await waitFor(async () => JSON.stringify(await trigger('database::listDatabases')).includes('"analytics"'), {
      what: 'the second database',
    });
    await inProject('iii worker add ./analytics');
    await done(/Analytics worker started/);
  });

  test('see it work', async () => {
    await waitFor(
      async () => {
        type Listed = { registered_triggers: { function_id: string; status: string }[] };
        const { registered_triggers: triggers } = await trigger<Listed>('engine::registered-triggers::list');
        return triggers.some((row) => row.function_id === 'analytics::on_link_created' && row.status === 'active');
      },
      { what: 'the subscription' },
    );
    const today = (): string => new Date().toISOString().slice(0, 10);
    const before = today();
    for (let n = 1; n <= 5; n++) {
      expect((await send('/links', { url: `https://iii.dev/${n}`, code: `link${n}` })).status).toBe(201);
    }
    type Counts = { rows: { day: string; count: number }[]; row_count: number };
    const counts = await waitFor(async () => {
      const answer = await trigger<Counts>(
        'database::query db=analytics sql="SELECT day, count FROM daily_link_counts"',
      );
      return answer.rows.reduce((sum, row) => sum + row.count, 0) >= 5 ? answer : undefined;
    });
    // At midnight in UTC the five may fall into two days.
    if (before === today()) expect(counts).toMatchObject({ rows: [{ day: before, count: 5 }], row_count: 1 });
    for (let i = 0; i < 4; i++) expect((await follow('link1')).status).toBe(302);
    await waitFor(async () => (await clicks('link1')) === 4, { what: 'the clicks' });
  });

  test('nothing was warned of on the way, and Ctrl-C ends it', async () => {
    expect(engine?.output).not.toMatch(/deprecated|\[(WARN|ERROR)\]/i);
    expect(engine?.output).not.toMatch(STACK_TRACE_LINE);
    expect(await engine?.interrupt()).toEqual({ code: 0, signal: null });
    const { stdout } = await shell('ps -eo args', { cwd: folder.path, env: process.env });
    expect(stdout.split('\n').filter((line) => line.includes(project))).toEqual([]);
  });
});
