/**
 * How the tests run: `vitest run --config vitest.workspace.ts` (vitest reads no workspace file by
 * itself). One project per package for the units beside their source, one for `tests/`, whose files
 * start real engines and processes and therefore run after them, few at a time, with longer deadlines.
 */
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const UNIT_TIMEOUT_MS = 20_000;
const INTEGRATION_TIMEOUT_MS = 180_000;
const HOOK_TIMEOUT_MS = 60_000;
/** A leaked handle must show as a failure, not as a run that never ends. */
const TEARDOWN_TIMEOUT_MS = 10_000;

/** Each file of `tests/` may hold an engine, its threads and a few clients: one file per two cores. */
const INTEGRATION_WORKERS = Math.max(1, Math.floor(availableParallelism() / 2));

const root = import.meta.dirname;
const packages = readdirSync(`${root}/packages`).filter((name) => existsSync(`${root}/packages/${name}/package.json`));

const shared = {
  root,
  environment: 'node',
  // Processes, not threads: native modules, child processes and signals are under test.
  pool: 'forks',
  restoreMocks: true,
  unstubEnvs: true,
  hookTimeout: HOOK_TIMEOUT_MS,
  // It is tested as Node loads it.
  server: { deps: { external: [/[/]dist[/]bundled[/]/] } },
};

export default defineConfig({
  test: {
    passWithNoTests: false,
    teardownTimeout: TEARDOWN_TIMEOUT_MS,
    globalSetup: `${root}/scripts/bundle-setup.js`,
    projects: [
      ...packages.map((name) => ({
        test: {
          ...shared,
          name,
          include: [`packages/${name}/src/**/*.test.ts`],
          testTimeout: UNIT_TIMEOUT_MS,
          sequence: { groupOrder: 0 },
        },
      })),
      {
        test: {
          ...shared,
          name: 'tests',
          include: ['tests/**/*.test.ts'],
          testTimeout: INTEGRATION_TIMEOUT_MS,
          maxWorkers: INTEGRATION_WORKERS,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
