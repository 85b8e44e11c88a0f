/** `iii doctor`: looks at the files of a project; with `--repair` mends them. */
import { relative } from 'node:path';
import type { Inspection } from '@trine/engine/storage';
import { checkNativeModule } from '../start/native-module.js';
import { CliError, messageOf } from '../terminal/errors.js';
import { colors, print, say } from '../terminal/output.js';
import { findDatabases } from './databases.js';

export interface DoctorOptions {
  readonly configPath: string;
  readonly dataDir?: string;
  readonly repair?: boolean;
  readonly json?: boolean;
}

/**
 * @throws CliError (exit status 1) when something is wrong and was not mended
 */
export async function doctor(options: DoctorOptions): Promise<void> {
  checkNativeModule();
  const { inspectDatabase, repairDatabase, KNOWN_SCHEMAS, takeDataFolder } = await import('@trine/engine/storage');
  const { dataDir, files } = await findDatabases(options.configPath, options.dataDir);
  const giveBack = takeDataFolder(dataDir);
  const isRunning = giveBack === undefined;
  try {
    if (isRunning && options.repair === true)
      throw new CliError(`error: an engine is using ${shown(dataDir)}: stop it, then repair`);
    const inspect = (file: string): Inspection => inspectDatabase(file, { isRunning, schemas: KNOWN_SCHEMAS });
    const results = files.map((file) => ({
      before: inspect(file),
      done: [] as readonly string[],
      kept: '',
      after: undefined as Inspection | undefined,
    }));
    if (options.repair === true) {
      for (const result of results) {
        if (!result.before.findings.some(({ level, kind }) => level === 'bad' && kind !== 'schema')) continue;
        try {
          Object.assign(result, repairDatabase(result.before.file, new Date()));
          result.after = inspect(result.before.file);
        } catch (error) {
          const fix = 'the files are as they were: restore a backup';
          throw new CliError([
            `error: ${shown(result.before.file)} cannot be repaired`,
            `  cause: ${messageOf(error)}`,
            `  fix: ${fix}`,
          ]);
        }
      }
    }
    if (options.json === true) {
      print(
        `${JSON.stringify({ data_dir: dataDir, engine_running: isRunning, databases: results.map(toJson) }, null, 2)}\n`,
      );
    } else {
      say(
        isRunning
          ? `An engine is using ${shown(dataDir)}: its log is in motion and not looked at.`
          : `No engine is using ${shown(dataDir)}.`,
      );
      if (files.length === 0) say('There is no database yet.');
      for (const { before, done, kept, after } of results) {
        tell(before);
        for (const line of done) say(`  ${colors.green('repaired')}  ${line}`);
        if (kept !== '') say(`  the files as they were: ${shown(kept)}`);
        if (after !== undefined) tell(after);
      }
    }
    const wrong = results.reduce((sum, { before, after }) => sum + countBad(after ?? before), 0);
    if (wrong > 0) {
      const fix =
        options.repair === true
          ? 'restore a backup'
          : isRunning
            ? 'stop the engine, then run `iii doctor --repair`'
            : 'run `iii doctor --repair`';
      throw new CliError(`${wrong} ${wrong === 1 ? 'problem' : 'problems'} found: ${fix}`);
    }
    if (options.json !== true) say('Everything is sound.');
  } finally {
    giveBack?.();
  }
}

function tell({ file, bytes, rows, findings }: Inspection): void {
  const isSound = !findings.some(({ level }) => level === 'bad');
  say(
    `${isSound ? colors.green('ok') : colors.red('damaged')}  ${shown(file)}  (${bytes} bytes, ${rows} rows compared with their checksums)`,
  );
  for (const { level, kind, message } of findings)
    say(`  ${level === 'bad' ? colors.red(kind) : colors.yellow(kind)}  ${message}`);
}

function countBad({ findings }: Inspection): number {
  return findings.filter(({ level }) => level === 'bad').length;
}

function toJson({
  before,
  done,
  kept,
  after,
}: {
  before: Inspection;
  done: readonly string[];
  kept: string;
  after: Inspection | undefined;
}): unknown {
  return {
    ...(after ?? before),
    ...(after === undefined ? {} : { repaired: done, kept_in: kept, before: before.findings }),
  };
}

function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short === '' ? '.' : short.startsWith('..') ? path : short;
}
