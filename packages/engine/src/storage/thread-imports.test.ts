import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { builtUrl } from '../core/built-url.js';

const IMPORT = /^(?:import|export)\b(?:[^'";]*?\bfrom)?\s*['"]([^'"]+)['"]/gm;

/** The packages that a built module loads, itself or through others. */
function packagesOf(entry: string): Set<string> {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const require = createRequire(file);
    for (const [, name = ''] of readFileSync(file, 'utf8').matchAll(IMPORT)) {
      if (name.startsWith('.')) visit(resolve(file, '..', name));
      else if (name.startsWith('@trine/')) visit(require.resolve(name));
      else if (!name.startsWith('node:')) packages.add(name);
    }
  };
  visit(entry);
  return packages;
}

describe('what runs in threads', () => {
  // Each thread loads its modules once more: a schema library there costs time and memory at every start.
  it.each([
    'thread.js',
    '../workers/queue/store.js',
    '../workers/state/store.js',
    '../workers/stream/store.js',
    '../workers/database/thread.js',
  ])('%s loads no schemas', (entry) => {
    const packages = packagesOf(fileURLToPath(builtUrl(import.meta.url, entry)));
    expect([...packages]).not.toContain('zod');
  });

  it('is read from what was built', () => {
    expect([...packagesOf(fileURLToPath(builtUrl(import.meta.url, '../index.js')))]).toContain('zod');
  });
});
