import { connect } from 'node:net';
import { findProgram, freePort, ServerProcess } from './server-process.js';
import { tempFolder, type TempFolder } from './temp-folder.js';

/** The program, or undefined where it is not installed. */
export const redisServerProgram = findProgram('redis-server', ['/usr/local/bin', '/usr/sbin']);

export interface RedisServerOptions {
  /** Settings beside the durable ones, e.g. `{ 'maxmemory': '50mb' }`; they win. */
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * A Redis of a test's own, on a free port in a temporary folder. What it has accepted is on disk
 * (appendfsync always) unless the settings say otherwise.
 */
export class RedisServer {
  readonly port: number;
  readonly #process: ServerProcess;
  readonly #folder: TempFolder;

  private constructor(port: number, process: ServerProcess, folder: TempFolder) {
    this.port = port;
    this.#process = process;
    this.#folder = folder;
  }

  static async start({ settings = {} }: RedisServerOptions = {}): Promise<RedisServer> {
    if (redisServerProgram === undefined)
      throw new Error('redis-server is not installed: apt-get install redis-server');
    const folder = await tempFolder();
    const port = await freePort();
    const words = Object.entries({
      port: String(port),
      bind: '127.0.0.1',
      dir: folder.path,
      save: '',
      appendonly: 'yes',
      appendfsync: 'always',
      'maxmemory-policy': 'noeviction',
      ...settings,
    }).flatMap(([name, value]) => [`--${name}`, value]);
    const server = await ServerProcess.start({
      command: redisServerProgram,
      words,
      cwd: folder.path,
      ready: () => answers(port),
    });
    return new RedisServer(port, server, folder);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** What the server printed. */
  get output(): string {
    return this.#process.output;
  }

  /** As a crash does it. */
  kill(): Promise<void> {
    return this.#process.stop('SIGKILL');
  }

  restart(): Promise<void> {
    return this.#process.restart();
  }

  /** It answers nothing until `goOn`. */
  hold(): void {
    this.#process.signal('SIGSTOP');
  }

  goOn(): void {
    this.#process.signal('SIGCONT');
  }

  /** Sends one command, e.g. `command('CONFIG', 'SET', 'maxmemory', '1')`; answers the raw reply. */
  command(...words: readonly string[]): Promise<string> {
    return ask(this.port, encoded(words));
  }

  /** Changes a setting of a server that asks for a password. */
  async change(password: string, name: string, value: string): Promise<void> {
    await ask(this.port, encoded(['AUTH', password]) + encoded(['CONFIG', 'SET', name, value]));
  }

  async stop(): Promise<void> {
    if (this.#process.isRunning) {
      this.goOn();
      await this.kill();
    }
    await this.#folder.remove();
  }
}

function encoded(words: readonly string[]): string {
  const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
  return `*${words.length}\r\n${parts.join('')}`;
}

function ask(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.setEncoding('utf8').setTimeout(5_000, () => socket.destroy(new Error('no answer')));
    socket.on('connect', () => socket.write(text));
    socket.on('data', (reply: string) => {
      socket.destroy();
      resolve(reply);
    });
    socket.on('error', reject);
  });
}

/** It asks for a password, too: then it serves. */
async function answers(port: number): Promise<boolean> {
  const reply = await ask(port, 'PING\r\n').catch(() => '');
  return reply.startsWith('+PONG') || reply.startsWith('-NOAUTH');
}
