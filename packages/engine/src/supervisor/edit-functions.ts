/** `worker::add` and `worker::remove`: edits of config.yaml that answer when the engine has taken them. */
import { stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { JsonValue } from '../core/worker-host.js';
import { ManifestError, WorkerOpsError } from './errors.js';
import { meant, notInProject, orEmpty, wait, type ServedProject } from './served-project.js';
import type { SupervisedEdit, SupervisedEditor } from './project.js';
import { planRun } from './run-plan.js';
import { isWorkerName, nameRule } from './supervisor.js';
import { waitReady } from './wait-ready.js';

/** How long the engine may take to apply or refuse an edit of config.yaml, in milliseconds. */
const APPLY_TIMEOUT_MS = 20_000;

const addRequest = z.object({
  source: z.discriminatedUnion('kind', [
    z
      .object({ kind: z.literal('registry'), name: z.string(), version: z.string().nullish() })
      .describe('A worker that is built into the engine'),
    z.object({ kind: z.literal('local'), path: z.string() }).describe('A folder; relative paths start at the project'),
    z.object({ kind: z.literal('oci'), reference: z.string() }).describe('Not in this version'),
  ]),
  force: z.boolean().nullish().describe('Add it although it is there: its entry is written anew'),
  reset_config: z.boolean().nullish().describe("With force: drop the entry's configuration too"),
  yes: z.boolean().nullish(),
  wait,
});
type AddRequest = z.output<typeof addRequest>;

const removeRequest = orEmpty(
  z.object({
    names: z.array(z.string()).nullish(),
    all: z.boolean().nullish().describe('All local workers'),
    yes: z.boolean().nullish().describe('Consent: required'),
  }),
);

export function serveEditFunctions(served: ServedProject): void {
  const { host, project, supervisor } = served;

  host.registerFunction({
    id: 'worker::add',
    description: 'Adds a built-in worker or a local folder to config.yaml, and starts it',
    request: addRequest,
    handler: (input) => {
      switch (input.source.kind) {
        case 'registry':
          return addBuiltIn(served, input.source.name, input);
        case 'local':
          return addLocal(served, input.source.path, input);
        case 'oci':
          throw new WorkerOpsError(
            'W101',
            `Container images are not in this version (${input.source.reference}); add a built-in or a folder`,
          );
      }
    },
  });

  host.registerFunction({
    id: 'worker::remove',
    description: 'Stops workers and takes them out of config.yaml; their folders stay',
    request: removeRequest,
    handler: async (input) => {
      const entries = project.entries();
      const local = entries.filter((entry) => entry.workerPath !== undefined).map((entry) => entry.name);
      const names = [...new Set(input.all === true ? local : (input.names ?? []))];
      if (names.length === 0 && input.all !== true)
        throw new WorkerOpsError('W103', 'name at least one worker, or pass all: true');
      for (const name of names) if (isOtherSpelling(name, served)) throw notInProject(name, entries);
      if (input.yes !== true) throw new WorkerOpsError('W104', 'remove is destructive; pass yes: true', { names });
      if (names.length === 0) return { removed: [] };
      const remove = (editor: SupervisedEditor): void => {
        for (const name of names) {
          // What the engine could not start is in the file, and not among what runs.
          if (!editor.hasWorker(name)) throw notInProject(name, entries);
          editor.removeWorker(name);
        }
      };
      await editAndApply(served, remove, {
        isDone: () => !project.entries().some((entry) => names.includes(entry.name)),
      });
      await Promise.all(names.map((name) => supervisor.gone(name)));
      return { removed: names };
    },
  });
}

async function addBuiltIn(served: ServedProject, name: string, input: AddRequest): Promise<JsonValue> {
  const { project } = served;
  if (!isWorkerName(name)) throw new WorkerOpsError('W100', nameRule(name));
  const notBuilt = project.catalog.notBuilt(name);
  if (notBuilt !== undefined) throw new WorkerOpsError('W110', notBuilt, { name });
  const known = project.catalog.find(name);
  if (known === undefined)
    throw new WorkerOpsError('W110', `Worker '${name}' not found${meant(name, project.catalog.names())}`, { name });
  const existing = project.entries().find((entry) => entry.name === name || entry.canonical === known.name);
  if (existing !== undefined && existing.name !== name) {
    throw new WorkerOpsError(
      'W111',
      `'${name}' and '${existing.name}' are the same worker, and '${existing.name}' is in config.yaml`,
      { name },
    );
  }
  if (existing !== undefined && input.force !== true) return added(served, name, 'already_current', input.wait);
  const kept = existing === undefined || input.reset_config === true ? undefined : (existing.template as JsonValue);
  const config = kept ?? known.defaultBlock;
  await editAndApply(
    served,
    (editor) => {
      if (editor.hasWorker(name)) {
        if (existing === undefined && input.force !== true) throw doesNotRun(name, name);
        editor.removeWorker(name);
      }
      editor.addWorker(config === undefined ? { name } : { name, config });
    },
    {
      isDone: () =>
        project
          .entries()
          .some(
            (entry) =>
              entry.name === name && (kept !== undefined || isDeepStrictEqual(entry.rawConfig ?? {}, config ?? {})),
          ),
      takeBackIfRefused: true,
    },
  );
  return added(served, name, existing === undefined ? 'installed' : 'replaced', input.wait);
}

async function addLocal(served: ServedProject, path: string, input: AddRequest): Promise<JsonValue> {
  const { host, project, supervisor } = served;
  const folder = resolve(project.configPath === undefined ? host.projectDir : dirname(project.configPath), path);
  const isFolder = await stat(folder).then(
    (found) => found.isDirectory(),
    () => undefined,
  );
  if (isFolder === undefined)
    throw new WorkerOpsError('W110', `Cannot resolve path '${path}': there is no ${folder}`, { path: folder });
  if (!isFolder) throw new WorkerOpsError('W101', `'${folder}' is not a folder`, { path: folder });
  const name = await manifestName(folder);
  if (!isWorkerName(name)) throw new WorkerOpsError('W100', nameRule(name));
  const existing = project.entries().find((entry) => entry.name === name);
  if (existing !== undefined && input.force !== true) {
    const text =
      `Worker '${name}' is already in config.yaml.\nFix options:\n  - see how it is:            iii worker status ${name}\n` +
      `  - add it anew:              iii worker add ${path} --force\n  - and drop its config too:  iii worker add ${path} --force --reset-config`;
    throw new WorkerOpsError('W111', text, { name });
  }
  const config = input.reset_config === true ? undefined : (existing?.template as JsonValue | undefined);
  if (existing !== undefined) await supervisor.worker(name)?.stop();
  await editAndApply(
    served,
    (editor) => {
      if (editor.hasWorker(name)) {
        if (existing === undefined && input.force !== true) throw doesNotRun(name, path);
        editor.removeWorker(name);
      }
      editor.addWorker({ name, workerPath: folder, ...(config === undefined ? {} : { config }) });
    },
    { isDone: () => supervisor.worker(name)?.folder === folder, takeBackIfRefused: true },
  );
  const worker = supervisor.worker(name);
  if (existing !== undefined) await worker?.start();
  if (input.wait && worker !== undefined) await waitReady(worker, host.clock);
  return added(served, name, existing === undefined ? 'installed' : 'replaced', input.wait);
}

/** An entry that the engine could not take: its settings are its writer's, and not to be written over. */
function doesNotRun(name: string, typed: string): WorkerOpsError {
  const text =
    `Worker '${name}' is in config.yaml, and the engine could not apply it; its log says why.\n` +
    `Correct its entry, or write it anew: iii worker add ${typed} --force`;
  return new WorkerOpsError('W111', text, { name });
}

/** Is it another spelling of a built-in that runs? */
function isOtherSpelling(name: string, { project }: ServedProject): boolean {
  const entries = project.entries();
  const builtIn = project.catalog.find(name)?.name;
  return (
    builtIn !== undefined &&
    !entries.some((entry) => entry.name === name) &&
    entries.some((entry) => entry.canonical === builtIn)
  );
}

function added({ host, project }: ServedProject, name: string, status: string, awaited: boolean): JsonValue {
  return { name, status, awaited_ready: awaited, config_path: project.configPath ?? host.projectDir };
}

/** Reads the manifest as a start would, so that what cannot be started is refused before it is added. */
async function manifestName(folder: string): Promise<string> {
  try {
    const { manifest } = await planRun(folder);
    if (manifest === undefined) return basename(folder);
    if (manifest.name === undefined) throw new ManifestError(`${folder}/iii.worker.yaml: \`name\` is missing`);
    return manifest.name;
  } catch (error) {
    throw new WorkerOpsError('W180', error instanceof Error ? error.message : String(error), { path: folder });
  }
}

interface ApplyOptions {
  /** Is the edit in force? */
  isDone(): boolean;
  /** Leave config.yaml as it was when the engine refuses the edit. */
  readonly takeBackIfRefused?: boolean;
}

async function editAndApply(
  { host, project }: ServedProject,
  change: (editor: SupervisedEditor) => void,
  options: ApplyOptions,
): Promise<void> {
  let settle: (refusal: string | undefined) => void = () => undefined;
  const applied = new Promise<string | undefined>((resolvePromise) => {
    settle = resolvePromise;
  });
  let isRefused = false;
  const registration = project.onChange((event) => {
    if (event.kind === 'refused') isRefused = true;
    if (event.kind === 'refused') settle(event.message);
    else if (options.isDone()) settle(undefined);
  });
  const timer = host.clock.setTimer(
    () => settle(`the engine did not take the edit within ${APPLY_TIMEOUT_MS / 1000} s; its log may say why`),
    APPLY_TIMEOUT_MS,
  );
  try {
    let edit: SupervisedEdit | undefined;
    try {
      edit = await project.edit(change);
    } catch (error) {
      if (error instanceof WorkerOpsError) throw error;
      throw new WorkerOpsError('W130', error instanceof Error ? error.message : String(error));
    }
    if (options.isDone()) return;
    const refusal = await applied;
    if (refusal === undefined) return;
    const isBack = isRefused && options.takeBackIfRefused === true && (await edit?.takeBack()) === true;
    throw new WorkerOpsError(
      'W131',
      isBack
        ? `the engine refused it, and config.yaml is as it was: ${refusal}`
        : `config.yaml was written, but the engine refused it: ${refusal}`,
    );
  } finally {
    registration.remove();
    timer.cancel();
  }
}
