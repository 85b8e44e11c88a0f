import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { waitFor } from '@trine/testing';

const COMMAND = fileURLToPath(new URL('main.js', import.meta.resolve('@trine/cli')));

/** How long an engine may take to start or to stop on a busy machine, in milliseconds. */
const DEADLINE_MS = 30_000;

/** What is kept of the output: enough to explain a failure. */
const MAX_OUTPUT_CHARS = 1_000_000;

export interface EngineProcessOptions {
  /** Folder of config.yaml. */
  readonly cwd: string;
  /** Words after `iii`; default none: the engine with `config.yaml`. */
  readonly words?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** An installed `iii` to run; default this checkout's own. */
  readonly program?: string;
  /** As a terminal starts it: leader of a process group, so that `interrupt` can be its Ctrl-C. */
  readonly inOwnGroup?: boolean;
}

export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** The real command as a process of its own, usually as an engine. Whoever starts it kills it. */
export class EngineProcess {
  readonly #child: ChildProcess;
  readonly #inOwnGroup: boolean;
  #output = '';
  /** Resolves when the process is gone and its output is complete. */
  readonly exited: Promise<ProcessEnd>;

  private constructor(child: ChildProcess, inOwnGroup: boolean) {
    this.#child = child;
    this.#inOwnGroup = inOwnGroup;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-MAX_OUTPUT_CHARS);
      });
    }
    this.exited = once(child, 'close').then(([code, signal]: unknown[]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
    }));
  }

  static spawn({ cwd, words = [], env = {}, program, inOwnGroup = false }: EngineProcessOptions): EngineProcess {
    const { III_URL: _url, III_CONFIG_PATH: _config, ...inherited } = process.env;
    const child = spawn(program ?? process.execPath, [...(program === undefined ? [COMMAND] : []), ...words], {
      cwd,
      env: { ...inherited, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: inOwnGroup,
    });
    return new EngineProcess(child, inOwnGroup);
  }

  /** Starts an engine and waits until its worker port takes connections. */
  static async start(options: EngineProcessOptions & { readonly port: number }): Promise<EngineProcess> {
    const engine = EngineProcess.spawn(options);
    try {
      await waitFor(() => !engine.isRunning || accepts(options.port), {
        timeoutMs: DEADLINE_MS,
        what: `port ${options.port} to open`,
      });
      if (!engine.isRunning) throw new Error(`the engine ended at its start:\n${engine.output}`);
      return engine;
    } catch (error) {
      await engine.kill();
      throw error;
    }
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Everything printed so far, both streams. */
  get output(): string {
    return this.#output;
  }

  /** SIGKILL: no farewell, no flush. */
  async kill(): Promise<void> {
    this.#signal('SIGKILL');
    await this.exited;
  }

  /** SIGTERM and wait; kills what does not end. */
  stop(): Promise<ProcessEnd> {
    return this.#end('SIGTERM');
  }

  /** SIGINT and wait; kills what does not end. With `inOwnGroup` to the whole group, as Ctrl-C. */
  interrupt(): Promise<ProcessEnd> {
    return this.#end('SIGINT');
  }

  async #end(signal: NodeJS.Signals): Promise<ProcessEnd> {
    this.#signal(signal);
    const timer = setTimeout(() => this.#signal('SIGKILL'), DEADLINE_MS);
    const end = await this.exited;
    clearTimeout(timer);
    return end;
  }

  #signal(signal: NodeJS.Signals): void {
    if (!this.#inOwnGroup || this.#child.pid === undefined) this.#child.kill(signal);
    else if (this.isRunning) process.kill(-this.#child.pid, signal);
  }
}

export { freePort } from '@trine/testing';

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
