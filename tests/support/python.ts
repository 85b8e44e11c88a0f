import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { access, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Versions of what the requirements bring along. */
const CONSTRAINTS = join(import.meta.dirname, 'python-constraints.txt');
/** An index that does not answer fails the test, not the whole run. In milliseconds. */
const INSTALL_TIMEOUT_MS = 120_000;

/**
 * The Python of a virtual environment that has these requirements, and nothing but pinned versions of what
 * they bring along; made once per machine and text of the pins. It is made
 * aside and appears whole under its name, so several runs may ask at once: the first that is done wins,
 * and nobody ever sees half of one.
 *
 * @param cache - folder of the environments
 * @param constraints - file of the pins
 */
export async function pythonWith(
  requirements: readonly string[],
  cache = tmpdir(),
  constraints = CONSTRAINTS,
): Promise<string> {
  const lock = [...requirements, await readFile(constraints, 'utf8')].join('\n');
  const hash = createHash('sha256').update(lock).digest('hex').slice(0, 12);
  const folder = join(cache, `trine-tests-venv-${hash}`);
  const python = pythonOf(folder);
  if (await exists(python)) return python;
  const aside = `${folder}.${randomUUID()}`;
  try {
    await run('python3', ['-m', 'venv', aside]);
    const words = ['-m', 'pip', 'install', '--quiet', '-c', constraints, ...requirements];
    await run(pythonOf(aside), words, { timeout: INSTALL_TIMEOUT_MS });
    await rename(aside, folder);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    if (!(await exists(python))) throw error;
  }
  return python;
}

const pythonOf = (folder: string): string => join(folder, 'bin', 'python');

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
