/** `iii` in a folder without config.yaml: offers to create one. */
import { access, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { CliError, messageOf } from '../terminal/errors.js';
import { say } from '../terminal/output.js';

const EMPTY_CONFIG = `# iii engine configuration.
# Add workers with \`iii worker add <name>\`: a running engine picks up every save of this file.
# What runs can also be configured through the function \`configuration::set\`.
workers: []
`;

/**
 * Makes sure that the file is there: asks on a terminal, creates it without asking elsewhere.
 *
 * @param path - as typed, relative to the working folder
 * @throws CliError when the person says no or the file cannot be written
 */
export async function ensureConfig(path: string): Promise<void> {
  if (await exists(path)) return;
  if (
    process.stdin.isTTY &&
    process.stderr.isTTY &&
    !(await confirm(`No ${path} found in ${process.cwd()}. Create it and start the engine? [Y/n] `))
  ) {
    throw new CliError(
      'Aborted. Run `iii` from your project directory, or pass --config <path> to an existing config file.',
    );
  }
  try {
    await writeFile(path, EMPTY_CONFIG, { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return; // someone else made it meanwhile
    const hint = (await exists(dirname(resolve(path)))) ? '' : ` The folder ${dirname(resolve(path))} does not exist.`;
    throw new CliError(`Error: no ${path} found, and it could not be created: ${messageOf(error)}.${hint}`, {
      cause: error,
    });
  }
  say(`Created ${path}. Add workers with \`iii worker add <name>\` — the engine picks them up live.`);
}

/** Enter and `y` are yes. */
export async function confirm(question: string, enterMeans = true): Promise<boolean> {
  const readline = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<string>((resolve) => readline.once('close', () => resolve('n')));
  try {
    const answer = (await Promise.race([readline.question(question), closed])).trim().toLowerCase();
    return answer === '' ? enterMeans : answer === 'y' || answer === 'yes';
  } finally {
    readline.close();
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
