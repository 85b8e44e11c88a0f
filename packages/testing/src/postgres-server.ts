import { execFile } from 'node:child_process';
import { chown, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { existsSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, ServerProcess } from './server-process.js';

/** Where Debian puts the programs of each version. */
const DEBIAN_FOLDER = '/usr/lib/postgresql';
const PROGRAMS = ['initdb', 'postgres', 'psql', 'pg_isready'];
const run = promisify(execFile);

/** The newest PostgreSQL that is installed: the folder of its programs. */
export function findPostgres(): string | undefined {
  const versions = existsSync(DEBIAN_FOLDER) ? readdirSync(DEBIAN_FOLDER).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map((version) => join(DEBIAN_FOLDER, version, 'bin')),
    ...(process.env['PATH'] ?? '').split(delimiter),
  ];
  return folders.find((folder) => PROGRAMS.every((program) => existsSync(join(folder, program))));
}

/** Why tests of PostgreSQL do not run here; undefined = they do. */
export function postgresMissing(): string | undefined {
  return findPostgres() === undefined ? 'PostgreSQL is not installed (apt-get install postgresql)' : undefined;
}

/**
 * A PostgreSQL of its own: one cluster in a temporary folder, on a free port of the loopback
 * interface, durable as it comes (fsync on). It refuses root, so there it runs as user `postgres`.
 *
 * @example
 * const server = await PostgresServer.start();
 * await connect(server.url());
 * await server.stop();
 */
export class PostgresServer {
  readonly #folder: string;
  readonly #process: ServerProcess;
  readonly port: number;
  static readonly user = 'trine';
  static readonly password = 'trine-password';

  private constructor(folder: string, process: ServerProcess, port: number) {
    this.#folder = folder;
    this.#process = process;
    this.port = port;
  }

  /** @param settings - `postgresql.conf`, e.g. `{ max_connections: '20' }` */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
    const programs = findPostgres();
    if (programs === undefined) throw new Error(postgresMissing());
    const ids = process.getuid?.() === 0 ? await idsOf('postgres') : {};
    const folder = await mkdtemp(join(tmpdir(), 'trine-postgres-'));
    if (ids.uid !== undefined && ids.gid !== undefined) await chown(folder, ids.uid, ids.gid);
    const data = join(folder, 'data');
    await run(
      join(programs, 'initdb'),
      ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-instructions', '--no-sync'],
      { ...ids, cwd: folder },
    );
    // The role of the engines needs its password; the owner of the cluster does not.
    await run(
      'sh',
      [
        '-c',
        `printf 'host all postgres 127.0.0.1/32 trust\\nhost all all 127.0.0.1/32 scram-sha-256\\n' > data/pg_hba.conf`,
      ],
      {
        ...ids,
        cwd: folder,
      },
    );
    const port = await freePort();
    const all = { listen_addresses: '127.0.0.1', unix_socket_directories: '', port: String(port), ...settings };
    const server = await ServerProcess.start({
      command: join(programs, 'postgres'),
      words: ['-D', data, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      cwd: folder,
      ...ids,
      ready: () => answers(programs, port),
    });
    const postgres = new PostgresServer(folder, server, port);
    await postgres.sql(`CREATE ROLE ${PostgresServer.user} LOGIN PASSWORD '${PostgresServer.password}'`);
    await postgres.sql(`CREATE DATABASE jobs OWNER ${PostgresServer.user}`);
    return postgres;
  }

  /** @param port - of a proxy before it */
  url(port = this.port, password = PostgresServer.password): string {
    return `postgres://${PostgresServer.user}:${password}@127.0.0.1:${port}/jobs`;
  }

  /** Runs SQL as the owner of the cluster and answers what psql prints, without decoration. */
  async sql(text: string, database = 'postgres'): Promise<string> {
    const psql = join(findPostgres() ?? '', 'psql');
    const words = [
      '-X',
      '-q',
      '-A',
      '-t',
      '-v',
      'ON_ERROR_STOP=1',
      '-h',
      '127.0.0.1',
      '-p',
      String(this.port),
      '-U',
      'postgres',
      '-d',
      database,
      '-c',
      text,
    ];
    // Also while the server is told to be read-only.
    const env = { ...process.env, PGOPTIONS: '-c default_transaction_read_only=off' };
    return (await run(psql, words, { env })).stdout.trim();
  }

  /** As a crash of the machine does to its processes. */
  async kill(): Promise<void> {
    await this.#process.stop('SIGKILL');
  }

  async restart(): Promise<void> {
    if (this.#process.isRunning) await this.kill();
    await this.#process.restart();
  }

  /** Holds all its processes: connections stay open and nothing answers. */
  async hold(): Promise<void> {
    for (const pid of await this.#processes()) process.kill(pid, 'SIGSTOP');
  }

  async release(): Promise<void> {
    for (const pid of await this.#processes()) process.kill(pid, 'SIGCONT');
  }

  async stop(): Promise<void> {
    await this.release().catch(() => undefined);
    await this.#process.stop('SIGQUIT');
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Makes a folder the property of the user that the server runs as. */
  async own(folder: string): Promise<void> {
    const { uid, gid } = await stat(this.#folder);
    await chown(folder, uid, gid);
  }

  get output(): string {
    return this.#process.output;
  }

  /** Its backends are in sessions of their own: the folder they run in tells them. */
  async #processes(): Promise<readonly number[]> {
    const main = Number((await readFile(join(this.#folder, 'data', 'postmaster.pid'), 'utf8')).split('\n')[0]);
    const pids = [main];
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
      if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === main) pids.push(Number(name));
    }
    return pids;
  }
}

async function answers(programs: string, port: number): Promise<boolean> {
  const open = await new Promise<boolean>((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
  if (!open) return false;
  return run(join(programs, 'pg_isready'), ['-q', '-h', '127.0.0.1', '-p', String(port)]).then(
    () => true,
    () => false,
  );
}

async function idsOf(user: string): Promise<{ readonly uid?: number; readonly gid?: number }> {
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map(async (word) => Number((await run('id', [word, user])).stdout)),
  );
  return { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) };
}
