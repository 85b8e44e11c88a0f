/**
 * `pnpm test:faults [--kills N] [--frames N] [--seed N]`: the fault tests at any length. CI runs them short.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { kills: { type: 'string' }, frames: { type: 'string' }, seed: { type: 'string' } },
});
for (const [name, value] of Object.entries(values)) {
  if (!/^\d+$/.test(value)) {
    console.error(`--${name} must be a whole number, got ${value}`);
    process.exit(2);
  }
}

const { status } = spawnSync('vitest', ['run', '--config', 'vitest.workspace.ts', 'tests/faults'], {
  stdio: 'inherit',
  shell: process.platform === 'win32',
  env: {
    ...process.env,
    ...(values.kills === undefined ? {} : { TRINE_KILLS: values.kills }),
    ...(values.frames === undefined ? {} : { TRINE_FRAMES: values.frames }),
    ...(values.seed === undefined ? {} : { TRINE_SEED: values.seed }),
  },
});
process.exitCode = status ?? 1;
