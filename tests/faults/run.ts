/**
 * `pnpm test:faults [--kills N] [--stops N] [--groups N] [--power-cuts N] [--damages N] [--frames N] [--seed N]
 * [FILE ...]`: the fault tests at any length. CI runs them short. Where all went well, what the runs did is written to
 * docs/reliability.md.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { withRuns, type DatedRun } from './reliability-page.js';
import type { FaultRun } from './report.js';

const PAGE = fileURLToPath(new URL('../../docs/reliability.md', import.meta.url));

/** The options, and the variables by which the tests are told of them. */
const VARIABLES = {
  kills: 'TRINE_KILLS',
  stops: 'TRINE_STOPS',
  groups: 'TRINE_GROUPS',
  'power-cuts': 'TRINE_POWER_CUTS',
  damages: 'TRINE_DAMAGES',
  frames: 'TRINE_FRAMES',
  seed: 'TRINE_SEED',
} as const;
type Option = keyof typeof VARIABLES;

const USAGE = `Usage: pnpm test:faults ${Object.keys(VARIABLES)
  .map((name) => `[--${name} N]`)
  .join(' ')} [FILE ...]
FILE is a part of a name in tests/faults, e.g. engine-kill; default: all.`;

const { values, positionals } = words();
for (const [name, value] of Object.entries(values)) {
  if (!/^\d+$/.test(String(value))) {
    console.error(`--${name} must be a whole number, got ${String(value)}`);
    process.exit(2);
  }
}

const folder = mkdtempSync(join(tmpdir(), 'trine-faults-'));
try {
  const report = join(folder, 'runs');
  const files = positionals.length === 0 ? ['tests/faults'] : positionals.map((name) => `tests/faults/${name}`);
  const { status } = spawnSync('vitest', ['run', '--config', 'vitest.workspace.ts', ...files], {
    stdio: 'inherit',
    shell: process.platform === 'win32',
    env: {
      ...process.env,
      ...Object.fromEntries(Object.entries(values).map(([name, value]) => [VARIABLES[name as Option], String(value)])),
      TRINE_FAULT_REPORT: report,
    },
  });
  process.exitCode = status ?? 1;
  if (status === 0 && existsSync(report)) {
    const date = new Date().toISOString().slice(0, 10);
    const runs = readFileSync(report, 'utf8')
      .trim()
      .split('\n')
      .map((line): DatedRun => ({ date, ...(JSON.parse(line) as FaultRun) }));
    writeFileSync(PAGE, withRuns(readFileSync(PAGE, 'utf8'), runs));
    console.log(`docs/reliability.md: ${runs.length} runs written down`);
  } else if (status !== 0) {
    console.log('docs/reliability.md is left as it was: a fault test failed');
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function words(): { values: Partial<Record<string, string>>; positionals: string[] } {
  const options = Object.fromEntries(Object.keys(VARIABLES).map((name) => [name, { type: 'string' as const }]));
  if (process.argv.includes('--help')) {
    console.log(USAGE);
    process.exit(0);
  }
  try {
    const { values, positionals } = parseArgs({ allowPositionals: true, options });
    return { values, positionals };
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}
