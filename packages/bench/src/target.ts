/**
 * A process under load: a floor or the engine. Started here, measured here (memory and CPU of the
 * process as the system counts them), stopped here.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** What a target prints when it listens. */
export interface ReadyLine {
  readonly port: number;
  readonly httpPort?: number;
}

export interface TargetOptions {
  /** Built module beside this one, e.g. `./floor-process.js`. */
  readonly entry: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** Folder for a CPU profile, written when the process ends. */
  readonly cpuProfileDir?: string | undefined;
}

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 15_000;
/** Clock ticks per second of /proc/PID/stat: USER_HZ, 100 on every Linux Node runs on. */
const TICKS_PER_SECOND = 100;

export class Target {
  readonly url: string;
  readonly httpUrl: string | undefined;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, ready: ReadyLine) {
    this.#child = child;
    this.url = `ws://127.0.0.1:${ready.port}/`;
    this.httpUrl = ready.httpPort === undefined ? undefined : `http://127.0.0.1:${ready.httpPort}`;
  }

  static start(options: TargetOptions): Promise<Target> {
    const profile =
      options.cpuProfileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.cpuProfileDir}`];
    const entry = fileURLToPath(new URL(options.entry, import.meta.url));
    const child = spawn(process.execPath, [...profile, entry, ...options.args], {
      cwd: options.cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NODE_ENV: 'production' },
    });
    return untilReady(child).then((ready) => new Target(child, ready));
  }

  /** Resident memory in bytes. */
  rssBytes(): number {
    return rssBytes(this.#child.pid ?? 0);
  }

  /** CPU time used so far by all threads of the process, in microseconds; NaN where /proc is absent. */
  cpuMicros(): number {
    try {
      const stat = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / TICKS_PER_SECOND;
    } catch {
      return Number.NaN;
    }
  }

  async stop(): Promise<void> {
    await stopChild(this.#child);
  }
}

export function rssBytes(pid: number): number {
  try {
    const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return Number(line?.[1]) * 1024;
  } catch {
    return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) * 1024;
  }
}

export function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const force = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    child.once('exit', () => {
      clearTimeout(force);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

function untilReady(child: ChildProcess): Promise<ReadyLine> {
  return new Promise((resolve, reject) => {
    const { stdout, stderr } = child;
    if (stdout === null || stderr === null) throw new Error('the target has no output');
    const output: string[] = [];
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`the target did not start within ${START_TIMEOUT_MS} ms:\n${output.join('\n')}`));
    }, START_TIMEOUT_MS);
    // The engine may log to standard output too: the ready line is the one that names a port first.
    createInterface({ input: stdout }).on('line', (line) => {
      if (line.startsWith('{"port":')) {
        clearTimeout(timer);
        resolve(JSON.parse(line) as ReadyLine);
      } else if (output.length < 50) output.push(line);
    });
    createInterface({ input: stderr }).on('line', (line) => {
      if (output.length < 50) output.push(line);
    });
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`the target ended (${signal ?? code}) before it listened:\n${output.join('\n')}`));
    });
  });
}
