import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { docPages, readPage, ROOT } from './doc-examples.js';

/** The generator starts an engine and reads the sources; on a busy machine that takes a while. Milliseconds. */
const GENERATE_TIMEOUT_MS = 60_000;

describe('documentation - reference', () => {
  test('is what the schemas and sources say', () => {
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      ['--import', import.meta.resolve('tsx'), join(ROOT, 'scripts/docs/generate.ts'), '--check'],
      { cwd: ROOT, encoding: 'utf8', timeout: GENERATE_TIMEOUT_MS },
    );
    expect({ stdout, stderr, status }).toEqual({ stdout: '', stderr: '', status: 0 });
  });
});

describe('documentation - links', () => {
  test.each(docPages())('%s links to files that are there', (page) => {
    const targets = [...readPage(page).matchAll(/\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)/g)].map(
      ([, target = '']) => target,
    );
    expect(targets.filter((target) => !existsSync(join(ROOT, dirname(page), target)))).toEqual([]);
  });

  test.each(docPages())('%s names scripts that package.json has', (page) => {
    const { scripts } = JSON.parse(readPage('package.json')) as { scripts: Record<string, string> };
    const named = [...readPage(page).matchAll(/\bpnpm ((?:dev|test|build|iii|bench|pack|check|docs)[:a-z]*)/g)].map(
      ([, name = '']) => name,
    );
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });
});
