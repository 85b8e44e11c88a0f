/** The files `config/<id>.yaml`: settings of one worker each, under `value:`. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where such files are, relative to config.yaml, unless the `configuration` worker says otherwise. */
export const DEFAULT_CONFIG_FOLDER = './config';

/** What may stand before `.yaml`. Nothing that could lead out of the folder. */
export const CONFIGURATION_ID = /^[a-z0-9_-]{1,64}$/;

export interface FolderFile {
  readonly path: string;
  readonly text: string;
}

/** The folder's files by id; empty when there is no such folder. */
export function readConfigFolder(folder: string): Map<string, FolderFile> {
  const files = new Map<string, FolderFile>();
  for (const name of namesIn(folder)) {
    const id = name.endsWith('.yaml') ? name.slice(0, -'.yaml'.length) : '';
    if (!CONFIGURATION_ID.test(id)) continue;
    const path = join(folder, name);
    files.set(id, { path, text: readFileSync(path, 'utf8') });
  }
  return files;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}
