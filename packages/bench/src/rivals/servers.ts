/**
 * Servers of the rivals, from the system's packages, on free ports and empty folders, with their default settings.
 * Those of the tests are no measure: they come with settings of their own (what Redis writes when, the locale of
 * PostgreSQL).
 */
import { execFileSync } from 'node:child_process';
import { chownSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { findPostgres, freePort, redisServerProgram, ServerProcess, tempFolder } from '@trine/testing';

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly version: string;
  readonly appendfsync: 'always' | 'everysec' | undefined;
}

export interface PostgresAddress {
  readonly url: string;
  readonly version: string;
}

const HOST = '127.0.0.1';

/** Runs `work` with a Redis; false when none is installed. Without `appendfsync` it has its defaults. */
export async function withRedis(
  appendfsync: RedisAddress['appendfsync'],
  work: (server: RedisAddress) => Promise<void>,
): Promise<boolean> {
  const command = redisServerProgram;
  if (command === undefined) return false;
  const port = await freePort();
  await inFolder(async (cwd) => {
    const durable = appendfsync === undefined ? [] : ['--appendonly', 'yes', '--appendfsync', appendfsync];
    const server = await ServerProcess.start({
      command,
      words: ['--port', String(port), '--bind', HOST, ...durable],
      cwd,
      ready: () => accepts(port),
    });
    try {
      const version = /v=(\S+)/.exec(execFileSync(command, ['--version'], { encoding: 'utf8' }))?.[1] ?? 'unknown';
      await work({ host: HOST, port, version, appendfsync });
    } finally {
      await server.stop('SIGTERM');
    }
  });
  return true;
}

/** Runs `work` with a PostgreSQL; false when none is installed. */
export async function withPostgres(work: (server: PostgresAddress) => Promise<void>): Promise<boolean> {
  const bin = findPostgres();
  if (bin === undefined) return false;
  const user = process.getuid?.() === 0 ? postgresUser() : undefined;
  const port = await freePort();
  await inFolder(async (folder) => {
    const cwd = join(folder, 'data');
    // It refuses root, and its user must own the folder.
    if (user !== undefined) chownSync(folder, user.uid, user.gid);
    execFileSync(join(bin, 'initdb'), ['-D', cwd, '-U', 'bench', '--auth=trust', '--no-sync'], {
      stdio: 'ignore',
      ...user,
    });
    const server = await ServerProcess.start({
      command: join(bin, 'postgres'),
      words: ['-D', cwd, '-p', String(port), '-h', HOST, '-k', ''],
      cwd,
      ...user,
      ready: () => answers(join(bin, 'pg_isready'), port),
    });
    try {
      const version = /\d+(\.\d+)?/.exec(execFileSync(join(bin, 'postgres'), ['--version'], { encoding: 'utf8' }))?.[0];
      await work({ url: `postgres://bench@${HOST}:${port}/postgres`, version: version ?? 'unknown' });
    } finally {
      await server.stop('SIGINT');
    }
  });
  return true;
}

function postgresUser(): { readonly uid: number; readonly gid: number } {
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await tempFolder('trine-bench-server-');
  try {
    await work(folder.path);
  } finally {
    await folder.remove();
  }
}

async function answers(pgIsReady: string, port: number): Promise<boolean> {
  try {
    execFileSync(pgIsReady, ['-h', HOST, '-p', String(port)], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
