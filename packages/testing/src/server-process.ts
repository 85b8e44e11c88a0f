import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { waitFor } from './wait-for.js';

/** What is kept of the output: enough to explain a failure. */
const MAX_OUTPUT_CHARS = 200_000;
/** How long a server may take to answer on a busy machine, in milliseconds. */
const READY_TIMEOUT_MS = 60_000;

/** Groups that run: a test that gave up on its set-up or forgot to stop leaves nothing behind when its process ends. */
const running = new Set<number>();
process.once('exit', () => {
  for (const pid of running) {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }
});

export interface ServerCommand {
  readonly command: string;
  readonly words: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Runs it as another user: some servers refuse root. */
  readonly uid?: number;
  readonly gid?: number;
  /** Does it serve already? Asked until it says so. */
  readonly ready: () => Promise<boolean>;
}

/**
 * A real server (Redis, RabbitMQ, PostgreSQL) that a test starts on a free port in a temporary folder,
 * kills and starts again. In a process group of its own, so that what it starts ends with it.
 */
export class ServerProcess {
  readonly #command: ServerCommand;
  #child: ChildProcess;
  #exited: Promise<unknown>;
  #output = '';

  private constructor(command: ServerCommand) {
    this.#command = command;
    this.#child = this.#spawn();
    this.#exited = once(this.#child, 'close');
  }

  /** @throws Error with what it printed, when it does not come up */
  static async start(command: ServerCommand): Promise<ServerProcess> {
    const server = new ServerProcess(command);
    await server.#ready();
    return server;
  }

  /** Everything printed so far. */
  get output(): string {
    return this.#output;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Stops it (default: SIGKILL, as a crash does) and waits until it is gone. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.isRunning) this.signal(signal);
    await this.#exited;
  }

  /** Sends a signal to it and its children: SIGSTOP holds it, SIGCONT lets it go on. */
  signal(signal: NodeJS.Signals): void {
    if (this.#child.pid !== undefined) process.kill(-this.#child.pid, signal);
  }

  /** Starts it again with the same words, after `stop`. */
  async restart(): Promise<void> {
    this.#child = this.#spawn();
    this.#exited = once(this.#child, 'close');
    await this.#ready();
  }

  #spawn(): ChildProcess {
    const { command, words, cwd, env, uid, gid } = this.#command;
    const child = spawn(command, words, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    });
    const { pid } = child;
    if (pid !== undefined) {
      running.add(pid);
      child.once('exit', () => running.delete(pid));
    }
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-MAX_OUTPUT_CHARS);
      });
    }
    return child;
  }

  async #ready(): Promise<void> {
    const { command, ready } = this.#command;
    try {
      await waitFor(async () => !this.isRunning || (await ready()), {
        timeoutMs: READY_TIMEOUT_MS,
        what: command,
        everyMs: 20,
      });
      if (!this.isRunning) throw new Error('it ended');
    } catch (error) {
      if (this.isRunning) this.signal('SIGKILL');
      throw new Error(`${command} did not come up:\n${this.#output}`, { cause: error });
    }
  }
}

/** A port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Is a program installed? Looks through `PATH` and the folders that are named. */
export function findProgram(name: string, folders: readonly string[] = []): string | undefined {
  return [...(process.env['PATH'] ?? '').split(delimiter), ...folders]
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}
