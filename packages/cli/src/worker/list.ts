/** `iii worker list`: a table on stderr, or `--json` on stdout. */
import { dirname } from 'node:path';
import { harmless, print, say } from '../terminal/output.js';
import { readLocalProject } from './local-project.js';
import { asText, findEngine, withOps, type Row } from './worker-ops.js';

export interface WorkerListOptions {
  readonly configPath: string;
  readonly json?: boolean;
}

export async function workerList(options: WorkerListOptions): Promise<void> {
  const project = await readLocalProject(options.configPath);
  const engine = await findEngine(project);
  const rows: Row[] =
    engine === undefined
      ? project.entries.map(({ name }) => ({ name, version: null, running: false, status: 'stopped', pid: null }))
      : await withOps(engine, (ops) => ops.list('worker::list', { running_only: false }, 'workers'));
  if (options.json === true) {
    print(`${JSON.stringify(rows, null, 2)}\n`);
    return;
  }
  if (!project.hasConfig) {
    const shown = engine === undefined ? 'make a project with `iii project init`' : `these are of ${engine.url}`;
    say(`note: no config file in ${dirname(project.configPath)}: ${shown}`);
  }
  if (rows.length === 0) {
    say('  No workers. Use `iii worker add` to get started.');
    return;
  }
  say();
  say(line('NAME', 'VERSION', 'PID', 'STATUS'));
  say(line('----', '-------', '---', '------'));
  for (const row of rows) {
    const status = asText(row['status']) ?? (row['running'] === true ? 'running' : 'stopped');
    say(line(cell(row['name']), cell(row['version']), cell(row['pid']), harmless(status)));
  }
  say();
}

function cell(value: unknown): string {
  return harmless(asText(value) ?? '-');
}

function line(name: string, version: string, pid: string, status: string): string {
  return `  ${name.padEnd(25)} ${version.padEnd(10)} ${pid.padEnd(10)} ${status}`;
}
