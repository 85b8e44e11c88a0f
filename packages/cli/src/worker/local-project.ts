/**
 * The project as its files show it, for commands that may run without an engine. Reads config.yaml
 * leniently: what is wrong in it is for the engine, or for the edit, to say.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { DEFAULT_HOST, DEFAULT_PORT } from '../client/address.js';
import { CliError } from '../terminal/errors.js';

/** Both spellings of the entry that sets the worker port. */
const MANAGER: ReadonlySet<unknown> = new Set(['iii-worker-manager', 'worker-manager']);

export interface LocalEntry {
  readonly name: string;
  /** As written in config.yaml; undefined for built-ins. */
  readonly workerPath: string | undefined;
  /** Its `config:` block as written; undefined when there is none. */
  readonly config: unknown;
}

export interface LocalProject {
  readonly configPath: string;
  readonly hasConfig: boolean;
  readonly entries: readonly LocalEntry[];
  /** Where an engine of this project listens for workers; 0 = a free port that the files do not tell. */
  readonly port: number;
  /** The host by which this machine reaches that port. */
  readonly host: string;
  logFile(name: string, stream: 'stdout' | 'stderr'): string;
}

/** @throws CliError for a file that holds something else than a block of keys: it would read as empty */
export async function readLocalProject(config: string, env: NodeJS.ProcessEnv = process.env): Promise<LocalProject> {
  const configPath = resolve(config);
  const text = await readText(configPath);
  const rows = text === undefined ? [] : workerRows(text, config);
  const entries = rows.flatMap((row) => {
    const name = row.get('name');
    const path = row.get('worker_path');
    return typeof name === 'string'
      ? [{ name, workerPath: typeof path === 'string' ? path : undefined, config: row.get('config') }]
      : [];
  });
  const block = rows.find((row) => MANAGER.has(row.get('name')))?.get('config');
  const manager: ReadonlyMap<unknown, unknown> | undefined = block instanceof Map ? block : undefined;
  return {
    configPath,
    hasConfig: text !== undefined,
    entries,
    port: readPort(expanded(manager?.get('port'), env)),
    host: readHost(expanded(manager?.get('host'), env)),
    logFile: (name, stream) => join(dirname(configPath), '.iii', 'logs', name, `${stream}.log`),
  };
}

function workerRows(text: string, config: string): ReadonlyMap<unknown, unknown>[] {
  let root: unknown;
  const doc = parseDocument(text);
  try {
    root = doc.toJS({ mapAsMap: true });
  } catch {
    return []; // e.g. an alias of nothing
  }
  if (!(root instanceof Map)) {
    if (root === null || doc.errors.length > 0) return [];
    throw new CliError(`error: ${config} must be a block of keys with a \`workers:\` list, and is something else`);
  }
  const list: unknown = root.get('workers') ?? root.get('modules');
  return Array.isArray(list) ? list.filter((row): row is ReadonlyMap<unknown, unknown> => row instanceof Map) : [];
}

function expanded(value: unknown, env: NodeJS.ProcessEnv): unknown {
  return typeof value === 'string'
    ? value.replace(
        /\$\{(\w+)(?::([^}]*))?\}/g,
        (_, name: string, fallback: string | undefined) => env[name] ?? fallback ?? '',
      )
    : value;
}

function readPort(value: unknown): number {
  const port = typeof value === 'string' && value !== '' ? Number(value) : value;
  return typeof port === 'number' && Number.isInteger(port) && port >= 0 && port <= 65_535 ? port : DEFAULT_PORT;
}

/** Hosts that the loopback address leads to as well. */
const ON_LOOPBACK: ReadonlySet<string> = new Set(['', '127.0.0.1', '0.0.0.0', '::']);

function readHost(value: unknown): string {
  return typeof value !== 'string' || ON_LOOPBACK.has(value) ? DEFAULT_HOST : value;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code !== 'EISDIR') throw error;
    throw new CliError(
      `error: ${path} is a folder, not a config file: name the file in it, e.g. ${join(path, 'config.yaml')}`,
      { cause: error },
    );
  }
}
