/** `iii worker remove`. Folders stay; only the entries go. */
import { confirm } from '../start/missing-config.js';
import { CliError } from '../terminal/errors.js';
import { colors, say } from '../terminal/output.js';
import { readLocalProject, type LocalProject } from './local-project.js';
import { findEngine, LONG_TIMEOUT_MS, withOps } from './worker-ops.js';

export interface WorkerRemoveOptions {
  readonly configPath: string;
  readonly yes?: boolean;
}

export async function workerRemove(names: readonly string[], options: WorkerRemoveOptions): Promise<void> {
  const project = await readLocalProject(options.configPath);
  if (project.hasConfig) for (const name of names) checkKnown(name, project);
  if (options.yes !== true) {
    if (!process.stdin.isTTY) throw new CliError('error: remove is destructive; pass -y/--yes for non-interactive use');
    if (!(await confirm(`Remove worker(s) '${names.join(', ')}'? [y/N] `, false))) throw new CliError('Aborted.');
  }
  const engine = await findEngine(project);
  for (const name of names) say(`  • removing ${name}`);
  if (engine !== undefined) {
    await withOps(engine, (ops) => ops.call('worker::remove', { names, yes: true }, LONG_TIMEOUT_MS));
  } else {
    const { editProject, staticCatalog } = await import('@trine/engine/config');
    await editProject({ path: project.configPath, catalog: staticCatalog(), env: process.env }, (editor) => {
      for (const name of names) editor.removeWorker(name);
    });
  }
  for (const name of names) say(`  ${colors.green('✓')} ${name} removed from config.yaml`);
}

function checkKnown(name: string, project: LocalProject): void {
  if (project.entries.some((entry) => entry.name === name)) return;
  throw new CliError(`error: Worker '${name}' is not in config.yaml. Run \`iii worker list\` to see known workers.`);
}
