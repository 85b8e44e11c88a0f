import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TrineError } from '@trine/protocol';
import { FakeClock, tempFolder, waitFor } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemRandom } from '../core/random.js';
import { Emitter } from '../core/emitter.js';
import type { Log, LogFields } from '../core/log.js';
import type {
  FunctionDefinition,
  HandlerContext,
  RegistryView,
  RunningWorker,
  WorkerHost,
} from '../core/worker-host.js';
import { groupWorks } from './process-group.js';
import { READY_TIMEOUT_MS } from './wait-ready.js';
import { supervisorWorker, type ProjectEvent, type SupervisedEntry, type SupervisedProject } from './index.js';

type SessionEvent = Parameters<Parameters<RegistryView['onWorker']>[0]>[0];
type Row = Readonly<Record<string, unknown>>;

/** The supervisor with a project and a registry that the test moves by hand. The processes are real. */
class Bench {
  readonly clock = new FakeClock();
  readonly sessions = new Emitter<SessionEvent>();
  readonly changes = new Emitter<ProjectEvent>();
  readonly logged: { readonly message: string; readonly fields: LogFields }[] = [];
  entries: SupervisedEntry[] = [];
  port = 4711;
  readonly #functions = new Map<string, FunctionDefinition>();
  #running: RunningWorker | undefined;

  constructor(readonly dir: string) {}

  async start(): Promise<void> {
    const unused = (): never => {
      throw new Error('the supervisor does not need this');
    };
    const log = this.#log();
    const host: WorkerHost = {
      entryName: 'iii-worker-ops',
      log,
      clock: this.clock,
      random: systemRandom,
      storage: { open: unused, health: unused },
      registry: { hasFunction: unused, onFunction: unused, onWorker: (listener) => this.sessions.on(listener) },
      channels: {
        create: unused,
        open: unused,
        get ended(): never {
          return unused();
        },
      },
      projectDir: this.dir,
      dataDir: join(this.dir, 'data'),
      registerFunction: (definition) => {
        this.#functions.set(definition.id, definition);
        return { remove: () => undefined };
      },
      registerTriggerType: unused,
      registerTrigger: unused,
      serveHttpFunctions: unused,
      activateTrigger: unused,
      invoke: unused,
      condition: unused,
      reportHealth: unused,
      reportPort: unused,
    };
    this.#running = await supervisorWorker(this.#project()).start(host, {});
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
  }

  /** Calls `worker::<name>` as the router would. */
  async call(name: string, input: unknown): Promise<Row> {
    const definition = this.#functions.get(`worker::${name}`);
    if (definition === undefined) throw new Error(`worker::${name} is not served`);
    const parsed = definition.request?.parse(input);
    return (await definition.handler(parsed, {} as HandlerContext)) as Row;
  }

  /** A folder with these files, and an entry for it. */
  async add(name: string, files: Readonly<Record<string, string>>, rawConfig?: unknown): Promise<void> {
    await this.files(name, files);
    this.entries = [...this.entries, { name, canonical: undefined, rawConfig, workerPath: join(this.dir, name) }];
    this.changes.emit({ kind: 'applied' });
  }

  async files(name: string, files: Readonly<Record<string, string>>): Promise<void> {
    for (const [file, text] of Object.entries(files)) {
      await mkdir(dirname(join(this.dir, name, file)), { recursive: true });
      await writeFile(join(this.dir, name, file), text);
    }
  }

  async state(name: string): Promise<unknown> {
    return (await this.call('status', { name }))['status'];
  }

  async until(name: string, state: string): Promise<Row> {
    await waitFor(async () => (await this.state(name)) === state, { what: `${name} to be ${state}` });
    return this.call('status', { name });
  }

  async lines(name: string, stream: 'stdout' | 'stderr' = 'stdout'): Promise<string[]> {
    const lines = (await this.call('logs', { name, tail: 1000 }).catch(() => ({ [stream]: [] })))[stream] as string[];
    return lines.filter((line) => !line.startsWith('--- '));
  }

  /** Waits for the worker's nth line. */
  async line(name: string, index = 0): Promise<string> {
    return waitFor(async () => (await this.lines(name))[index], { what: `line ${index} of ${name}` });
  }

  messages(text: string): LogFields[] {
    return this.logged.filter(({ message }) => message.includes(text)).map(({ fields }) => fields);
  }

  #log(): Log {
    const write = (message: string, fields: LogFields = {}): void => void this.logged.push({ message, fields });
    const log: Log = { trace: write, debug: write, info: write, warn: write, error: write, for: () => log };
    return log;
  }

  #project(): SupervisedProject {
    return {
      configPath: join(this.dir, 'config.yaml'),
      catalog: {
        find: (name) =>
          ['iii-pubsub', 'pubsub'].includes(name)
            ? { name: 'pubsub', defaultBlock: { adapter: { name: 'local' } } }
            : undefined,
        notBuilt: (name) => (name === 'iii-cron' ? "'iii-cron' is not in this version" : undefined),
        names: () => ['iii-pubsub', 'pubsub'],
      },
      port: () => this.port,
      url: () => `ws://localhost:${this.port}`,
      entries: () => this.entries,
      onChange: (listener) => this.changes.on(listener),
      edit: async (change) => {
        let next = this.entries;
        change({
          hasWorker: (name) => next.some((entry) => entry.name === name),
          addWorker: ({ name, config, workerPath }) => {
            next = [
              ...next,
              { name, canonical: name === 'iii-pubsub' ? 'pubsub' : undefined, rawConfig: config, workerPath },
            ];
          },
          removeWorker: (name) => {
            next = next.filter((entry) => entry.name !== name);
          },
        });
        // As the file watcher does it: the edit is in force some time after it was written.
        setTimeout(() => {
          this.entries = next;
          this.changes.emit({ kind: 'applied' });
        }, 20);
        return { takeBack: () => Promise.resolve(false) };
      },
    };
  }
}

/** Prints what it got and its pid, and lives on. */
const SERVER = `
console.log([process.env.III_WORKER_NAME, process.env.III_URL, process.env.GREETING].join(' '));
console.log('pid ' + process.pid);
setInterval(() => {}, 1000);
`;
const server = (start = 'node server.mjs'): Record<string, string> => ({
  'iii.worker.yaml': `name: w\nscripts: { start: "${start}" }\n`,
  'server.mjs': SERVER,
});

let folder: Awaited<ReturnType<typeof tempFolder>>;
let bench: Bench;
beforeEach(async () => {
  folder = await tempFolder();
  bench = new Bench(folder.path);
  await bench.start();
});
afterEach(async () => {
  await bench.stop();
  await folder.remove();
});

async function pidOf(name: string, line = 1): Promise<number> {
  return Number((await bench.line(name, line)).replace('pid ', ''));
}

/** Lets a session of that worker appear, as its SDK would make one. */
function connect(session: Partial<SessionEvent>): void {
  bench.sessions.emit({ kind: 'updated', workerId: 'session-1', name: undefined, pid: undefined, ...session });
}

describe('a local worker', () => {
  it('is started with its environment, and told apart from the log of others', async () => {
    await bench.add('w', server(), { greeting: 'hi' });
    expect(await bench.line('w')).toBe('w ws://localhost:4711 hi');
    expect(bench.messages('w ws://localhost:4711 hi')).toHaveLength(1);
    expect(bench.messages('worker started')).toMatchObject([{ worker: 'w', command: 'node server.mjs' }]);
  });

  it('is ready when a session tells its name, and starting again when that session is gone', async () => {
    await bench.add('w', server());
    await bench.until('w', 'starting');
    connect({ name: 'someone else', pid: process.pid });
    connect({ workerId: 'session-2', name: 'w' });
    await bench.until('w', 'running');
    connect({ kind: 'disconnected', workerId: 'session-2' });
    expect(await bench.state('w')).toBe('starting');
  });

  it('is ready when a session tells a pid of its process group', async () => {
    await bench.add('w', {
      ...server('npm run --silent serve'),
      'package.json': '{"scripts":{"serve":"node server.mjs"}}',
    });
    const status = await bench.until('w', 'starting');
    const pid = await pidOf('w');
    expect(pid).not.toBe(status['pid']);
    connect({ name: `host:${pid}`, pid });
    expect(await bench.until('w', 'running')).toMatchObject({ running: true, worker_type: 'local', hint: null });
  });

  it('is stopped with its whole group, and stays so over reloads until it is started', async () => {
    await bench.add('w', server());
    const pid = await pidOf('w');
    const group = (await bench.call('status', { name: 'w' }))['pid'] as number;
    expect(await bench.call('stop', { name: 'w' })).toEqual({ name: 'w', stopped: true, was_running: true });
    expect(await groupWorks(group)).toBe(false);
    await expect(access(join(folder.path, '.iii/pids/w.json'))).rejects.toThrow();

    await bench.add('other', server());
    await bench.line('other', 1);
    expect(await bench.state('w')).toBe('stopped');
    expect(await bench.call('stop', { name: 'w' })).toMatchObject({ was_running: false });

    await bench.call('start', { name: 'w', wait: false });
    expect(await pidOf('w', 3)).not.toBe(pid);
  });

  it('runs again when its entry was removed and added after a stop by hand', async () => {
    await bench.add('w', server());
    await bench.line('w', 1);
    await bench.call('stop', { name: 'w' });
    const entry = bench.entries;
    bench.entries = [];
    bench.changes.emit({ kind: 'applied' });
    bench.entries = entry;
    bench.changes.emit({ kind: 'applied' });
    await bench.line('w', 3);
  });

  it('is stopped when its entry goes, and when the engine stops', async () => {
    await bench.add('w', server());
    await bench.add('v', server());
    await Promise.all([bench.line('w', 1), bench.line('v', 1)]);
    const [w, v] = [
      (await bench.call('status', { name: 'w' }))['pid'] as number,
      (await bench.call('status', { name: 'v' }))['pid'] as number,
    ];
    bench.entries = bench.entries.filter((entry) => entry.name === 'v');
    bench.changes.emit({ kind: 'applied' });
    await waitFor(async () => !(await groupWorks(w)));
    expect(await groupWorks(v)).toBe(true);
    await bench.stop();
    expect(await groupWorks(v)).toBe(false);
    expect(bench.clock.pending).toBe(0);
  });

  it('restarts when the worker port of the engine moves: whatever it starts anew would call the old one', async () => {
    await bench.add('w', server());
    expect(await bench.line('w')).toContain('ws://localhost:4711');
    await bench.line('w', 1); // or it is ended between its two lines
    bench.port = 4712;
    bench.changes.emit({ kind: 'applied' });
    expect(await bench.line('w', 2)).toContain('ws://localhost:4712');
  });

  it('restarts when its configuration changes, and not when it does not', async () => {
    await bench.add('w', server(), { greeting: 'hi' });
    await bench.line('w', 1);
    bench.changes.emit({ kind: 'applied' });
    bench.entries = bench.entries.map((entry) => ({ ...entry, rawConfig: { greeting: 'hello' } }));
    bench.changes.emit({ kind: 'applied' });
    expect(await bench.line('w', 2)).toBe('w ws://localhost:4711 hello');
    expect(bench.messages('restarting worker')).toHaveLength(1);
  });
});

describe('a local worker that ends by itself', () => {
  const CRASHER = { 'iii.worker.yaml': 'name: w\nscripts: { start: "echo up; exit 7" }\n' };

  it('is started again after 1 s, 2 s, 4 s, ... 30 s, and status tells of the loop', async () => {
    await bench.add('w', CRASHER);
    const delays: number[] = [];
    for (let end = 1; end <= 7; end++) {
      await waitFor(
        async () =>
          (await bench.call('status', { name: 'w' }))['exits_in_row'] === end && bench.clock.nextInMs !== undefined,
      );
      delays.push(bench.clock.nextInMs ?? 0);
      if (end === 3) {
        const { hint, status, running } = await bench.call('status', { name: 'w' });
        expect({ status, running }).toEqual({ status: 'backing-off', running: false });
        expect(hint).toBe(
          'w is in a crash loop: it ended 3 times in a row, the last time with exit code 7; see: iii worker logs w; next start in 4 s',
        );
      }
      await bench.clock.advance(delays.at(-1) ?? 0);
    }
    expect(delays).toEqual([1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    expect(bench.messages('crash loop')).toHaveLength(1);
  });

  it('begins with 1 s anew once it was up for a minute', async () => {
    await bench.add('w', {
      'iii.worker.yaml': 'name: w\nscripts: { start: "node w.mjs" }\n',
      'w.mjs': `${SERVER}; process.on('SIGUSR2', () => process.exit(1));`,
    });
    const uptimes = [0, 0, 60_000];
    const delays: number[] = [];
    for (const [index, uptime] of uptimes.entries()) {
      const pid = await pidOf('w', index * 2 + 1);
      await bench.until('w', 'starting');
      await bench.clock.advance(uptime);
      process.kill(pid, 'SIGUSR2');
      await bench.until('w', 'backing-off');
      delays.push(await waitFor(() => bench.clock.nextInMs));
      await bench.clock.advance(delays.at(-1) ?? 0);
    }
    expect(delays).toEqual([1000, 2000, 1000]);
  });

  it('starts at once when it is told to, or mended', async () => {
    await bench.add('w', CRASHER);
    await bench.until('w', 'backing-off');
    await bench.call('start', { name: 'w', wait: false });
    await bench.line('w', 1);
    await bench.until('w', 'backing-off');
    await bench.files('w', server());
    await waitFor(async () => (await bench.lines('w')).some((line) => line.startsWith('pid ')));
  });
});

describe('installing a local worker', () => {
  const INSTALLED = {
    'iii.worker.yaml': 'name: w\nscripts: { install: "echo installing; touch installed", start: "node server.mjs" }\n',
    'server.mjs': SERVER,
  };

  it('happens once, and again when a dependency file changes', async () => {
    await bench.add('w', { ...INSTALLED, 'go.mod': 'module a\n' });
    await bench.line('w', 2);
    await bench.call('stop', { name: 'w' });
    await bench.call('start', { name: 'w', wait: false });
    await bench.line('w', 4);
    expect((await bench.lines('w')).filter((line) => line === 'installing')).toHaveLength(1);
    await bench.files('w', { 'go.mod': 'module b\n' });
    await waitFor(async () => (await bench.lines('w')).filter((line) => line === 'installing').length === 2);
    await bench.line('w', 7);
    expect(bench.messages('restarting worker')).toMatchObject([{ reason: 'its manifest or dependency files changed' }]);
  });

  it('leaves the others running when it fails, names worker, command and output, and is tried again once mended', async () => {
    await bench.add('v', server());
    await bench.add('w', {
      'iii.worker.yaml':
        'name: w\nscripts: { install: "echo no such package >&2; exit 4", start: "node server.mjs" }\n',
    });
    const status = await bench.until('w', 'failed');
    expect(status['hint']).toBe(
      'install failed: `echo no such package >&2; exit 4` ended with exit code 4\nno such package',
    );
    expect(bench.messages('could not be installed')).toMatchObject([
      {
        worker: 'w',
        command: 'echo no such package >&2; exit 4',
        output: 'no such package',
        next: 'correct it and save, or run: iii worker start w',
      },
    ]);
    await bench.line('v', 1);
    expect(await bench.state('v')).toBe('starting');
    await bench.files('w', INSTALLED);
    await bench.line('w', 2);
  });

  it('fails with every fault of a wrong manifest', async () => {
    await bench.add('w', { 'iii.worker.yaml': 'name: w\nscript: { start: x }\n' });
    expect((await bench.until('w', 'failed'))['hint']).toContain('unknown key(s)');
  });

  it('can be stopped while it runs', async () => {
    await bench.add('w', {
      'iii.worker.yaml': 'name: w\nscripts: { install: "echo installing; sleep 60", start: "true" }\n',
    });
    await bench.line('w');
    await bench.call('stop', { name: 'w' });
    expect(await bench.state('w')).toBe('stopped');
  });

  it('says that Python is not there', async () => {
    const path = process.env['PATH'];
    await bench.files('bin', {});
    process.env['PATH'] = join(folder.path, 'bin');
    try {
      await bench.add('w', {
        'iii.worker.yaml': 'name: w\nruntime: { kind: python }\n',
        'pyproject.toml': '',
        'main.py': '',
      });
      const status = await bench.until('w', 'failed');
      expect(status['hint']).toMatch(
        /`python3 -m venv --clear \.venv` ended with exit code 127\n.*python3.*not found\ninstall Python 3 with its venv module/s,
      );
    } finally {
      process.env['PATH'] = path;
    }
  });
});

describe('edits of a local worker', () => {
  it('restart it when its start script does not watch', async () => {
    await bench.add('w', server());
    await bench.line('w', 1);
    await bench.files('w', { 'server.mjs': `${SERVER}\n// edited` });
    await bench.line('w', 3);
    expect(bench.messages('restarting worker')).toMatchObject([{ reason: 'its sources changed' }]);
  });

  it('are left to a start script that watches', async () => {
    await bench.add('w', server('node --watch server.mjs'));
    await bench.line('w', 1);
    const { pid } = await bench.call('status', { name: 'w' });
    await bench.files('w', { 'server.mjs': `${SERVER}\n// edited` });
    await waitFor(async () => (await bench.lines('w')).filter((line) => line.startsWith('pid ')).length === 2);
    expect(bench.messages('restarting worker')).toEqual([]);
    expect((await bench.call('status', { name: 'w' }))['pid']).toBe(pid);
  });
});

describe('worker::*', () => {
  const codeOf = async (name: string, input: unknown): Promise<unknown> => {
    const error: unknown = await bench.call(name, input).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof TrineError)) throw new Error(`worker::${name} did not refuse`);
    const body = JSON.parse(error.message) as Row;
    expect(body).toMatchObject({ type: 'WorkerOpError', code: error.code });
    return [error.code, body['message']];
  };

  it('lists built-ins and local workers', async () => {
    bench.entries = [{ name: 'iii-pubsub', canonical: 'pubsub', rawConfig: undefined, workerPath: undefined }];
    await bench.add('w', server());
    await bench.until('w', 'starting');
    const { workers, config_path: path } = await bench.call('list', null);
    expect(path).toBe(join(folder.path, 'config.yaml'));
    expect(workers).toMatchObject([
      { name: 'iii-pubsub', running: true, status: 'running', pid: null },
      { name: 'w', running: false, status: 'starting', pid: expect.any(Number) as number },
    ]);
    expect((await bench.call('list', { running_only: true }))['workers']).toHaveLength(1);
  });

  it('adds a folder and answers when its worker is ready', async () => {
    await bench.files('w', server());
    const added = bench.call('add', { source: { kind: 'local', path: './w' } });
    await bench.line('w', 1);
    connect({ name: 'w' });
    expect(await added).toEqual({
      name: 'w',
      status: 'installed',
      awaited_ready: true,
      config_path: join(folder.path, 'config.yaml'),
    });
    expect(bench.entries).toMatchObject([{ name: 'w', workerPath: join(folder.path, 'w') }]);
    expect(await codeOf('add', { source: { kind: 'local', path: './w' } })).toEqual([
      'W111',
      expect.stringContaining("Worker 'w' is already in config.yaml.\nFix options:"),
    ]);
    const again = bench.call('add', { source: { kind: 'local', path: './w' }, force: true });
    await bench.line('w', 3);
    connect({ name: 'w' });
    expect(await again).toMatchObject({ status: 'replaced' });
  });

  it('tells why an added folder does not become ready', async () => {
    await bench.files('w', {
      'iii.worker.yaml': 'name: w\nscripts: { install: "echo broken; exit 1", start: "true" }\n',
    });
    expect(await codeOf('add', { source: { kind: 'local', path: './w' } })).toEqual([
      'W160',
      expect.stringContaining('broken'),
    ]);
    await bench.files('v', { ...server(), 'iii.worker.yaml': 'name: v\nscripts: { start: "node server.mjs" }\n' });
    const slow = codeOf('add', { source: { kind: 'local', path: './v' } });
    await bench.line('v', 1);
    await bench.clock.advance(READY_TIMEOUT_MS);
    expect(await slow).toEqual(['W161', 'v is not ready after 120 s (it is starting); see: iii worker logs v']);
  });

  it('refuses folders that are not there, have no manifest that holds, or a name that cannot be one', async () => {
    expect(await codeOf('add', { source: { kind: 'local', path: './absent' } })).toEqual([
      'W110',
      expect.stringContaining("Cannot resolve path './absent'"),
    ]);
    await bench.files('w', { 'iii.worker.yaml': 'nam: w\n' });
    expect(await codeOf('add', { source: { kind: 'local', path: './w' } })).toEqual([
      'W180',
      expect.stringContaining('[nam]'),
    ]);
    await bench.files('w', { 'iii.worker.yaml': 'name: ../evil\nscripts: { start: x }\n' });
    expect(await codeOf('add', { source: { kind: 'local', path: './w' } })).toEqual([
      'W100',
      expect.stringContaining('invalid characters'),
    ]);
    expect(await codeOf('add', { source: { kind: 'oci', reference: 'x/y' } })).toEqual([
      'W101',
      expect.stringContaining('not in this version'),
    ]);
  });

  it('adds a built-in with its default block, once', async () => {
    expect(await bench.call('add', { source: { kind: 'registry', name: 'iii-pubsub' } })).toMatchObject({
      name: 'iii-pubsub',
      status: 'installed',
    });
    expect(bench.entries).toMatchObject([{ name: 'iii-pubsub', rawConfig: { adapter: { name: 'local' } } }]);
    expect(await bench.call('add', { source: { kind: 'registry', name: 'iii-pubsub' } })).toMatchObject({
      status: 'already_current',
    });
    expect(await codeOf('add', { source: { kind: 'registry', name: 'pubsub' } })).toEqual([
      'W111',
      expect.stringContaining('are the same worker'),
    ]);
    expect(await codeOf('add', { source: { kind: 'registry', name: 'iii-pubsb' } })).toEqual([
      'W110',
      "Worker 'iii-pubsb' not found (did you mean 'iii-pubsub'?)",
    ]);
    expect(await codeOf('add', { source: { kind: 'registry', name: 'iii-cron' } })).toEqual([
      'W110',
      "'iii-cron' is not in this version",
    ]);
  });

  it('removes with consent, and answers when the processes are gone', async () => {
    await bench.add('w', server());
    await bench.line('w', 1);
    const { pid } = await bench.call('status', { name: 'w' });
    expect(await codeOf('remove', { names: ['w'] })).toEqual(['W104', expect.stringContaining('yes: true')]);
    expect(await codeOf('remove', { yes: true })).toEqual(['W103', expect.any(String)]);
    expect(await codeOf('remove', { names: ['v'], yes: true })).toEqual([
      'W110',
      expect.stringContaining("'v' is not in config.yaml"),
    ]);
    expect(await bench.call('remove', { names: ['w'], yes: true })).toEqual({ removed: ['w'] });
    expect(await groupWorks(pid as number)).toBe(false);
    expect(await bench.call('status', { name: 'w' })).toMatchObject({ installed: false, running: false });
  });

  it('restarts a worker, and refuses to stop a built-in', async () => {
    bench.entries = [{ name: 'iii-pubsub', canonical: 'pubsub', rawConfig: undefined, workerPath: undefined }];
    await bench.add('w', server());
    const pid = await pidOf('w');
    await bench.call('restart', { name: 'w', wait: false });
    expect(await pidOf('w', 3)).not.toBe(pid);
    expect(await codeOf('stop', { name: 'iii-pubsub' })).toEqual([
      'W105',
      expect.stringContaining("Cannot stop 'iii-pubsub'"),
    ]);
    expect(await codeOf('start', { name: 'ww' })).toEqual(['W110', expect.stringContaining("did you mean 'w'?")]);
  });

  it('writes logs that a run after a restart goes on with', async () => {
    await bench.add('w', server());
    await bench.line('w', 1);
    await bench.call('restart', { name: 'w', wait: false });
    await bench.line('w', 3);
    const text = await readFile(join(folder.path, '.iii/logs/w/stdout.log'), 'utf8');
    expect(text.match(/^--- run .* pid \d+: node server\.mjs ---$/gm)).toHaveLength(2);
    expect((await bench.call('logs', { name: 'w', tail: 1 }))['stdout']).toEqual([expect.stringMatching(/^pid \d+$/)]);
  });
});

it('goes on without log files when they cannot be written, and says so once', async () => {
  await writeFile(join(folder.path, '.iii'), 'in the way');
  await bench.add('w', server());
  await waitFor(() => bench.messages('cannot be kept').length === 1);
  await waitFor(() => bench.messages('pid ').length > 0);
  expect(await bench.state('w')).toBe('starting');
  expect(bench.messages('the pid of a worker could not be recorded')).toHaveLength(1);
});
