import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CLIENTS, type Client } from './clients.js';

const run = promisify(execFile);

const DRIVERS = join(import.meta.dirname, 'clients', 'rust');
/** Shared by all, and kept for the next run. */
export const RUST_TARGET = join(tmpdir(), 'trine-tests-cargo');
/** The first time both crates and all they need are compiled, in milliseconds. */
export const BUILD_TIMEOUT_MS = 1_200_000;

const rust = (folder: string, binary: string, version: string): Client => ({
  name: `rust-${version}`,
  title: `crate ${version}`,
  language: 'rust',
  version,
  command: async () => [join(RUST_TARGET, 'debug', binary)],
  prepare: async () => {
    const words = ['build', '--locked', '--quiet', '--manifest-path', join(DRIVERS, folder, 'Cargo.toml')];
    await run('cargo', [...words, '--target-dir', RUST_TARGET], { timeout: BUILD_TIMEOUT_MS });
  },
});

/** The clients of a run with `--all`: those that have to be compiled, after those of every run. */
export const ON_DEMAND_CLIENTS: readonly Client[] = [
  ...CLIENTS,
  rust('v0.22', 'driver-0-22', '0.22.1'),
  rust('v0.26', 'driver-0-26', '0.26.0-rc.4'),
];
