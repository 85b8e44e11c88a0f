/**
 * Checks pnpm-lock.yaml: every package in it, direct or not, runs on the oldest Node we promise, and
 * none is bound to the address of a registry.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import semver from 'semver';
import { parse } from 'yaml';
import { ROOT } from './root.js';

/** @type {{ engines: { node: string } }} */
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const oldest = semver.minVersion(manifest.engines.node)?.version ?? '';
const text = readFileSync(join(ROOT, 'pnpm-lock.yaml'), 'utf8');
/** @type {{ packages: Record<string, { engines?: { node?: string }, resolution?: { tarball?: string } }> }} */
const lock = parse(text);

/** @type {string[]} */
const faults = [];
for (const [name, { engines, resolution }] of Object.entries(lock.packages)) {
  const range = engines?.node;
  if (range !== undefined && !semver.satisfies(oldest, range))
    faults.push(`${name} wants Node ${range}, not ${oldest}`);
  if (resolution?.tarball !== undefined) faults.push(`${name} is bound to the address ${resolution.tarball}`);
}
for (const address of text.match(/https?:\/\/[^\s'"]+/g) ?? []) faults.push(`pnpm-lock.yaml names ${address}`);

if (faults.length > 0) {
  console.error(`pnpm-lock.yaml:\n  ${faults.join('\n  ')}`);
  process.exit(1);
}
console.log(`${Object.keys(lock.packages).length} packages run on Node ${oldest}`);
