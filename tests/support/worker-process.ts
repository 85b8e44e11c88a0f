import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** What is kept of the output: enough to explain a failure. */
const MAX_OUTPUT_CHARS = 200_000;

/**
 * A worker in a process of its own. Its standard input stays open as long as the test lives, so that a
 * worker that watches it ends with the test, whatever becomes of that. Whoever starts it kills it.
 */
export class WorkerProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #output = '';

  constructor(
    command: string,
    words: readonly string[],
    options: { readonly cwd?: string; readonly env: Readonly<Record<string, string>> },
  ) {
    this.#child = spawn(command, words, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-MAX_OUTPUT_CHARS);
      });
    }
    this.#exited = once(this.#child, 'close').catch(() => undefined);
  }

  /** Everything printed so far, both streams. */
  get output(): string {
    return this.#output;
  }

  /** SIGKILL: no farewell. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
