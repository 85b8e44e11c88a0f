/** `pnpm pack:all [FOLDER]`: builds, and packs every public package into FOLDER, by default dist/packages. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { build } from './build.js';
import { ROOT } from './root.js';

const TARGET = resolve(ROOT, process.argv[2] ?? 'dist/packages');

await build();
mkdirSync(TARGET, { recursive: true });
// Only what an earlier run has packed: the folder may be anybody's.
for (const file of readdirSync(TARGET)) if (/^trine-.+[.]tgz$/.test(file)) rmSync(join(TARGET, file));

for (const name of readdirSync(join(ROOT, 'packages')).sort()) {
  const folder = join(ROOT, 'packages', name);
  if (!existsSync(join(folder, 'package.json'))) continue;
  /** @type {{ name: string, private?: boolean }} */
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  if (manifest.private === true) continue;
  const { status } = pnpm(['pack', '--pack-destination', TARGET], folder);
  if (status !== 0) {
    console.error(`packing ${manifest.name} failed: run "pnpm pack" in ${folder} to see why`);
    process.exit(1);
  }
}

for (const file of readdirSync(TARGET)) console.log(relative(ROOT, join(TARGET, file)));

/**
 * The pnpm that runs this script. It names itself in the environment: a program, or a script for Node.
 *
 * @param {string[]} args
 * @param {string} cwd
 */
function pnpm(args, cwd) {
  const self = process.env['npm_execpath'] ?? '';
  /** @type {import('node:child_process').SpawnSyncOptions} */
  const options = { cwd, stdio: ['ignore', 'ignore', 'inherit'] };
  if (/[.][cm]?js$/.test(self)) return spawnSync(process.execPath, [self, ...args], options);
  return spawnSync(self === '' ? 'pnpm' : self, args, options);
}
