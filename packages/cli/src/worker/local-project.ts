/**
 * The project as its files show it, for commands that may run without an engine. Reads config.yaml
 * leniently: what is wrong in it is for the engine, or for the edit, to say.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { DEFAULT_PORT } from '../client/address.js';

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
  logFile(name: string, stream: 'stdout' | 'stderr'): string;
}

export async function readLocalProject(config: string, env: NodeJS.ProcessEnv = process.env): Promise<LocalProject> {
  const configPath = resolve(config);
  const text = await readText(configPath);
  const rows = text === undefined ? [] : workerRows(text);
  const entries = rows.flatMap((row) => {
    const name = row.get('name');
    const path = row.get('worker_path');
    return typeof name === 'string'
      ? [{ name, workerPath: typeof path === 'string' ? path : undefined, config: row.get('config') }]
      : [];
  });
  const manager = rows.find((row) => MANAGER.has(row.get('name')))?.get('config');
  return {
    configPath,
    hasConfig: text !== undefined,
    entries,
    port: readPort(manager instanceof Map ? (manager as ReadonlyMap<unknown, unknown>).get('port') : undefined, env),
    logFile: (name, stream) => join(dirname(configPath), '.iii', 'logs', name, `${stream}.log`),
  };
}

function workerRows(text: string): ReadonlyMap<unknown, unknown>[] {
  let root: unknown;
  try {
    root = parseDocument(text).toJS({ mapAsMap: true });
  } catch {
    return []; // e.g. an alias of nothing
  }
  if (!(root instanceof Map)) return [];
  const list: unknown = root.get('workers') ?? root.get('modules');
  return Array.isArray(list) ? list.filter((row): row is ReadonlyMap<unknown, unknown> => row instanceof Map) : [];
}

function readPort(value: unknown, env: NodeJS.ProcessEnv): number {
  const expanded =
    typeof value === 'string'
      ? value.replace(
          /\$\{(\w+)(?::([^}]*))?\}/g,
          (_, name: string, fallback: string | undefined) => env[name] ?? fallback ?? '',
        )
      : value;
  const port = typeof expanded === 'string' && expanded !== '' ? Number(expanded) : expanded;
  return typeof port === 'number' && Number.isInteger(port) && port >= 0 && port <= 65_535 ? port : DEFAULT_PORT;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
