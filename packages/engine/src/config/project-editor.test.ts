import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { testCatalog } from './fixtures/catalog.js';
import { ProjectEditor } from './project-editor.js';

const SEED = `# my project

workers:
  # the queue
  - name: iii-queue   # named so since v1
    config:
      queue_configs:
        clicks:
          type: 'standard'      # quoted on purpose
          max_retries: 5


          concurrency: 5
      # adapter: redis
  - name: "database"
    config:
      databases: { primary: { url: "sqlite:./data/iii.db" } } # flow

  # our own
  - name: link
    worker_path: ./link
# the end
`;

function edited(text: string, change: (editor: ProjectEditor) => void): string {
  const editor = new ProjectEditor({ text, folder: '/p', label: 'config.yaml', catalog: testCatalog });
  change(editor);
  return editor.text;
}

describe('edits of config.yaml', () => {
  it('appends an entry and leaves every other byte', () => {
    const text = edited(SEED, (editor) =>
      editor.addWorker({ name: 'iii-pubsub', config: { adapter: { name: 'local' } } }),
    );
    expect(text).toBe(
      SEED.replace(
        '    worker_path: ./link\n',
        '    worker_path: ./link\n  - name: iii-pubsub\n    config:\n      adapter:\n        name: local\n',
      ),
    );
  });

  it('writes worker paths relative inside the project, absolute outside', () => {
    const text = edited('workers: []\n', (editor) => {
      editor.addWorker({ name: 'a', workerPath: '/p/apps/a' });
      editor.addWorker({ name: 'b', workerPath: '/q/b' });
      editor.addWorker({ name: 'c', workerPath: '/p' });
    });
    expect(text).toBe(
      'workers:\n  - name: a\n    worker_path: ./apps/a\n  - name: b\n    worker_path: /q/b\n  - name: c\n    worker_path: .\n',
    );
  });

  it.each(['', '# only this\n', 'modules: []\n', 'workers: # none yet\n', 'workers: []'])(
    'makes a block list out of %j',
    (text) => {
      const after = edited(text, (editor) => editor.addWorker({ name: 'queue' }));
      expect(Object.values(parseYaml(after) as object)).toEqual([[{ name: 'queue' }]]);
      expect(after).toMatch(/^ *- name: queue$/m);
      for (const comment of text.match(/#.*/g) ?? []) expect(after).toContain(comment);
    },
  );

  it('keeps the indent of lists and the line ends of the file', () => {
    const text = 'workers:\r\n- name: queue\r\n';
    expect(edited(text, (editor) => editor.addWorker({ name: 'a', workerPath: '/p/a' }))).toBe(
      `${text}- name: a\r\n  worker_path: ./a\r\n`,
    );
  });

  it('removes an entry in whichever spelling it stands and leaves every other byte', () => {
    const text = edited(SEED, (editor) => editor.removeWorker('queue'));
    const start = SEED.indexOf('  - name: iii-queue');
    expect(text).toBe(SEED.slice(0, start) + SEED.slice(SEED.indexOf('  - name: "database"')));
  });

  it('leaves `[]` where the last entry goes', () => {
    expect(
      edited('# a\nworkers: # b\n  # c\n  - name: queue # d\n# e\n', (editor) => editor.removeWorker('queue')),
    ).toBe('# a\nworkers: [] # b\n  # c\n# e\n');
  });

  it('changes only what differs in a block', () => {
    const config = { queue_configs: { clicks: { type: 'standard', max_retries: 7, concurrency: 5 } } };
    const text = edited(SEED, (editor) => editor.setWorkerConfig('iii-queue', config));
    expect(text).toContain("type: 'standard' # quoted on purpose\n          max_retries: 7\n");
    expect(text).toContain('# adapter: redis');
    expect(text.slice(text.indexOf('  - name: "database"'))).toBe(SEED.slice(SEED.indexOf('  - name: "database"')));
  });

  it('adds a block to a bare entry, and keeps the comment of a key that goes', () => {
    expect(
      edited('workers:\n  - name: queue # q\n', (editor) => editor.setWorkerConfig('queue', { mode: 'fifo' })),
    ).toBe('workers:\n  - name: queue # q\n    config:\n      mode: fifo\n');
    const text = 'workers:\n  - name: queue\n    config:\n      a: 1\n      # about b\n      b: 2\n      c: 3\n';
    expect(edited(text, (editor) => editor.setWorkerConfig('queue', { a: 1, c: 3 }))).toContain(
      '# about b\n      c: 3',
    );
  });

  it('finds the second of a name by its number', () => {
    const text = 'workers:\n  - name: iii-worker-manager\n  - name: iii-worker-manager\n    config: { port: 1 }\n';
    expect(parseYaml(edited(text, (editor) => editor.setWorkerConfig('iii-worker-manager#1', { port: 2 })))).toEqual({
      workers: [{ name: 'iii-worker-manager' }, { name: 'iii-worker-manager', config: { port: 2 } }],
    });
  });

  it('refuses an entry that is there, one that is not, and a file that is no YAML', () => {
    expect(() => edited(SEED, (editor) => editor.addWorker({ name: 'queue' }))).toThrow(
      "config.yaml: worker 'queue' is already listed",
    );
    expect(() => edited(SEED, (editor) => editor.removeWorker('nope'))).toThrow(
      "config.yaml: worker 'nope' is not listed",
    );
    expect(() => edited('workers: [', (editor) => editor.removeWorker('nope'))).toThrow(
      /config\.yaml:\d+: not valid YAML/,
    );
  });

  it('keeps every comment and every other value, whatever the file looks like', () => {
    const word = fc.stringMatching(/^[a-z]{1,6}$/);
    const scalar = fc.oneof(
      word,
      fc.integer(),
      word.map((text) => `'${text}'`),
      word.map((text) => `"${text} # no comment"`),
      fc.constant('|\n          # text\n          more'),
    );
    const comment = fc.option(
      word.map((text) => `  # ${text}`),
      { nil: '' },
    );
    const entry = fc.record({
      above: comment,
      beside: comment,
      keys: fc.uniqueArray(fc.tuple(word, scalar, comment), { selector: ([key]) => key, maxLength: 4 }),
      blank: fc.boolean(),
    });
    const operation = fc.oneof(
      fc.constant({ kind: 'add' as const }),
      fc.record({
        kind: fc.constant('set' as const),
        at: fc.nat(),
        value: fc.dictionary(word, fc.oneof(fc.integer(), word)),
      }),
      fc.record({ kind: fc.constant('remove' as const), at: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 4 }), comment, operation, (entries, last, change) => {
        const text = `# top\nworkers:\n${entries
          .map(({ above, beside, keys, blank }, index) => {
            const lines = keys
              .map(([key, value, after]) => `      ${key}: ${value}${String(value).startsWith('|') ? '' : after}\n`)
              .join('');
            return `${above === '' ? '' : `${above}\n`}  - name: w${index}${beside}\n${lines === '' ? '' : `    config:\n${lines}`}${blank ? '\n' : ''}`;
          })
          .join('')}${last}\n`;
        const before = parseYaml(text) as { workers: { name: string; config?: unknown }[] };
        const name = `w${(change.kind === 'add' ? 0 : change.at) % entries.length}`;
        const after = edited(text, (editor) => {
          if (change.kind === 'add') editor.addWorker({ name: 'fresh', config: { a: 1 } });
          else if (change.kind === 'set') editor.setWorkerConfig(name, change.value);
          else editor.removeWorker(name);
        });
        const expected =
          change.kind === 'add'
            ? [...before.workers, { name: 'fresh', config: { a: 1 } }]
            : change.kind === 'remove'
              ? before.workers.filter((each) => each.name !== name)
              : before.workers.map((each) => (each.name === name ? { ...each, config: change.value } : each));
        expect(parseYaml(after)).toEqual({ workers: expected });
        // Comments of entries and keys that go may go with them; all others stay, in order.
        const own = change.kind === 'add' ? [] : (entries[Number(name.slice(1))]?.keys ?? []);
        const kept = entries.flatMap(({ above, beside, keys }, index) => [
          above,
          ...(change.kind === 'remove' && name === `w${index}` ? [] : [beside]),
          ...keys.flatMap(([, value, after]) => (own === keys || String(value).startsWith('|') ? [] : [after])),
        ]);
        let from = 0;
        for (const each of ['# top', ...kept, last].map((each) => each.trim()).filter((each) => each !== '')) {
          const at = after.indexOf(each, from);
          expect(at, `${each} in\n${after}`).toBeGreaterThanOrEqual(0);
          from = at + each.length;
        }
      }),
      { numRuns: 300 },
    );
  });

  it('gives the same bytes back after adding and removing', () => {
    expect(
      edited(SEED, (editor) => (editor.addWorker({ name: 'fresh', config: { a: [1] } }), editor.removeWorker('fresh'))),
    ).toBe(SEED);
  });
});
