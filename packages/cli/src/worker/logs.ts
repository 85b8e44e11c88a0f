/** `iii worker logs`: the last lines of what a local worker printed, and with `-f` what follows. */
import { stat } from 'node:fs/promises';
import { CliError } from '../terminal/errors.js';
import { print, say } from '../terminal/output.js';
import { readLocalProject, type LocalProject } from './local-project.js';
import { LogFollower, lastLines } from './log-follower.js';
import { findEngine, isRow, withOps } from './worker-ops.js';

/** Lines shown before following. */
const TAIL_LINES = 100;
/** How often a followed file is looked at, in milliseconds. */
const POLL_MS = 250;

export interface WorkerLogsOptions {
  readonly configPath: string;
  readonly follow?: boolean;
}

export async function workerLogs(name: string, options: WorkerLogsOptions): Promise<void> {
  const project = await readLocalProject(options.configPath);
  const files = { stderr: project.logFile(name, 'stderr'), stdout: project.logFile(name, 'stdout') };
  const hasLogs = (await exists(files.stderr)) || (await exists(files.stdout));
  if (!hasLogs && !(await isKnown(name, project))) {
    throw new CliError(`error: Worker '${name}' is not in config.yaml. Run \`iii worker list\` to see known workers.`);
  }
  if (!hasLogs && isBuiltIn(name, project)) {
    say(`${name} runs inside the engine: its lines are in the engine's own output`);
    return;
  }
  if (!hasLogs) {
    say(`No logs available for ${name} yet`);
    if (options.follow !== true) return;
  }
  const stderr = await lastLines(files.stderr, TAIL_LINES);
  const stdout = await lastLines(files.stdout, TAIL_LINES);
  process.stderr.write(stderr.text);
  print(stdout.text);
  if (options.follow === true)
    await follow(new LogFollower(files.stderr, stderr.place), new LogFollower(files.stdout, stdout.place));
}

/** Goes on until a signal ends the command. */
async function follow(stderr: LogFollower, stdout: LogFollower): Promise<never> {
  for (;;) {
    await stderr.read((chunk) => void process.stderr.write(chunk));
    await stdout.read((chunk) => void process.stdout.write(chunk));
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function isBuiltIn(name: string, project: LocalProject): boolean {
  return project.entries.some((entry) => entry.name === name && entry.workerPath === undefined);
}

async function isKnown(name: string, project: LocalProject): Promise<boolean> {
  if (project.entries.some((entry) => entry.name === name)) return true;
  const engine = await findEngine(project);
  if (engine === undefined) return false;
  const rows = await withOps(engine, (ops) => ops.list('worker::list', { running_only: false }, 'workers'));
  return rows.some((row) => isRow(row) && row['name'] === name);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.size > 0,
    () => false,
  );
}
