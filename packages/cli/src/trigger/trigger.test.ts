import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createEngine, type Engine } from '@trine/engine';
import { tempFolder, waitFor, type TempFolder } from '@trine/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run, start, type RunOptions } from '../testing/run-command.js';

let folder: TempFolder;
let engine: Engine;
beforeAll(async () => {
  folder = await tempFolder();
  const state = { adapter: { name: 'kv', config: { store_method: 'in_memory' } } };
  engine = await createEngine({
    cwd: folder.path,
    config: {
      workers: [
        { name: 'iii-worker-manager', config: { port: 0 } },
        { name: 'iii-state', config: state },
      ],
    },
  });
  await engine.start();
  const worker = engine.worker('test');
  worker.registerFunction('test::echo', (input: unknown) => Promise.resolve(input));
  worker.registerFunction('test::typed', (input: unknown) => Promise.resolve(input), {
    description: 'Echoes',
    request_format: {
      type: 'object',
      properties: { code: { type: 'string', description: 'the code' }, n: { type: 'number' } },
      required: ['code'],
    },
  });
  worker.registerFunction('test::nothing', () => Promise.resolve(undefined));
  worker.registerFunction('test::fail', () => Promise.reject(new Error('on purpose')));
  worker.registerFunction('test::never', () => new Promise(() => undefined));
});
afterAll(async () => {
  await engine.stop();
  await folder.remove();
});

const iii = (words: string[], options: Partial<RunOptions> = {}) =>
  run(words, { cwd: folder.path, ...options, env: { III_URL: engine.url, ...options.env } });
const port = (): string => String(new URL(engine.url).port);

describe('a result', () => {
  test('is pretty JSON with sorted keys', async () => {
    const { exitCode, stdout, stderr } = await iii([
      'trigger',
      'test::echo',
      'url=https://iii.dev',
      'code=iii',
      '--json',
      '{"n":[]}',
    ]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toMatch(
      /^\{\n {2}"_caller_worker_id": "[^"]+",\n {2}"code": "iii",\n {2}"n": \[\],\n {2}"url": "https:\/\/iii.dev"\n\}\n$/,
    );
  });

  test('keeps numbers as they were sent, both ways', async () => {
    await iii(['t', 'state::set', 'scope=s', 'key=k', 'value={"b":1.0,"a":12345678901234567890}']);
    expect((await iii(['t', 'state::get', 'scope=s', 'key=k'])).stdout).toBe(
      '{\n  "a": 12345678901234567890,\n  "b": 1.0\n}\n',
    );
  });

  test('of null prints nothing, unless asked to', async () => {
    expect(await iii(['trigger', 'test::nothing'])).toMatchObject({ exitCode: 0, stdout: '', stderr: '' });
    expect((await iii(['trigger', 'test::nothing', '--print-null'])).stdout).toBe('null\n');
  });

  test('comes fast: connecting, calling and leaving take less than the start of two Node processes', async () => {
    const durations: number[] = [];
    for (let i = 0; i < 3; i++) durations.push((await iii(['trigger', 'test::nothing'])).durationMs);
    expect(Math.min(...durations)).toBeLessThan(1_500);
  });

  test('leaves no worker behind', async () => {
    await iii(['trigger', 'test::nothing']);
    await waitFor(async () => {
      const { workers } = await engine
        .worker('test')
        .trigger<unknown, { workers: { name: string }[] }>({ function_id: 'engine::workers::list', payload: {} });
      return workers.every((worker) => !worker.name.startsWith('iii-cli'));
    });
  });

  test('may be read only in part', async () => {
    const { process: child, finished } = start(['trigger', 'engine::functions::list'], {
      cwd: folder.path,
      env: { III_URL: engine.url },
    });
    child.stdout?.destroy();
    expect(await finished).toMatchObject({ exitCode: 0, stderr: '' });
  });
});

describe('the payload', () => {
  test.each([
    ['stdin', ['--json', '-'], { input: '{"n":1}' }],
    ['the spelling of old clients', ['--payload', '{"n":1}'], {}],
    ['a file', ['--json', '@payload.json'], {}],
  ])('comes from %s', async (_, words, options) => {
    await writeFile(join(folder.path, 'payload.json'), '{"n":1}\n');
    const { stdout } = await iii(['trigger', 'test::echo', ...words], options);
    expect(JSON.parse(stdout)).toMatchObject({ n: 1 });
  });

  test('goes to the function that --function-id names', async () => {
    const { stdout } = await iii(['trigger', '--function-id', 'test::echo', '--payload', '{"a":1}', 'b=2']);
    expect(JSON.parse(stdout)).toMatchObject({ a: 1, b: 2 });
  });

  test('keeps digits as text where the schema of the function says string', async () => {
    expect(JSON.parse((await iii(['trigger', 'test::typed', 'code=123', 'n=5'])).stdout)).toMatchObject({
      code: '123',
      n: 5,
    });
    expect(JSON.parse((await iii(['trigger', 'test::echo', 'code=123'])).stdout)).toMatchObject({ code: 123 });
  });

  test.each([
    [['tok'], 'Error: expected key=value, got `tok`\n'],
    [['--json', '[1]', 'a=1'], 'Error: --json must be an object when combined with kv pairs\n'],
    [['--json', '@absent.json'], 'Error: --json: there is no file absent.json\n'],
    [['--json', '@.'], 'Error: --json: cannot read .: '],
  ])('%j is refused before anything is called', async (words, message) => {
    const { exitCode, stdout, stderr } = await iii(['trigger', 'test::echo', ...words]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr.startsWith(message)).toBe(true);
  });
});

test.each([
  [['--address', ''], "error: invalid value '' for '--address <HOST>': give a host name or an IP address\n"],
  [['--address', 'a b'], "error: invalid value 'a b' for '--address <HOST>': give a host name or an IP address\n"],
  [['--address', 'host:1'], "error: invalid value 'host:1' for '--address <HOST>': give the port with --port\n"],
  [
    ['--timeout-ms', '0'],
    "error: invalid value '0' for '--timeout-ms <MS>': give a whole number of milliseconds from 1 to 2147483647\n",
  ],
])('%j is typed wrongly', async (words, stderr) => {
  expect(await iii(['trigger', 'test::echo', ...words])).toMatchObject({ exitCode: 2, stdout: '', stderr });
});

describe('an error', () => {
  test('of the function is JSON on stderr', async () => {
    const { exitCode, stdout, stderr } = await iii(['trigger', 'test::fail']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(JSON.parse(stderr.replace(/^Error: /, ''))).toMatchObject({
      code: 'invocation_failed',
      message: 'on purpose',
      stacktrace: null,
    });
  });

  test('names a function that is not there', async () => {
    const { exitCode, stderr } = await iii(['trigger', 'math::add', 'a=2', 'b=3']);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('"code": "function_not_found"');
    expect(stderr).toContain('"message": "Function math::add not found"');
  });

  test('of time says that time is up', async () => {
    const { exitCode, stderr } = await iii(['trigger', 'test::never', '--timeout-ms', '200']);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr:
        'Error: Timed out waiting for the engine (no response within the timeout). Is the engine running at the given address and port?\n',
    });
  });

  test('of a refused connection comes at once and names the address', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const dead = (server.address() as AddressInfo).port;
    server.close();
    await once(server, 'close');
    const { exitCode, stderr, durationMs } = await iii(['trigger', 'test::echo', '--port', String(dead)]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`cannot reach an iii engine at ws://localhost:${dead}: connection refused.`);
    expect(durationMs).toBeLessThan(5_000);
  });

  test('of something else that listens there says so', async () => {
    const server = createServer((socket) => socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')).listen(
      0,
      '127.0.0.1',
    );
    await once(server, 'listening');
    const { exitCode, stderr } = await iii([
      'trigger',
      'x',
      '--address',
      '127.0.0.1',
      '--port',
      String((server.address() as AddressInfo).port),
    ]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('what answers there is no worker port of an iii engine (HTTP 404).');
    server.close();
  });

  test('of an engine that goes away while it is asked is told at once', async () => {
    const other = await createEngine({
      cwd: folder.path,
      dataDir: 'other',
      config: { workers: [{ name: 'iii-worker-manager', config: { port: 0 } }] },
    });
    await other.start();
    let called = false;
    other.worker('test').registerFunction('test::never', () => {
      called = true;
      return new Promise(() => undefined);
    });
    const command = start(['trigger', 'test::never'], { cwd: folder.path, env: { III_URL: other.url } });
    await waitFor(() => called);
    await other.stop({ drainMs: 0 });
    const { exitCode, stderr } = await command.finished;
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^Error: (WebSocket error: the engine closed the connection \(code 1012|\{)/);
  });
});

test('the address on the command line wins over III_URL', async () => {
  const { exitCode } = await iii(['trigger', 'test::nothing', '--address', '127.0.0.1', '--port', port()], {
    env: { III_URL: 'ws://127.0.0.1:1' },
  });
  expect(exitCode).toBe(0);
});

describe('without an address on the command line', () => {
  test("the engine of the folder's config.yaml is called, not whichever has the usual port", async () => {
    const project = await tempFolder();
    const manager = `  - name: iii-worker-manager\n    config:\n      port: \${TRINE_TEST_PORT:${port()}}\n`;
    await writeFile(join(project.path, 'config.yaml'), `workers:\n${manager}`);
    expect(await run(['trigger', 'test::nothing', '--print-null'], { cwd: project.path })).toMatchObject({
      exitCode: 0,
      stdout: 'null\n',
    });
    const env = { TRINE_TEST_PORT: '1' };
    const { stderr } = await run(['trigger', 'test::nothing'], { cwd: project.path, env });
    expect(stderr).toContain('cannot reach an iii engine at ws://localhost:1: connection refused');
    expect(await run(['trigger', 'test::nothing', '--port', port()], { cwd: project.path, env })).toMatchObject({
      exitCode: 0,
    });
    expect((await run(['trigger', 'test::typed', '--help'], { cwd: project.path })).stdout).toContain('Echoes');
    await project.remove();
  });
});

describe('--help', () => {
  test('without a function needs no engine', async () => {
    const { exitCode, stdout } = await iii(['trigger', '--help'], { env: { III_URL: 'ws://127.0.0.1:1' } });
    expect(exitCode).toBe(0);
    // Either option alone stands for a whole address: what III_URL and config.yaml say counts only without both.
    expect(stdout).toMatch(/--address <HOST> +.*\[default: localhost\]\n +--port <PORT> +.*\[default: 49134\]\n/);
    expect(stdout).toContain('Without --address and --port: III_URL, else the worker port of config.yaml here.');
    expect(stdout).toContain(
      "Tip: `iii trigger <fn-path> --help` queries a running engine for the function's description and request schema.",
    );
  });

  test('of a function shows its parameters', async () => {
    const { exitCode, stdout } = await iii(['trigger', 'test::typed', '--help']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(
      "iii trigger test::typed\n\nEchoes\n\nUsage: iii trigger test::typed [key=value ...] [--json '<obj>']\n\nParameters:\n",
    );
    expect(stdout).toMatch(/ {2}code +string +yes +the code\n {2}n +number +no\n/);
    expect((await iii(['trigger', 'test::echo', '-h'])).stdout).toContain('(no request schema published)');
  });

  test('of an unknown function says how to list them', async () => {
    expect(await iii(['trigger', 'nope::x', '--help'])).toMatchObject({
      exitCode: 1,
      stdout: '',
      stderr:
        'error: function `nope::x` not found in engine registry.\n  hint: run `iii trigger engine::functions::list` to see registered functions.\n',
    });
  });

  test('without an engine falls back to the static text', async () => {
    const { exitCode, stdout, stderr } = await iii(['trigger', 'test::typed', '--help'], {
      env: { III_URL: 'ws://127.0.0.1:1' },
    });
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/^warning: could not query engine for `test::typed`: .+\nShowing static CLI help only\.\n/);
    expect(stdout).toContain('Usage: iii trigger');
  });
});
