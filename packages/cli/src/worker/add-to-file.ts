/** Adding without an engine: an entry in config.yaml, which the next start of the engine takes. */
import { ProjectFile, staticCatalog, type Catalog } from '@trine/engine/config';
import { CliError } from '../terminal/errors.js';
import { nearest } from '../terminal/nearest.js';
import { colors, say } from '../terminal/output.js';
import { alreadyAdded, sayAdded, sayAlreadyThere, type Source, type WorkerAddOptions } from './add.js';
import { localWorkerName } from './local-folder.js';
import type { LocalProject } from './local-project.js';

type AddOptions = Pick<WorkerAddOptions, 'force' | 'resetConfig' | 'wait'>;

export async function addToFile(source: Source, project: LocalProject, options: AddOptions): Promise<void> {
  const catalog = staticCatalog();
  const name = source.kind === 'registry' ? source.name : await localWorkerName(source.path, source.typed);
  if (source.kind === 'registry') checkBuiltIn(name, catalog);
  const file = await ProjectFile.open(project.configPath, catalog, process.env);
  try {
    if (source.kind === 'registry') await addBuiltIn(name, catalog, file, options);
    else await addFolder(name, source.path, source.typed, file, options);
  } finally {
    await file.close();
  }
}

function checkBuiltIn(name: string, catalog: Catalog): void {
  const missing = catalog.notBuilt(name);
  if (missing !== undefined) throw new CliError(`error: ${missing}`);
  if (catalog.find(name) !== undefined) return;
  const suggestion = nearest(name, catalog.names());
  const hint = suggestion === undefined ? '' : ` (did you mean '${suggestion}'?)`;
  throw new CliError([`error: Worker '${name}' not found${hint}`, '  For a folder of your own write its path: iii worker add ./' + name]);
}

async function addBuiltIn(name: string, catalog: Catalog, file: ProjectFile, options: AddOptions): Promise<void> {
  const known = catalog.find(name);
  const present = file.current.entries.find((entry) => entry.canonical !== undefined && entry.canonical === known?.name);
  if (present !== undefined && (options.force !== true || present.name !== name)) {
    sayAlreadyThere(name, present.name);
    return;
  }
  const kept = options.resetConfig === true ? undefined : present?.rawConfig;
  await file.edit((editor) => {
    if (present !== undefined && kept !== undefined) return;
    if (present !== undefined) editor.removeWorker(name);
    editor.addWorker(known?.defaultBlock === undefined ? { name } : { name, config: known.defaultBlock });
  });
  sayAdded(name);
  say('  Start the engine to run it, or edit config.yaml to customize.');
}

async function addFolder(name: string, path: string, typed: string, file: ProjectFile, options: AddOptions): Promise<void> {
  const present = file.current.entries.find((entry) => entry.name === name);
  if (present !== undefined && options.force !== true) throw alreadyAdded(name, typed);
  const isSame = present?.workerPath === path && options.resetConfig !== true;
  if (!isSame) {
    await file.edit((editor) => {
      if (present !== undefined) editor.removeWorker(name);
      editor.addWorker({ name, workerPath: path });
    });
  }
  say();
  say(`  ${colors.yellow('⚠')} Added ${name} (local) to config.yaml, but the engine isn't running.`);
  if (options.wait) {
    say('  --wait cannot observe it boot — run `iii` in another terminal first.');
  } else {
    say('  Start it:  iii');
    say(`  Then:      iii worker status ${name}`);
  }
}
