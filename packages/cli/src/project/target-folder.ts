/** Folders that `init` writes into: never over anything that is there. */
import { access, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { messageOf, problem } from '../terminal/errors.js';

/** Most names told of a folder that is not empty. */
const MAX_NAMES_TOLD = 5;

export interface TargetOptions {
  readonly name: string | undefined;
  readonly directory?: string | undefined;
  readonly allowNonEmpty?: boolean | undefined;
  /** A file whose presence means that this folder was initialised before, e.g. `.iii/project.ini`. */
  readonly marker: string;
}

/**
 * Resolves and creates the folder: `--directory`, else the name, else the working folder.
 *
 * @throws CliError in the three-line form
 */
export async function openTarget(options: TargetOptions): Promise<string> {
  const given = options.directory ?? options.name;
  if (given !== undefined && given.trim() === '') {
    throw problem(
      'could not resolve target directory',
      'directory argument cannot be empty',
      'pass the name of a folder, or nothing for this one',
    );
  }
  const folder = resolve(given ?? '.');
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    const isFile =
      (error as NodeJS.ErrnoException).code === 'EEXIST' || (error as NodeJS.ErrnoException).code === 'ENOTDIR';
    throw problem(
      `could not create ${folder}`,
      isFile ? 'a file is in its place' : messageOf(error),
      'choose another folder, or change its permissions',
    );
  }
  if (options.allowNonEmpty === true || (await exists(join(folder, options.marker)))) return folder;
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
  if (names.length > 0) {
    const more = names.length > MAX_NAMES_TOLD ? `, and ${names.length - MAX_NAMES_TOLD} more` : '';
    throw problem(
      'target directory is not empty',
      `${folder} contains ${names.slice(0, MAX_NAMES_TOLD).join(', ')}${more}`,
      'choose an empty folder, or pass --allow-non-empty (files that exist are kept)',
    );
  }
  return folder;
}

/** Writes the files that are absent; what exists stays as it is. */
export async function writeAbsent(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  for (const [path, text] of files) {
    const target = join(folder, path);
    try {
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, text, { flag: 'wx' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST' && (await isFile(target))) continue;
      throw problem(`could not write ${path}`, messageOf(error), `check the permissions of ${folder}`);
    }
  }
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
