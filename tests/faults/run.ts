/**
 * `pnpm test:faults [--kills N] [--power-cuts N] [--damages N] [--frames N] [--seed N]`: the fault tests at any length.
 * CI runs them short. The last line is one for docs/reliability.md.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

/** Option -> the variable that the tests read. */
const VARIABLES = {
  kills: 'TRINE_KILLS',
  'power-cuts': 'TRINE_POWER_CUTS',
  damages: 'TRINE_DAMAGES',
  frames: 'TRINE_FRAMES',
  seed: 'TRINE_SEED',
} as const;
type Option = keyof typeof VARIABLES;

const text = { type: 'string' } as const;
const { values } = parseArgs({ options: { kills: text, 'power-cuts': text, damages: text, frames: text, seed: text } });
const given = (Object.keys(VARIABLES) as Option[]).flatMap((name) => {
  const value = values[name];
  return value === undefined ? [] : [{ name, value }];
});
for (const { name, value } of given) {
  if (/^\d+$/.test(value)) continue;
  console.error(`--${name} must be a whole number, got ${value}`);
  process.exit(2);
}

const started = new Date();
const { status } = spawnSync('vitest', ['run', '--config', 'vitest.workspace.ts', 'tests/faults'], {
  stdio: 'inherit',
  shell: process.platform === 'win32',
  env: { ...process.env, ...Object.fromEntries(given.map(({ name, value }) => [VARIABLES[name], value])) },
});
const what = given.map(({ name, value }) => `${name} ${value}`).join(', ') || 'as in CI';
const minutes = ((Date.now() - started.getTime()) / 60_000).toFixed(1);
console.log(
  `| ${started.toISOString().slice(0, 10)} | ${what} | ${minutes} min | ${status === 0 ? 'passed' : 'failed'} |`,
);
process.exitCode = status ?? 1;
