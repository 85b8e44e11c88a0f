/**
 * The commands and their options. Each action loads its own code, so that `iii trigger` does not
 * pay for the engine.
 */
import { Command, CommanderError, Option } from 'commander';
import { CliError, messageOf, notInThisVersion, USAGE_EXIT } from './terminal/errors.js';
import { nearest } from './terminal/nearest.js';
import { say } from './terminal/output.js';
import { CLI_VERSION } from './version.js';
import type { StartOptions } from './start/start.js';
import type { TriggerOptions } from './trigger/options.js';
import type { ProjectInitOptions } from './project/project-init.js';
import type { WorkerInitOptions } from './worker/worker-init.js';
import type { WorkerAddOptions } from './worker/add-options.js';

export const DEFAULT_CONFIG = 'config.yaml';

/** Commands of the reference that this version does not have. */
const NOT_BUILT = ['update', 'cloud', 'console', 'compose'];
const NOT_BUILT_WORKER = ['reinstall', 'update', 'clear', 'sync', 'verify', 'exec', 'sandbox'];

/**
 * Runs the command line.
 *
 * @param words - what was typed after the program's name
 * @returns the exit status: 0 done, 1 failed, 2 typed wrongly
 */
export async function runProgram(program: Command, words: readonly string[]): Promise<number> {
  try {
    await program.parseAsync(words, { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE_EXIT;
    if (error instanceof CliError) {
      for (const line of error.lines) say(line);
      return error.exitCode;
    }
    say(`Error: ${messageOf(error)}`);
    return 1;
  }
}

export function createProgram(): Command {
  const program = new Command('iii')
    .description('Trine: an open, self-hosted engine for the iii worker protocol')
    .version(CLI_VERSION, '-v, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .enablePositionalOptions()
    .exitOverride()
    .argument('[command]')
    .usage('[options] [command]')
    .addOption(new Option('-c, --config <CONFIG>', `configuration of the engine (default: "${DEFAULT_CONFIG}")`))
    .addOption(
      new Option('--use-default-config', 'start with http, state, queue and pubsub, without a file').conflicts(
        'config',
      ),
    )
    .addOption(new Option('--no-update-check', 'accepted for compatibility: nothing is ever looked up'))
    .allowExcessArguments(true)
    .action(async (word: string | undefined, options: StartOptions) => {
      if (word !== undefined) unknownCommand(program, word);
      const { start } = await import('./start/start.js');
      await start(options);
    });
  addTrigger(program);
  addProject(program);
  addWorker(program);
  addStorage(program);
  program
    .command('help')
    .description('show the help of a command')
    .argument('[command...]')
    .action(async (words: string[]) => {
      if (words[0] !== undefined && !known(program).includes(words[0])) unknownCommand(program, words[0]);
      await createProgram().parseAsync([...words, '--help'], { from: 'user' });
    });
  for (const name of NOT_BUILT) addNotBuilt(program, name, `iii ${name}`);
  return program;
}

function addTrigger(program: Command): void {
  program
    .command('trigger')
    .alias('t')
    .summary('call a function of a running engine')
    .helpOption(false)
    .argument('[words...]')
    .addOption(new Option('--json <JSON>').conflicts('payload'))
    .option('--payload <JSON>')
    .option('--function-id <ID>')
    .option('--address <HOST>')
    .option('--port <PORT>')
    .option('--timeout-ms <MS>')
    .option('-n, --namespace <NS>')
    .option('--print-null')
    .option('-h, --help')
    .action(async (words: string[], options: TriggerOptions) => {
      const { trigger } = await import('./trigger/trigger.js');
      await trigger(words, { ...options, configPath: configPath(program) });
    });
}

function addProject(program: Command): void {
  const project = program.command('project').description('create projects');
  project
    .command('init')
    .description('create a project: config.yaml, .gitignore and .iii/project.ini')
    .argument('[name]', 'folder to create; the current one when left out')
    .option('-d, --directory <DIR>', 'folder of the project')
    .option('-t, --template <TEMPLATE>', 'only "bare" in this version')
    .option('--docker', 'not in this version')
    .option('--template-dir <PATH>', 'not in this version')
    .option('--skip-iii', 'accepted for compatibility')
    .option('--allow-non-empty', 'use a folder that has other files')
    .action(async (name: string | undefined, options: ProjectInitOptions) => {
      const { projectInit } = await import('./project/project-init.js');
      await projectInit(name, options);
    });
  addNotBuilt(project, 'generate-docker', 'iii project generate-docker');
}

function addWorker(program: Command): void {
  const worker = program.command('worker').description('create, add and run workers');
  worker
    .command('init')
    .description('create a worker: a manifest and a first function')
    .argument('[name]', 'name of the worker and of the folder to create')
    .option('-l, --language <LANGUAGE>', 'typescript (ts), javascript (js) or python (py)')
    .option('-d, --directory <DIR>', 'folder of the worker')
    .option('--template-dir <PATH>', 'not in this version')
    .option('--skip-iii', 'accepted for compatibility')
    .option('--allow-non-empty', 'use a folder that has other files')
    .action(async (name: string | undefined, options: Omit<WorkerInitOptions, 'configPath'>) => {
      const { workerInit } = await import('./worker/worker-init.js');
      await workerInit(name, { ...options, configPath: configPath(program) });
    });
  worker
    .command('add')
    .description('add built-in workers by name and local ones by path')
    .argument('<workers...>')
    .option('-f, --force', 'replace the entry, install again')
    .option('--reset-config', 'with --force: forget the present config block')
    .option('--no-wait', 'do not wait until a local worker is ready')
    .option('--host <HOST[:PORT]>', 'ask the engine at this address')
    .option('-y, --yes', 'accepted for compatibility')
    .action(async (workers: string[], options: WorkerAddOptions) => {
      const { workerAdd } = await import('./worker/add.js');
      await workerAdd(workers, { ...options, configPath: configPath(program) });
    });
  worker
    .command('remove')
    .description('take workers out of config.yaml')
    .argument('<workers...>')
    .option('-y, --yes', 'do not ask')
    .action(async (workers: string[], options: { readonly yes?: boolean }) => {
      const { workerRemove } = await import('./worker/remove.js');
      await workerRemove(workers, { ...options, configPath: configPath(program) });
    });
  worker
    .command('list')
    .description('show all workers')
    .option('--json', 'as JSON on stdout')
    .action(async (options: { readonly json?: boolean }) => {
      const { workerList } = await import('./worker/list.js');
      await workerList({ ...options, configPath: configPath(program) });
    });
  worker
    .command('status')
    .description('show one worker')
    .argument('<worker>')
    .option('--no-watch', 'show it once')
    .option('--json', 'once, as JSON on stdout')
    .action(async (name: string, options: { readonly watch: boolean; readonly json?: boolean }) => {
      const { workerStatus } = await import('./worker/status.js');
      await workerStatus(name, { ...options, configPath: configPath(program) });
    });
  for (const verb of ['start', 'restart'] as const) {
    worker
      .command(verb)
      .description(`${verb} a local worker`)
      .argument('<worker>')
      .option('--no-wait', 'do not wait until it is ready')
      .option('--port <PORT>', 'worker port of the engine')
      .option('--config <PATH>', 'config.yaml of the project')
      .action(
        async (name: string, options: { readonly wait: boolean; readonly port?: string; readonly config?: string }) => {
          const { workerStart } = await import('./worker/start-stop.js');
          await workerStart(name, verb, { ...options, configPath: options.config ?? configPath(program) });
        },
      );
  }
  worker
    .command('stop')
    .description('stop a local worker until it, or the engine, is started again')
    .argument('<worker>')
    .option('-y, --yes', 'accepted for compatibility')
    .action(async (name: string) => {
      const { workerStop } = await import('./worker/start-stop.js');
      await workerStop(name, { configPath: configPath(program) });
    });
  worker
    .command('logs')
    .description('show what a local worker printed')
    .argument('<worker>')
    .option('-f, --follow', 'go on showing new lines')
    .action(async (name: string, options: { readonly follow?: boolean }) => {
      const { workerLogs } = await import('./worker/logs.js');
      await workerLogs(name, { ...options, configPath: configPath(program) });
    });
  for (const name of NOT_BUILT_WORKER) addNotBuilt(worker, name, `iii worker ${name}`);
}

function addStorage(program: Command): void {
  program
    .command('doctor')
    .description('check the files of the project: structure, checksums, log')
    .option('--repair', 'mend what is damaged; the files are kept as they were')
    .option('--data-dir <DIR>', 'data folder (default: "data" beside the configuration)')
    .option('--json', 'as JSON on stdout')
    .action(async (options: { readonly repair?: boolean; readonly dataDir?: string; readonly json?: boolean }) => {
      const { doctor } = await import('./storage/doctor.js');
      await doctor({ ...options, configPath: configPath(program) });
    });
  program
    .command('backup')
    .description('copy the databases of the project, also while the engine runs')
    .argument('<file>', 'where the copy goes; must not exist')
    .option('--data-dir <DIR>', 'data folder (default: "data" beside the configuration)')
    .action(async (file: string, options: { readonly dataDir?: string }) => {
      const { backup } = await import('./storage/backup.js');
      await backup(file, { ...options, configPath: configPath(program) });
    });
}

/** `-c` before the subcommand, else `III_CONFIG_PATH`, else config.yaml here. */
function configPath(program: Command): string {
  return program.opts<StartOptions>().config ?? (process.env['III_CONFIG_PATH'] || DEFAULT_CONFIG);
}

function addNotBuilt(parent: Command, name: string, what: string): void {
  parent
    .command(name, { hidden: true })
    .helpOption(false)
    .argument('[words...]')
    .allowUnknownOption(true)
    .action(() => {
      throw notInThisVersion(`\`${what}\``);
    });
}

/** All commands that this version has, by name and alias. */
function known(program: Command): string[] {
  return program.commands
    .flatMap((command) => [command.name(), ...command.aliases()])
    .filter((name) => !NOT_BUILT.includes(name));
}

function unknownCommand(program: Command, word: string): never {
  const suggestion = nearest(
    word,
    known(program).filter((name) => name.length > 1),
  );
  const lines = [
    `error: unknown command '${word}'${suggestion === undefined ? '' : ` (did you mean '${suggestion}'?)`}`,
  ];
  throw new CliError([...lines, "For more information, try '--help'."], { exitCode: USAGE_EXIT });
}
