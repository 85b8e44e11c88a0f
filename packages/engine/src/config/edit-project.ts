import { readFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { toErrorBody } from '@trine/protocol';
import { writeAtomically } from './atomic-write.js';
import type { Catalog } from './catalog.js';
import { ConfigError, type ConfigFault } from './errors.js';
import { withFileLock } from './file-lock.js';
import { parseProject } from './parse.js';
import { ProjectEditor } from './project-editor.js';

export interface EditProjectOptions {
  /** Of config.yaml. */
  readonly path: string;
  readonly catalog: Catalog;
  readonly env: NodeJS.ProcessEnv;
}

/** What an edit did to a file. */
export interface WrittenEdit {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

/**
 * Edits a config.yaml without opening it as a project, so that a file with faults can be mended too.
 *
 * @returns what was written, or undefined when nothing changed
 * @throws ConfigError when the file is missing or no YAML, an edit cannot be made, or would bring a
 *   fault into the file that is not there already
 */
export async function editProject(
  options: EditProjectOptions,
  change: (editor: ProjectEditor) => void,
): Promise<WrittenEdit | undefined> {
  const path = resolve(options.path);
  await readProjectText(path, options.path); // before a lock file is left beside a file that is not there
  return withFileLock(path, async () => {
    const before = await readProjectText(path, options.path);
    const editor = new ProjectEditor({
      text: before,
      folder: dirname(path),
      label: basename(path),
      catalog: options.catalog,
    });
    change(editor);
    const after = editor.text;
    if (after === before) return undefined;
    const present = new Set(faultsOf(options, path, before).map((fault) => fault.message));
    const brought = faultsOf(options, path, after).filter((fault) => !present.has(fault.message));
    if (brought.length > 0) throw new ConfigError(brought);
    await writeAtomically(path, after);
    return { path, before, after };
  });
}

function faultsOf({ catalog, env }: EditProjectOptions, file: string, text: string): readonly ConfigFault[] {
  try {
    parseProject({ file, text, catalog, env });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

/**
 * @param shown - the path as the user gave it
 * @throws ConfigError saying what to do when it cannot be read
 */
export async function readProjectText(path: string, shown: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    let message = `Failed to read config file '${shown}': ${toErrorBody(error).message}`;
    if (code === 'ENOENT') {
      message = `Config file not found: '${shown}'.\nHint: create a config.yaml or pass --use-default-config to run with defaults.`;
    } else if (code === 'EISDIR') {
      message = `'${shown}' is a folder, not a config file: name the file in it, e.g. '${join(shown, 'config.yaml')}'.`;
    }
    throw new ConfigError([{ file: '', line: undefined, message }], { cause: error });
  }
}
