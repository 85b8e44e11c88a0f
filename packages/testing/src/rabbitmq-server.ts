import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram, freePort, ServerProcess } from './server-process.js';
import { tempFolder, type TempFolder } from './temp-folder.js';

/** Where Debian puts the programs that do not change the user. */
const FOLDERS = ['/usr/lib/rabbitmq/bin'];
const run = promisify(execFile);

/**
 * A real RabbitMQ for one test file (it takes some 6 s to start), with everything of its own: node name,
 * ports, epmd, cookie, data. Several of them do not know of each other.
 *
 * @example
 * const server = await RabbitServer.start();
 * const url = server.url(); // amqp://guest:guest@127.0.0.1:PORT
 */
export class RabbitServer {
  readonly port: number;
  readonly #folder: TempFolder;
  readonly #env: Readonly<Record<string, string>>;
  readonly #node: ServerProcess;
  readonly #epmd: ServerProcess;

  private constructor(
    port: number,
    folder: TempFolder,
    env: Readonly<Record<string, string>>,
    epmd: ServerProcess,
    node: ServerProcess,
  ) {
    this.port = port;
    this.#folder = folder;
    this.#env = env;
    this.#epmd = epmd;
    this.#node = node;
  }

  /** Why there is none, or undefined when it can be started. */
  static get missing(): string | undefined {
    const programs = ['rabbitmq-server', 'rabbitmqctl', 'epmd'];
    const absent = programs.filter((name) => findProgram(name, FOLDERS) === undefined);
    return absent.length === 0 ? undefined : `not installed: ${absent.join(', ')} (Debian package rabbitmq-server)`;
  }

  /** @param config - lines of rabbitmq.conf */
  static async start(config: readonly string[] = []): Promise<RabbitServer> {
    const folder = await tempFolder();
    const [port, distPort, epmdPort] = [await freePort(), await freePort(), await freePort()];
    const at = (...names: readonly string[]): string => join(folder.path, ...names);
    for (const name of ['mnesia', 'log']) await mkdir(at(name));
    await writeFile(at('.erlang.cookie'), randomBytes(16).toString('hex'), { mode: 0o400 });
    await writeFile(at('enabled_plugins'), '[].\n');
    await writeFile(at('rabbitmq.conf'), [`listeners.tcp.1 = 127.0.0.1:${port}`, ...config, ''].join('\n'));
    const env = {
      HOME: folder.path,
      ERL_EPMD_PORT: String(epmdPort),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      RABBITMQ_NODENAME: `trine${port}@localhost`,
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(distPort),
      RABBITMQ_MNESIA_BASE: at('mnesia'),
      RABBITMQ_LOG_BASE: at('log'),
      RABBITMQ_ENABLED_PLUGINS_FILE: at('enabled_plugins'),
      RABBITMQ_CONFIG_FILE: at('rabbitmq.conf'),
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      // One scheduler of Erlang per test file is enough, and busy waiting takes the cores of the others.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none',
    };
    const epmd = await ServerProcess.start({
      command: program('epmd'),
      words: ['-port', String(epmdPort), '-address', '127.0.0.1'],
      cwd: folder.path,
      ready: () => accepts(epmdPort),
    });
    try {
      const node = await ServerProcess.start({
        command: program('rabbitmq-server'),
        words: [],
        cwd: folder.path,
        env,
        ready: () => accepts(port),
      });
      return new RabbitServer(port, folder, env, epmd, node);
    } catch (error) {
      await epmd.stop();
      await folder.remove();
      throw error;
    }
  }

  url(vhost?: string, user = 'guest:guest'): string {
    return `amqp://${user}@127.0.0.1:${this.port}${vhost === undefined ? '' : `/${vhost}`}`;
  }

  /** Makes empty virtual hosts that `guest` may use, in one step: each call of the control program takes a second. */
  async addVhosts(names: readonly string[]): Promise<void> {
    const list = names.map((name) => `<<"${name}">>`).join(',');
    await this.ctl(
      'eval',
      `[begin rabbit_vhost:add(V, <<"test">>), rabbit_auth_backend_internal:set_permissions(<<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"test">>) end || V <- [${list}]].`,
    );
  }

  /** Runs `rabbitmqctl`; answers what it printed. */
  async ctl(...words: readonly string[]): Promise<string> {
    const { stdout } = await run(program('rabbitmqctl'), ['--quiet', ...words], {
      env: { ...process.env, ...this.#env },
    });
    return stdout;
  }

  /** It dies at once, as in a crash. */
  kill(): Promise<void> {
    return this.#node.stop();
  }

  /** Starts it again after `kill`, with the same data and port. */
  restart(): Promise<void> {
    return this.#node.restart();
  }

  /** SIGSTOP: it answers nothing and closes nothing until `go`. */
  hold(): void {
    this.#node.signal('SIGSTOP');
  }

  go(): void {
    this.#node.signal('SIGCONT');
  }

  async stop(): Promise<void> {
    await this.#node.stop();
    await this.#epmd.stop();
    await this.#folder.remove();
  }
}

/** The wrappers on PATH change the user and the folder; those in Debian's own folder do not. */
function program(name: string): string {
  const own = FOLDERS.map((folder) => join(folder, name)).find((path) => existsSync(path));
  const path = own ?? findProgram(name);
  if (path === undefined) throw new Error(`${name} is not installed`);
  return path;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
