/** For tests: the built command as a process of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export interface Finished {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
}

export interface Running {
  readonly process: ChildProcess;
  /** Everything printed so far. */
  stdout(): string;
  stderr(): string;
  readonly finished: Promise<Finished>;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Text for its stdin; default: an stdin that ends at once. */
  readonly input?: string;
}

export function start(words: readonly string[], options: RunOptions): Running {
  const { III_URL: _url, III_CONFIG_PATH: _config, ...env } = process.env;
  const startedAt = performance.now();
  const child = spawn(process.execPath, [MAIN, ...words], {
    cwd: options.cwd,
    env: { ...env, ...options.env },
    stdio: 'pipe',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined); // it may end without reading
  child.stdin.end(options.input ?? '');
  const finished = once(child, 'close').then(([exitCode]: unknown[]) => ({
    exitCode: typeof exitCode === 'number' ? exitCode : null,
    stdout,
    stderr,
    durationMs: performance.now() - startedAt,
  }));
  return { process: child, stdout: () => stdout, stderr: () => stderr, finished };
}

export function run(words: readonly string[], options: RunOptions): Promise<Finished> {
  return start(words, options).finished;
}
