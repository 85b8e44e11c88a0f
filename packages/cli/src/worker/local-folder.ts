/** Reads a worker's folder far enough to name it; all else of its manifest is checked when it starts. */
import { readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseDocument } from 'yaml';
import { CliError, messageOf } from '../terminal/errors.js';
import { checkWorkerName } from './worker-name.js';

const MANIFEST = 'iii.worker.yaml';
const PROJECT_FILES = ['package.json', 'Cargo.toml', 'pyproject.toml', 'requirements.txt'];

/** @throws CliError when there is no such folder, or nothing in it is a worker */
export async function localWorkerName(folder: string, typed: string): Promise<string> {
  const found = await stat(folder).catch((error: unknown) => error);
  if (found instanceof Error) {
    const why = (found as NodeJS.ErrnoException).code === 'ENOENT' ? `there is no ${folder}` : messageOf(found);
    throw new CliError(`error: Cannot resolve path '${typed}': ${why}`, { cause: found });
  }
  if (!(found as { isDirectory(): boolean }).isDirectory()) throw new CliError(`error: '${typed}' is not a directory`);
  const manifest = await readText(join(folder, MANIFEST));
  if (manifest === undefined && !(await hasAny(folder, PROJECT_FILES))) {
    throw new CliError([
      `error: No project manifest detected in '${typed}'.`,
      `  Expected one of: ${[MANIFEST, ...PROJECT_FILES.slice(0, 3)].join(', ')}`,
    ]);
  }
  const name = manifest === undefined ? basename(folder) : manifestName(manifest, typed);
  checkWorkerName(name);
  return name;
}

function manifestName(text: string, typed: string): string {
  const document = parseDocument(text);
  const [fault] = document.errors;
  const path = join(typed, MANIFEST);
  if (fault !== undefined) throw new CliError(`error: ${path}: ${fault.message.split('\n')[0] ?? 'is not YAML'}`);
  const name: unknown = document.get('name');
  if (typeof name !== 'string' || name === '') throw new CliError(`error: ${path}: \`name\` is missing`);
  return name;
}

async function hasAny(folder: string, names: readonly string[]): Promise<boolean> {
  for (const name of names) {
    if (
      await stat(join(folder, name)).then(
        () => true,
        () => false,
      )
    ) {
      return true;
    }
  }
  return false;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
