import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, type TempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError } from './errors.js';
import { testCatalog } from './fixtures/catalog.js';
import { diffProjects } from './diff.js';
import { parseProject, projectFromValue } from './parse.js';

let folder: TempFolder;
beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(() => folder.remove());

function parse(text: string, env: NodeJS.ProcessEnv = {}) {
  return parseProject({ file: join(folder.path, 'config.yaml'), text, catalog: testCatalog, env });
}

function faults(text: string, env: NodeJS.ProcessEnv = {}): string[] {
  try {
    parse(text, env);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).code).toBe('config_error');
    return (error as ConfigError).message.split('\n');
  }
  throw new Error('the configuration was taken');
}

describe('config.yaml - what it says', () => {
  it('keeps the spelling, resolves worker paths against the file, fills in defaults', () => {
    const { entries } = parse(
      'workers:\n  - name: iii-queue\n  - name: link\n    worker_path: ./apps/link\n    config: { a: 1 }\nmodules:\n  - name: database\n',
    );
    expect(entries).toMatchObject([
      {
        id: 'iii-queue',
        name: 'iii-queue',
        canonical: 'queue',
        config: { mode: 'standard', queue_configs: {} },
        workerPath: undefined,
        line: 2,
      },
      { id: 'link', canonical: undefined, config: { a: 1 }, workerPath: join(folder.path, 'apps/link'), line: 3 },
      { id: 'database', canonical: 'database', line: 7 },
    ]);
  });

  it.each(['', '# nothing\n', 'workers: []\n', '---\n'])('has no workers in %j', (text) => {
    expect(parse(text).entries).toEqual([]);
  });

  it('numbers the second worker manager and leaves the id of the first', () => {
    const one = parse('workers:\n  - name: iii-worker-manager\n');
    const two = parse(
      'workers:\n  - name: iii-worker-manager\n  - name: iii-worker-manager\n    config: { port: 0 }\n',
    );
    expect(two.entries.map(({ id, name }) => [id, name])).toEqual([
      ['iii-worker-manager', 'iii-worker-manager'],
      ['iii-worker-manager#1', 'iii-worker-manager'],
    ]);
    expect(diffProjects(one, two)).toMatchObject({
      added: [{ id: 'iii-worker-manager#1' }],
      removed: [],
      changed: [],
      unchanged: [{ id: 'iii-worker-manager' }],
    });
  });

  it('takes registration_namespace_grace_ms and refuses what is no duration', () => {
    expect(parse('registration_namespace_grace_ms: 10\n').registrationNamespaceGraceMs).toBe(10);
    expect(faults('registration_namespace_grace_ms: -1\n')).toEqual([
      'config.yaml:1: registration_namespace_grace_ms must be a whole number of milliseconds, 0 or more',
    ]);
  });

  it('takes the same tree as an object', () => {
    const project = projectFromValue({
      value: { workers: [{ name: 'queue' }, { name: 'x', worker_path: 'x' }] },
      cwd: '/p',
      catalog: testCatalog,
      env: {},
    });
    expect(project).toMatchObject({ file: undefined, entries: [{ canonical: 'queue' }, { workerPath: '/p/x' }] });
    expect(() =>
      projectFromValue({ value: { workers: [{ name: 'qeue' }] }, cwd: '/p', catalog: testCatalog, env: {} }),
    ).toThrow('config: unknown worker \'qeue\' (did you mean "queue"?): it is no built-in and has no worker_path');
  });

  it('keeps a key named __proto__ a key', () => {
    const [entry] = parse(
      'workers:\n  - name: link\n    worker_path: .\n    config: { __proto__: { polluted: 1 } }\n',
    ).entries;
    expect(Object.keys(entry?.config as object)).toEqual(['__proto__']);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

describe('config.yaml - placeholders', () => {
  const port = (text: string, env: NodeJS.ProcessEnv = {}): unknown =>
    (
      parse(`workers:\n  - name: iii-worker-manager\n    config:\n      port: ${text}\n`, env).entries[0]?.config as {
        port: unknown;
      }
    ).port;
  const local = (text: string, env: NodeJS.ProcessEnv = {}): unknown =>
    (
      parse(`workers:\n  - name: link\n    worker_path: .\n    config:\n      v: ${text}\n`, env).entries[0]
        ?.config as { v: unknown }
    ).v;

  it('reads a lone placeholder as YAML would', () => {
    expect(port('${PORT:3111}')).toBe(3111);
    expect(port('${PORT:3111}', { PORT: '80' })).toBe(80);
    expect(local('${V}', { V: 'true' })).toBe(true);
    expect(local('${V}', { V: '' })).toBe('');
    expect(local('${V:default}', { V: '' })).toBe('');
    expect(local('${V}', { V: '007' })).toBe('007');
    expect(local('${V}', { V: '12345678901234567890' })).toBe('12345678901234567890');
    expect(local('${V}', { V: 'a: b # c' })).toBe('a: b # c');
    expect(local('${V:redis://h:1/x}')).toBe('redis://h:1/x');
  });

  it('keeps text with more than a placeholder, and quoted ones, text', () => {
    expect(local('a${N:1}b')).toBe('a1b');
    expect(local('"${N:1}"')).toBe('1');
  });

  it('reads a quoted one as a number where only a number will do', () => {
    expect(port('"${PORT:3111}"')).toBe(3111);
  });

  it('knows the version of the engine', () => {
    expect(local('"v${V:__III_ENGINE_VERSION__}"')).toMatch(/^v\d+\.\d+\.\d+/);
  });

  it('leaves comments and keys alone', () => {
    expect(local('1 # ${NOT_SET}')).toBe(1);
    expect(local('{ "${NOT_SET}": 1 }')).toEqual({ '${NOT_SET}': 1 });
  });

  it('names an unset variable and its line, once, without a second fault of the same place', () => {
    expect(faults('workers:\n  - name: iii-worker-manager\n    config:\n      port: ${PORT}\n')).toEqual([
      'config.yaml:4: environment variable PORT is not set and has no default: set it, or write ${PORT:default}',
    ]);
  });

  it('keeps the template beside the value', () => {
    const [entry] = parse('workers:\n  - name: iii-worker-manager\n    config: { port: "${PORT:1}" }\n').entries;
    expect(entry).toMatchObject({ template: { port: '${PORT:1}' }, rawConfig: { port: 1 } });
  });
});

describe('config.yaml - what is wrong with it', () => {
  it('tells every fault with its line, key path and nearest key', () => {
    const text = `workers:
  - name: iii-queue
    config:
      mode: fifu
      queue_configs:
        clicks:
          max_retrys: 5
          concurrency: 1000
        mails:
          max_retries: many
      adapter: { nme: builtin }
      colour: red
  - name: iii-stre
  - name: iii-sandbox
  - name: link
    path: ./link
    worker_path: ./link
wrkers: []
`;
    expect(faults(text)).toEqual([
      'config.yaml:4: iii-queue.mode: must be one of "standard", "fifo", got "fifu" (did you mean "fifo"?)',
      'config.yaml:7: iii-queue.queue_configs.clicks: unknown key "max_retrys" (did you mean "max_retries"?)',
      'config.yaml:8: iii-queue.queue_configs.clicks.concurrency: must be at most 100, got 1000',
      'config.yaml:10: iii-queue.queue_configs.mails.max_retries: expected a number, got text',
      'config.yaml:11: iii-queue.adapter: unknown key "nme" (did you mean "name"?)',
      'config.yaml:12: iii-queue: unknown key "colour"',
      'config.yaml:13: unknown worker \'iii-stre\' (did you mean "iii-store"?): it is no built-in and has no worker_path',
      "config.yaml:14: worker 'iii-sandbox' is not in this version",
      'config.yaml:16: link: unknown key "path"',
      'config.yaml:18: unknown key "wrkers" (did you mean "workers"?)',
    ]);
  });

  it('hints only at keys of the variant that was chosen', () => {
    expect(faults('workers:\n  - name: store\n    config:\n      adapter: { name: redis, redis_ur: x }\n')).toEqual([
      'config.yaml:4: store.adapter: unknown key "redis_ur" (did you mean "redis_url"?)',
    ]);
    expect(faults('workers:\n  - name: store\n    config:\n      adapter: { name: reddis }\n')).toEqual([
      'config.yaml:4: store.adapter.name: must be one of "kv", "redis", got "reddis" (did you mean "redis"?)',
    ]);
    expect(faults('workers:\n  - name: store\n')).toEqual(['config.yaml:2: store.adapter: is required']);
  });

  it('shows a rule across fields on the line of the key it names', () => {
    expect(
      faults('workers:\n  - name: queue\n    config:\n      mode: fifo\n      queue_configs:\n        odd: {}\n'),
    ).toEqual(['config.yaml:6: queue.queue_configs.odd: has no place in fifo mode']);
  });

  it('shows a message that the schema brings along', () => {
    expect(faults('workers:\n  - name: bare\n    config: { a: 1 }\n')).toEqual([
      'config.yaml:3: bare: takes no configuration',
    ]);
    expect(parse('workers:\n  - name: bare\n').entries).toHaveLength(1);
  });

  it('says where YAML breaks', () => {
    expect(faults('workers:\n  - name: "a\n')[0]).toMatch(
      /^config\.yaml:3: not valid YAML at column 1: Missing closing "quote/,
    );
    expect(faults('a: 1\na: 2\n')[0]).toBe('config.yaml:2: not valid YAML at column 1: Map keys must be unique');
    expect(faults('workers:\n  - name: iii-state\n - name: [queue\n  - name: pubsub\n')).toHaveLength(1);
    expect(faults('a: *nobody\n')[0]).toMatch(/^config\.yaml: not valid YAML: Unresolved alias/);
  });

  it.each([
    ['{size: ${P:3}}', 20, '${P:3}'],
    ['{ size: ${P}, mode: fifo }', 21, '${P}'],
    ['{mode: fifo, size: ${P:}}', 32, '${P:}'],
    ['{mode: pre${P:3111}post}', 23, '${P:3111}'],
    ['{list: [1, ${P:postgres://a:b@c/d}]}', 24, '${P:postgres://a:b@c/d}'],
  ])('says that a placeholder within %s needs quotes', (block, column, placeholder) => {
    expect(faults(`workers:\n  - name: queue\n    config: ${block}\n  - name: pubsub\n`)).toEqual([
      `config.yaml:3: not valid YAML at column ${column}: between { } or [ ] a placeholder needs quotes: write "${placeholder}"`,
    ]);
  });

  it.each([
    ['workers:\n', 'config.yaml:1: workers must be a list, got nothing: write `[]` for no workers'],
    ['- name: queue\n', 'config.yaml:1: the configuration must be a block of keys, got a list of 1'],
    [
      'workers:\n  - queue\n',
      'config.yaml:2: a worker must be a block with a name, e.g. `- name: iii-queue`, got text',
    ],
    ['workers:\n  - config: {}\n', 'config.yaml:2: name: is required'],
    ['workers:\n  - name: queue\n    config: 5\n', 'config.yaml:3: queue: expected a block of keys, got 5'],
    [
      'workers:\n  - name: a/b\n    worker_path: .\n',
      "config.yaml:2: a/b: a local worker's name must match ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    ],
    [
      'workers:\n  - name: queue\n    image: x\n',
      "config.yaml:3: Worker 'queue' is a built-in worker and cannot have an 'image' field. Remove 'image' or use a different name.",
    ],
    [
      'workers:\n  - name: queue\n  - name: queue\n',
      "config.yaml:3: worker 'queue' is listed twice (first on line 2): keep one",
    ],
  ])('refuses %j', (text, message) => {
    expect(faults(text)).toEqual([message]);
  });

  it('refuses both spellings of one worker in the words of the reference', () => {
    expect(faults('workers:\n  - name: queue\n  - name: iii-queue\n')).toEqual([
      'Duplicate worker configurations:',
      "- 'iii-queue' is the deprecated name for 'queue', but both are present. Remove 'iii-queue' from your configuration. (config.yaml:3)",
    ]);
  });
});

describe('config/<id>.yaml', () => {
  const write = async (name: string, text: string): Promise<void> => {
    await mkdir(join(folder.path, 'config'), { recursive: true });
    await writeFile(join(folder.path, 'config', name), text);
  };

  it('counts where the entry has no block, in any spelling of the name', async () => {
    await write('queue.yaml', 'id: queue\nvalue:\n  mode: ${MODE:fifo}\n');
    const project = parse('workers:\n  - name: iii-queue\n');
    expect(project.entries[0]).toMatchObject({
      config: { mode: 'fifo' },
      template: { mode: '${MODE:fifo}' },
      source: join(folder.path, 'config/queue.yaml'),
    });
    expect(project.warnings).toEqual([]);
  });

  it('is ignored with one warning where there is a block', async () => {
    await write('queue.yaml', 'value: { mode: fifo }\n');
    const project = parse('workers:\n  - name: queue\n    config: {}\n');
    expect(project.entries[0]).toMatchObject({ config: { mode: 'standard' } });
    expect(project.warnings).toEqual([
      "config/queue.yaml is not read: the config block of 'queue' in config.yaml counts. Remove one of the two",
    ]);
  });

  it('names the file and its line in faults', async () => {
    await write('queue.yaml', 'id: queue\nvalue:\n  mod: fifo\n');
    expect(faults('workers:\n  - name: queue\n')).toEqual([
      'config/queue.yaml:3: queue: unknown key "mod" (did you mean "mode"?)',
    ]);
  });

  it('is looked for where the configuration worker keeps its files', async () => {
    await mkdir(join(folder.path, 'data/settings'), { recursive: true });
    await writeFile(join(folder.path, 'data/settings/queue.yaml'), 'value: { mode: fifo }\n');
    const text =
      'workers:\n  - name: configuration\n    config: { adapter: { name: fs, config: { directory: ./data/settings } } }\n  - name: queue\n';
    expect(parse(text).entries[1]).toMatchObject({ config: { mode: 'fifo' } });
  });
});

describe('diff of two configurations', () => {
  it('sees what was added, removed and changed, and nothing in comments and order', () => {
    const before = parse(
      'workers:\n  - name: queue\n  - name: database\n  - name: store\n    config: { adapter: { name: kv, file_path: a } }\n',
    );
    const after = parse(
      'workers:\n  # c\n  - name: link\n    worker_path: .\n  - name: store\n    config: { adapter: { name: kv, file_path: b } }\n  - name: queue\n    config: {}\n',
    );
    const { added, removed, changed, unchanged } = diffProjects(before, after);
    expect([added, removed, unchanged].map((all) => all.map(({ id }) => id))).toEqual([
      ['link'],
      ['database'],
      ['queue'],
    ]);
    expect(changed.map((each) => [each.before.rawConfig, each.after.rawConfig])).toEqual([
      [{ adapter: { name: 'kv', file_path: 'a' } }, { adapter: { name: 'kv', file_path: 'b' } }],
    ]);
  });
});
