import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { Client } from './clients.js';

/** What is kept of the output: enough to explain a failure. */
const MAX_OUTPUT_CHARS = 20_000;
/** A verb that takes longer has hung, in milliseconds. */
const VERB_TIMEOUT_MS = 120_000;

/** How a call that a client made ended. `is_absent`: there was no result at all, as far as the SDK can tell. */
export interface Outcome {
  readonly result?: unknown;
  readonly is_absent?: boolean;
  readonly error?: { readonly code?: string | null; readonly message: string };
}

export interface CallWords {
  readonly function_id: string;
  readonly payload?: unknown;
  readonly queue?: string;
  readonly void?: boolean;
  readonly metadata?: unknown;
  readonly timeout_ms?: number;
  readonly namespace?: string;
  /** Connection to call on. */
  readonly as?: string;
}

export interface Note {
  readonly data: unknown;
  readonly metadata?: unknown;
}

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly code?: string; readonly message: string };
}

/** A driver of `clients/` in a process of its own. Whoever starts it kills it. */
export class ClientProcess {
  readonly client: Client;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #exited: Promise<unknown>;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #output = '';
  #asked = 0;

  private constructor(client: Client, child: ChildProcessByStdio<Writable, Readable, Readable>) {
    this.client = client;
    this.#child = child;
    this.#exited = once(child, 'close').then(() => {
      for (const id of [...this.#waiting.keys()]) this.#settle({ id, error: { message: 'the client has ended' } });
    });
    child.stdin.on('error', () => undefined);
    createInterface({ input: child.stdout }).on('line', (line) => this.#read(line));
    createInterface({ input: child.stderr }).on('line', (line) => this.#keep(line));
  }

  static async start(client: Client, url: string, env: Readonly<Record<string, string>>): Promise<ClientProcess> {
    const [command, ...words] = await client.command();
    const child = spawn(command as string, [...words, client.name, url], {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    return new ClientProcess(client, child);
  }

  get name(): string {
    return this.client.name;
  }

  /** The last that it printed, for a failure. */
  get output(): string {
    return this.#output;
  }

  /** The id of a function of this client. */
  id(name: string): string {
    return `${this.name}::${name}`;
  }

  /** Tells the driver to do something; rejects with what went wrong there. */
  async do<T = unknown>(verb: string, words: object = {}): Promise<T> {
    const id = ++this.#asked;
    let timer: NodeJS.Timeout | undefined;
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      timer = setTimeout(
        () => this.#settle({ id, error: { message: `no end of '${verb}' in ${VERB_TIMEOUT_MS} ms` } }),
        VERB_TIMEOUT_MS,
      );
      this.#child.stdin.write(`${JSON.stringify({ id, do: verb, with: words })}\n`);
    }).finally(() => clearTimeout(timer));
    if (answer.error !== undefined) {
      throw new Error(`${this.name}, '${verb}': ${answer.error.code ?? ''} ${answer.error.message}`);
    }
    return answer.value as T;
  }

  call(words: CallWords): Promise<Outcome> {
    return this.do('call', words);
  }

  /** The result of a call that has to succeed. */
  async result<T = unknown>(functionId: string, payload: unknown = {}): Promise<T> {
    const { result, error } = await this.call({ function_id: functionId, payload });
    if (error !== undefined) throw new Error(`${functionId}: ${error.code ?? ''} ${error.message}`);
    return result as T;
  }

  /** What a function that notes has been given. */
  notes(functionId: string): Promise<Note[]> {
    return this.do('notes', { function_id: functionId });
  }

  async noted(functionId: string): Promise<unknown[]> {
    return (await this.notes(functionId)).map(({ data }) => data);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  #read(line: string): void {
    if (line.startsWith('{"id"')) this.#settle(JSON.parse(line) as Answer);
    else this.#keep(line);
  }

  #settle(answer: Answer): void {
    this.#waiting.get(answer.id)?.(answer);
    this.#waiting.delete(answer.id);
  }

  #keep(line: string): void {
    if (line !== '') this.#output = `${this.#output}${line}\n`.slice(-MAX_OUTPUT_CHARS);
  }
}
