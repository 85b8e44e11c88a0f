/** The database files of a project: the engine's own, and those that config.yaml names. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { readLocalProject } from '../worker/local-project.js';

/** Workers whose `file_path` is a file of the storage thread. */
const STORING: ReadonlySet<string> = new Set(['queue', 'state', 'stream', 'iii-queue', 'iii-state', 'iii-stream']);

export interface ProjectDatabases {
  readonly dataDir: string;
  /** Those that exist; the engine's own comes first. */
  readonly files: readonly string[];
}

export async function findDatabases(configPath: string, dataDir: string | undefined): Promise<ProjectDatabases> {
  const project = await readLocalProject(configPath);
  const folder = dirname(project.configPath);
  const data = resolve(folder, dataDir ?? 'data');
  const named = project.entries
    .filter(({ name }) => STORING.has(name))
    .flatMap(({ config }) => filePaths(config))
    .map((path) => resolve(folder, expand(path)));
  const files = [...new Set([join(data, 'engine.db'), ...named])].filter((file) => existsSync(file));
  return { dataDir: data, files };
}

function filePaths(value: unknown): string[] {
  if (!(value instanceof Map)) return [];
  return [...(value as ReadonlyMap<unknown, unknown>)].flatMap(([key, inner]) =>
    key === 'file_path' && typeof inner === 'string' ? [inner] : filePaths(inner),
  );
}

function expand(text: string): string {
  return text.replace(
    /\$\{(\w+)(?::([^}]*))?\}/g,
    (_, name: string, fallback: string | undefined) => process.env[name] ?? fallback ?? '',
  );
}
