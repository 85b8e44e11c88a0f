import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from '@trine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_MANIFEST_BYTES, parseManifest, readManifest } from './manifest.js';

const PATH = '/p/iii.worker.yaml';

describe('a worker manifest', () => {
  it('that is no YAML is told of in one line', () => {
    expect(() => parseManifest(PATH, 'name: a\nscripts: [\nstart: x\n')).toThrow(
      /^\/p\/iii\.worker\.yaml: not valid YAML at line \d, column \d: [^\n]+$/,
    );
  });

  it('is read whole', () => {
    const manifest = parseManifest(
      PATH,
      `name: link
description: Short links
tags: [web]
runtime: { kind: typescript, package_manager: npm, entry: src/index.ts, base_image: node }
scripts: { setup: "true", install: npm install, start: npm run start }
env: { PORT: 3000, NAME: link, FLAG: true }
dependencies: { state: ^1.0.0 }
resources: { cpus: 1, memory: 512 }
`,
    );
    expect(manifest).toEqual({
      name: 'link',
      runtime: { kind: 'typescript', packageManager: 'npm', entry: 'src/index.ts' },
      scripts: { setup: 'true', install: 'npm install', start: 'npm run start' },
      env: { PORT: '3000', NAME: 'link', FLAG: 'true' },
      deprecated: [],
    });
  });

  it('is complete with a runtime and no scripts, without a word of deprecation', () => {
    const manifest = parseManifest(
      PATH,
      'name: a\nruntime:\n  kind: python\n  package_manager: pip\n  entry: main.py\n',
    );
    expect(manifest.runtime).toEqual({ kind: 'python', packageManager: 'pip', entry: 'main.py' });
    expect(manifest.deprecated).toEqual([]);
  });

  it('names all unknown keys at once, sorted, with what is supported', () => {
    expect(() => parseManifest(PATH, 'name: a\nzeta: 1\nscript: x\nruntime: { knd: python }\n')).toThrow(
      `unknown key(s) in ${PATH}: [runtime.knd, script, zeta]. Supported fields are: name, description`,
    );
  });

  it('says where a value has the wrong shape', () => {
    expect(() => parseManifest(PATH, 'name: 5\nruntime: node\nscripts: { start: [a] }\nenv: { A: [1] }\n')).toThrow(
      [
        `${PATH}: \`runtime\` must be a mapping`,
        `${PATH}: \`name\` must be a string, not a number`,
        `${PATH}: \`scripts.start\` must be a string, not a list`,
        `${PATH}: \`env.A\` must be a string, not a list`,
      ].join('\n'),
    );
    expect(() => parseManifest(PATH, 'name: a\nruntime: { kind: cobol }\n')).toThrow(
      'must be one of typescript, javascript, bun, python, rust, not "cobol"',
    );
    expect(() => parseManifest(PATH, '- a\n')).toThrow('the manifest must be a mapping');
    expect(() => parseManifest(PATH, 'name: [a\n')).toThrow(PATH);
  });

  it('lists the deprecated keys that it uses', () => {
    const manifest = parseManifest(
      PATH,
      'name: a\nlanguage: python\nentry: app.py\nconfig: {}\nruntime: { language: python }\n',
    );
    expect(manifest.deprecated).toEqual(['language', 'entry', 'config', 'runtime.language']);
    expect(manifest.runtime).toMatchObject({ kind: 'python', entry: 'app.py' });
  });
});

describe('reading a manifest', () => {
  let folder: Awaited<ReturnType<typeof tempFolder>>;
  beforeEach(async () => void (folder = await tempFolder()));
  afterEach(() => folder.remove());

  it('finds none in a folder without one', async () => {
    expect(await readManifest(folder.path)).toBeUndefined();
    expect(await readManifest(join(folder.path, 'absent'))).toBeUndefined();
  });

  it('refuses one beyond the size limit', async () => {
    await mkdir(folder.path, { recursive: true });
    await writeFile(join(folder.path, 'iii.worker.yaml'), `name: a # ${'x'.repeat(MAX_MANIFEST_BYTES)}\n`);
    await expect(readManifest(folder.path)).rejects.toThrow(`at most ${MAX_MANIFEST_BYTES} are read`);
  });
});
