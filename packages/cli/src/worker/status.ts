/** `iii worker status`: a small panel on stderr; on a terminal it is redrawn until the worker is ready. */
import { stat } from 'node:fs/promises';
import { CliError } from '../terminal/errors.js';
import { colors, harmless, print, say } from '../terminal/output.js';
import { lastWords } from './last-words.js';
import { readLocalProject, type LocalProject } from './local-project.js';
import { asText, findEngine, withOps, type Row, type WorkerOps } from './worker-ops.js';

/** How often the panel is redrawn, in milliseconds. */
const REDRAW_MS = 500;
/** Longest log line shown in the panel, in characters. */
const MAX_TAIL_CHARS = 120;

export interface WorkerStatusOptions {
  readonly configPath: string;
  readonly watch: boolean;
  readonly json?: boolean;
}

interface Panel {
  readonly lines: readonly string[];
  /** `settled`: nothing more will change by itself. */
  readonly outcome: 'ready' | 'progress' | 'failed';
}

export async function workerStatus(name: string, options: WorkerStatusOptions): Promise<void> {
  const project = await readLocalProject(options.configPath);
  const engine = await findEngine(project);
  if (engine === undefined) {
    if (options.json === true)
      print(
        `${JSON.stringify({ name, engine: false, installed: isListed(name, project), running: false }, null, 2)}\n`,
      );
    else (await panelWithoutEngine(name, project)).lines.forEach((line) => say(line));
    process.exitCode = 1;
    return;
  }
  const outcome = await withOps(engine, (ops) =>
    options.json === true ? printJson(name, ops) : show(name, ops, options.watch),
  );
  if (outcome === 'failed') process.exitCode = 1;
}

async function printJson(name: string, ops: WorkerOps): Promise<Panel['outcome']> {
  const row = await ops.call('worker::status', { name });
  print(`${JSON.stringify(row, null, 2)}\n`);
  return panel(name, row).outcome;
}

async function show(name: string, ops: WorkerOps, watch: boolean): Promise<Panel['outcome']> {
  let drawn = 0;
  for (;;) {
    const { lines, outcome } = panel(name, await ops.call('worker::status', { name }));
    // Over the panel before: up to its first line, and clear from there.
    if (drawn > 0) process.stderr.write(`\u001b[${drawn}A\u001b[J`);
    lines.forEach((line) => say(line));
    drawn = lines.length;
    if (outcome !== 'progress' || !watch || !process.stderr.isTTY) return outcome;
    await new Promise((resolve) => setTimeout(resolve, REDRAW_MS));
  }
}

function panel(name: string, row: Row): Panel {
  const installed = row['installed'] === true;
  const status = asText(row['status']) ?? (row['running'] === true ? 'running' : 'stopped');
  const pid = asText(row['pid']);
  const isBuiltIn = row['worker_type'] === 'builtin';
  const path = asText(row['worker_path']);
  const rows: [string, string | undefined][] = [
    ['engine', 'running'],
    [
      'config',
      installed
        ? `present type=${isBuiltIn ? 'builtin' : 'local'}${path === undefined ? '' : ` (${path})`}`
        : 'missing (add with `iii worker add <path-or-name>`)',
    ],
    ['process', isBuiltIn ? 'inside the engine' : pid === undefined ? 'not started' : `alive pid=${pid}`],
    ['worker', status === 'running' ? 'registered (connected to engine)' : `not registered (${status})`],
    ['logs', isBuiltIn ? undefined : `tail with \`iii worker logs ${name} -f\``],
    ['tail', status === 'running' ? undefined : lastLine(row['stderr_tail'])],
    ['hint', asText(row['hint'])],
  ];
  const outcome =
    !installed || status === 'failed' ? 'failed' : status === 'running' || status === 'stopped' ? 'ready' : 'progress';
  return { lines: layout(headline(name, installed, status, pid), rows), outcome };
}

function headline(name: string, installed: boolean, status: string, pid: string | undefined): string {
  if (!installed) return `${colors.red('✗')} ${name} not in config.yaml`;
  const suffix = pid === undefined ? '' : ` (pid ${pid})`;
  switch (status) {
    case 'running':
      return `${colors.green('✓')} ${name} ready${suffix}`;
    case 'failed':
      return `${colors.red('✗')} ${name} failed`;
    case 'stopped':
      return `■ ${name} stopped`;
    case 'installing':
      return `⟳ ${name} installing dependencies`;
    case 'backing-off':
      return `⟳ ${name} ended, will be started again`;
    default:
      return `⟳ ${name} ${status}${suffix}`;
  }
}

async function panelWithoutEngine(name: string, project: LocalProject): Promise<Panel> {
  const listed = isListed(name, project);
  const logs = await stat(project.logFile(name, 'stdout')).then(
    () => `available (tail with \`iii worker logs ${name}\`)`,
    () => 'none yet',
  );
  if (!listed && !project.hasConfig) throw new CliError(`error: there is no ${project.configPath}`);
  const path = project.entries.find((entry) => entry.name === name)?.workerPath;
  return {
    lines: layout(
      listed
        ? `${colors.yellow('⚠')} engine not running (start it with \`iii\`)`
        : headline(name, false, '', undefined),
      [
        ['engine', 'stopped (run `iii` in another terminal)'],
        [
          'config',
          listed
            ? `present type=${path === undefined ? 'builtin' : `local (${path})`}`
            : 'missing (add with `iii worker add <path-or-name>`)',
        ],
        ['process', 'not started'],
        ['logs', logs],
      ],
    ),
    outcome: 'failed',
  };
}

function isListed(name: string, project: LocalProject): boolean {
  return project.entries.some((entry) => entry.name === name);
}

function layout(head: string, rows: readonly (readonly [string, string | undefined])[]): string[] {
  const lines = rows.flatMap(([label, value]) =>
    value === undefined ? [] : [`${`${label}:`.padStart(12)}  ${harmless(value)}`],
  );
  return ['', `  ${head}`, '', ...lines, ''];
}

function lastLine(tail: unknown): string | undefined {
  const [last] = lastWords(tail, 1);
  return last === undefined ? undefined : harmless(last).slice(0, MAX_TAIL_CHARS);
}
