/** `iii backup FILE`: a copy of the project's databases as they are at one moment, also while the engine runs. */
import { mkdir } from 'node:fs/promises';
import { basename, dirname, extname, relative, resolve } from 'node:path';
import { checkNativeModule } from '../start/native-module.js';
import { CliError, messageOf } from '../terminal/errors.js';
import { say } from '../terminal/output.js';
import { findDatabases } from './databases.js';

export interface BackupOptions {
  readonly configPath: string;
  readonly dataDir?: string;
}

/** @throws CliError when there is nothing to copy, or a copy is not sound */
export async function backup(target: string, options: BackupOptions): Promise<void> {
  checkNativeModule();
  const { backupDatabase, inspectDatabase, KNOWN_SCHEMAS, takeDataFolder } = await import('@trine/engine/storage');
  const { dataDir, files } = await findDatabases(options.configPath, options.dataDir);
  if (files.length === 0)
    throw new CliError(`error: there is no database in ${relative('', dataDir) || dataDir} to copy`);
  const giveBack = takeDataFolder(dataDir);
  try {
    await mkdir(dirname(resolve(target)), { recursive: true });
    for (const [index, file] of files.entries()) {
      // A log that nobody works on is looked at first: a copy without its last commits would seem whole.
      const log =
        giveBack === undefined
          ? undefined
          : inspectDatabase(file, { isRunning: false, schemas: KNOWN_SCHEMAS }).findings.find(
              ({ level, kind }) => level === 'bad' && kind === 'log',
            );
      if (log !== undefined) throw new CliError(`error: ${file}: ${log.message}: run \`iii doctor --repair\` first`);
      const path = resolve(index === 0 ? target : besides(target, file));
      const { bytes, rows } = backupDatabase(file, path);
      say(
        `${relative('', file) || file} -> ${relative('', path) || path}  (${bytes} bytes, ${rows} rows compared with their checksums)`,
      );
    }
  } catch (error) {
    throw error instanceof CliError ? error : new CliError(`error: ${messageOf(error)}`, { cause: error });
  } finally {
    giveBack?.();
  }
}

/** `backup.db` and `state_store.db` -> `backup-state_store.db`. */
function besides(target: string, file: string): string {
  const end = extname(target);
  return `${target.slice(0, target.length - end.length)}-${basename(file, extname(file))}${end === '' ? extname(file) : end}`;
}
