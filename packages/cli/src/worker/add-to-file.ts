/** Adding without an engine: an entry in config.yaml, which the next start of the engine takes. */
import { editProject, staticCatalog, type Catalog, type ProjectEditor } from '@trine/engine/config';
import { CliError } from '../terminal/errors.js';
import { nearest } from '../terminal/nearest.js';
import { colors, say } from '../terminal/output.js';
import {
  alreadyAdded,
  pathHint,
  sayAdded,
  sayAlreadyThere,
  type LocalSource,
  type Source,
  type WorkerAddOptions,
} from './add-options.js';
import { localWorkerName } from './local-folder.js';
import type { LocalProject } from './local-project.js';

type AddOptions = Pick<WorkerAddOptions, 'force' | 'resetConfig' | 'wait'>;

export async function addToFile(source: Source, project: LocalProject, options: AddOptions): Promise<void> {
  const catalog = staticCatalog();
  if (source.kind === 'local') return addFolder(source, project, catalog, options);
  checkBuiltIn(source.name, catalog);
  await addBuiltIn(source.name, project, catalog, options);
}

function checkBuiltIn(name: string, catalog: Catalog): void {
  const missing = catalog.notBuilt(name);
  if (missing !== undefined) throw new CliError(`error: ${missing}`);
  if (catalog.find(name) !== undefined) return;
  const suggestion = nearest(name, catalog.names());
  const hint = suggestion === undefined ? '' : ` (did you mean '${suggestion}'?)`;
  throw new CliError([`error: Worker '${name}' not found${hint}`, pathHint(name)]);
}

async function addBuiltIn(name: string, project: LocalProject, catalog: Catalog, options: AddOptions): Promise<void> {
  const known = catalog.find(name);
  const present = project.entries.find((entry) => catalog.find(entry.name)?.name === known?.name);
  // `--force` alone keeps the settings: nothing to write anew.
  if (present !== undefined && (present.name !== name || options.resetConfig !== true)) {
    sayAlreadyThere(name, present.name);
    return;
  }
  await edit(project, catalog, (editor) => {
    if (present !== undefined) editor.removeWorker(name);
    editor.addWorker(known?.defaultBlock === undefined ? { name } : { name, config: known.defaultBlock });
  });
  sayAdded(name);
  say('  Start the engine to run it, or edit config.yaml to customize.');
}

async function addFolder(
  source: LocalSource,
  project: LocalProject,
  catalog: Catalog,
  options: AddOptions,
): Promise<void> {
  const { path, typed } = source;
  const name = await localWorkerName(path, typed);
  const present = project.entries.find((entry) => entry.name === name);
  if (present !== undefined && options.force !== true) throw alreadyAdded(name, typed);
  const config = options.resetConfig === true ? undefined : present?.config;
  await edit(project, catalog, (editor) => {
    if (present !== undefined) editor.removeWorker(name);
    editor.addWorker({ name, workerPath: path, ...(config === undefined ? {} : { config }) });
  });
  say();
  say(`  ${colors.yellow('⚠')} Added ${name} (local) to config.yaml, but the engine isn't running.`);
  if (options.wait) {
    say('  --wait cannot observe it boot — run `iii` in another terminal first.');
  } else {
    say('  Start it:  iii');
    say(`  Then:      iii worker status ${name}`);
  }
}

function edit(project: LocalProject, catalog: Catalog, change: (editor: ProjectEditor) => void): Promise<unknown> {
  return editProject({ path: project.configPath, catalog, env: process.env }, change);
}
