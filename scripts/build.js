import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Builds what has changed; ends this process when that fails. Its output goes to standard error. */
export function build() {
  const tsc = fileURLToPath(import.meta.resolve('typescript/bin/tsc'));
  if (!existsSync(join(ROOT, 'packages/cli/dist'))) console.error('Building for the first time: half a minute or so');
  const { status } = spawnSync(process.execPath, [tsc, '-b'], { cwd: ROOT, stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(status ?? 1);
}
