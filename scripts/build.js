import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleEngine } from './bundle.js';
import { ROOT } from './root.js';

/** Builds what has changed; ends this process when that fails. Its output goes to standard error. */
export async function build() {
  const tsc = fileURLToPath(import.meta.resolve('typescript/bin/tsc'));
  if (!existsSync(join(ROOT, 'packages/cli/dist'))) console.error('Building for the first time: half a minute or so');
  const { status } = spawnSync(process.execPath, [tsc, '-b'], { cwd: ROOT, stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(status ?? 1);
  await bundleEngine();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build();
