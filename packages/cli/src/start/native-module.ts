/**
 * better-sqlite3 has a native part that its install script fetches or compiles. An npm that skips
 * install scripts leaves it out, and all that SQLite says then is a stack trace.
 */
import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CliError } from '../terminal/errors.js';

const NATIVE = 'better-sqlite3';

/** @throws CliError naming the command that mends it, when SQLite cannot be loaded */
export function checkNativeModule(engineModuleUrl: string = import.meta.resolve('@trine/engine')): void {
  const require = createRequire(fileURLToPath(engineModuleUrl));
  try {
    const Database = require(NATIVE) as new (path: string) => { close(): void };
    new Database(':memory:').close();
  } catch (error) {
    const [reason = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    const folder = locate(require);
    throw new CliError(
      [
        `Error: the native part of ${NATIVE} is missing or does not fit this Node (${process.version}): ${reason.replace(/(\.\s*Tried:|\.)$/, '')}.`,
        `Mend it with: ${mendCommand(folder)}`,
        // Newer npms run no install script that was not approved, `rebuild` included; naming the script counts as approval.
        ...(folder === undefined
          ? []
          : [`or, where npm blocks install scripts: npm run install --prefix ${quoted(folder)}`]),
      ],
      { cause: error },
    );
  }
}

function locate(require: NodeJS.Require): string | undefined {
  try {
    return dirname(require.resolve(`${NATIVE}/package.json`));
  } catch {
    return undefined;
  }
}

/**
 * The command that builds the native part where it is installed.
 *
 * @param folder - the installed package; undefined when there is none
 */
export function mendCommand(folder: string | undefined): string {
  if (folder === undefined) return `npm install ${NATIVE} (in the folder where the command is installed)`;
  const parts = folder.split(sep);
  const root = parts.slice(0, parts.indexOf('node_modules')).join(sep) || sep;
  if (parts.includes('.pnpm')) return `pnpm --dir ${quoted(root)} rebuild ${NATIVE}`;
  const script = `${NATIVE} --ignore-scripts=false`;
  const isGlobal = process.platform === 'win32' ? root.endsWith(`${sep}npm`) : root.endsWith(`${sep}lib`);
  if (!isGlobal) return `npm rebuild --prefix ${quoted(root)} ${script}`;
  const prefix = process.platform === 'win32' ? root : dirname(root);
  const isDefaultPrefix = process.execPath === join(prefix, 'bin', 'node');
  return `npm rebuild -g${isDefaultPrefix ? '' : ` --prefix ${quoted(prefix)}`} ${script}`;
}

function quoted(path: string): string {
  return /^[\w@%+=:,./\\-]+$/.test(path) ? path : `'${path}'`;
}
