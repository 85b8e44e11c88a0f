/** What an install depends on: when it is the same as last time, there is nothing to install. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MANIFEST_FILE } from './manifest.js';

/** Written by people. */
const AUTHORED = [
  MANIFEST_FILE, 'package.json', '.npmrc', 'requirements.txt', 'pyproject.toml', 'setup.py', 'setup.cfg', 'Pipfile', 'Cargo.toml',
  'go.mod', 'Gemfile',
]; // prettier-ignore
/** Written by package managers, during an install too. */
const LOCKS = [
  'package-lock.json', 'npm-shrinkwrap.json', 'pnpm-lock.yaml', 'yarn.lock', 'bun.lock', 'bun.lockb', 'poetry.lock', 'Pipfile.lock', 'uv.lock',
  'Cargo.lock', 'go.sum', 'Gemfile.lock',
]; // prettier-ignore

const DEPENDENCY_FILES = new Set([...AUTHORED, ...LOCKS]);

/** @param file - relative to the worker's folder */
export function isDependencyFile(file: string): boolean {
  return DEPENDENCY_FILES.has(file);
}

/** Hash of the files that people write. An edit while an install runs changes it. */
export function authoredFingerprint(folder: string): Promise<string> {
  return fingerprint(folder, AUTHORED);
}

/** Hash of everything that decides what an install does. */
export function installFingerprint(folder: string): Promise<string> {
  return fingerprint(folder, [...AUTHORED, ...LOCKS]);
}

async function fingerprint(folder: string, names: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(folder);
  for (const name of names) {
    const content = await readFile(join(folder, name)).catch(() => undefined);
    if (content !== undefined) hash.update(`\0${name}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}
