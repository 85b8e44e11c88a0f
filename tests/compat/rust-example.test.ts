/** The Rust worker of docs/guides/triggers-without-a-worker.md: the page shows the file that is compiled, and what it does. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createEngine, type Engine } from '@trine/engine';
import { tempFolder, waitFor } from '@trine/testing';
import { expect, it } from 'vitest';
import { BUILD_TIMEOUT_MS, RUST_TARGET } from './on-demand.js';

const GUIDE = join(import.meta.dirname, '..', '..', 'docs', 'guides', 'triggers-without-a-worker.md');
const CRATE = join(import.meta.dirname, 'clients', 'rust', 'v0.26');
const isAll = process.env['TRINE_COMPAT_ALL'] === '1';

/** The block of a language in the guide. */
function block(language: string): string {
  const text = readFileSync(GUIDE, 'utf8');
  return new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(text)?.[1] ?? '';
}

it('the guide shows the worker that is compiled, on the version that is tried', () => {
  expect(block('rust')).toBe(readFileSync(join(CRATE, 'examples', 'price.rs'), 'utf8'));
  const manifest = readFileSync(join(CRATE, 'Cargo.toml'), 'utf8').split('\n');
  const dependencies = block('toml').trim().split('\n').slice(1);
  expect(dependencies.length).toBeGreaterThan(2);
  expect(manifest).toEqual(expect.arrayContaining(dependencies));
});

it.skipIf(!isAll)(
  'the worker of the guide binds its route, once, and again after restarts of both',
  async () => {
    const words = ['build', '--locked', '--quiet', '--manifest-path', join(CRATE, 'Cargo.toml'), '--example', 'price'];
    await promisify(execFile)('cargo', [...words, '--target-dir', RUST_TARGET], { timeout: BUILD_TIMEOUT_MS });
    const folder = await tempFolder();
    const running: { engine?: Engine; worker?: ChildProcess } = {};
    let output = '';
    const start = async (port: number): Promise<Engine> => {
      const engine = await createEngine({
        logLevel: 'silent',
        cwd: folder.path,
        config: {
          workers: [
            { name: 'iii-worker-manager', config: { port } },
            { name: 'iii-http', config: { host: '127.0.0.1', port: 0 } },
          ],
        },
      });
      running.engine = engine;
      await engine.start();
      return engine;
    };
    const run = (url: string): ChildProcess => {
      const env = { ...process.env, III_URL: url };
      const worker = spawn(join(RUST_TARGET, 'debug', 'examples', 'price'), { env });
      worker.stdout.on('data', (data: Buffer) => (output += data.toString()));
      worker.stderr.on('data', (data: Buffer) => (output += data.toString()));
      running.worker = worker;
      return worker;
    };
    const serves = async (engine: Engine): Promise<void> => {
      const url = `http://127.0.0.1:${engine.ports['http'] ?? 0}/price/tea`;
      await waitFor(async () => (await fetch(url)).status === 200, { timeoutMs: 20_000, what: `the route\n${output}` });
      expect(await (await fetch(url)).json()).toEqual({ item: 'tea', price: 12 });
    };
    try {
      const first = await start(0);
      const worker = run(first.url);
      await serves(first);
      await waitFor(() => output.includes('bound as "'));
      worker.kill('SIGKILL');
      run(first.url);
      await waitFor(() => output.split('bound as ').length === 3, { timeoutMs: 20_000 });
      const ids = [...output.matchAll(/bound as "(.*)"/g)].map(([, id]) => id);
      expect(new Set(ids).size).toBe(1);
      await serves(first);
      // The worker comes back by itself; its trigger was kept.
      const port = first.ports['iii-worker-manager'] ?? 0;
      await first.stop();
      await serves(await start(port));
    } finally {
      running.worker?.kill('SIGKILL');
      await running.engine?.stop({ drainMs: 0 });
      await folder.remove();
    }
  },
  BUILD_TIMEOUT_MS + 120_000,
);
