/**
 * `pnpm test:compat [--all] [--only WORD]`: every client goes through all it knows, and
 * docs/compatibility.md is written from what that shows. `--all`: also the clients that have to be compiled
 * first. `--only`: the features whose id begins with the word; nothing is written.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { all: { type: 'boolean' }, only: { type: 'string' } } });

const { status } = spawnSync('vitest', ['run', '--config', 'vitest.workspace.ts', 'tests/compat'], {
  stdio: 'inherit',
  shell: process.platform === 'win32',
  env: {
    ...process.env,
    TRINE_COMPAT_WRITE: '1',
    ...(values.all === true ? { TRINE_COMPAT_ALL: '1' } : {}),
    ...(values.only === undefined ? {} : { TRINE_COMPAT_ONLY: values.only }),
  },
});
process.exitCode = status ?? 1;
