/** Installs a worker's dependencies, once for each state of its manifest and dependency files. */
import { access, readFile, realpath } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { InstallError } from './errors.js';
import { authoredFingerprint, installFingerprint } from './fingerprint.js';
import { launch, type Stream } from './launch.js';
import { writeWhole } from './project-files.js';
import type { RunPlan } from './run-plan.js';

/** Lines of an install's output that are kept for the message when it fails. */
const KEPT_LINES = 40;

/** Debian and Ubuntu ship Python without the module that makes environments. */
const PYTHON_HINT = 'install Python 3 with its venv module (Debian, Ubuntu: apt install python3 python3-venv)';

export interface InstallOptions {
  readonly folder: string;
  readonly plan: RunPlan;
  readonly marker: string;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  line(stream: Stream, text: string): void;
  /** Tells of each command before it runs. */
  command(text: string): void;
}

/**
 * Installs unless the marker says that this state is installed.
 *
 * @returns the fingerprint of what is installed now
 * @throws InstallError when a command failed; the marker stays away, so the next start tries again
 */
export async function install(options: InstallOptions): Promise<string> {
  const { folder, plan, marker } = options;
  const fingerprint = await installFingerprint(folder);
  if ((await isInstalled(marker, fingerprint)) && (await hasProducts(folder, plan))) return fingerprint;
  if (plan.venv !== undefined) await makeVenv(plan.venv, options);
  if (plan.install === undefined) return fingerprint;

  // A second round when somebody saved a dependency file meanwhile; not more, should the install itself write one.
  for (let round = 0; round < 2; round++) {
    const before = await authoredFingerprint(folder);
    await runCommand(plan.install, options);
    if ((await authoredFingerprint(folder)) === before) break;
  }
  const installed = await installFingerprint(folder);
  await writeWhole(marker, `${JSON.stringify({ fingerprint: installed })}\n`);
  return installed;
}

async function isInstalled(marker: string, fingerprint: string): Promise<boolean> {
  const text = await readFile(marker, 'utf8').catch(() => '');
  return text.includes(`"${fingerprint}"`);
}

/** Somebody may have deleted what was installed, to have it installed anew. */
async function hasProducts(folder: string, plan: RunPlan): Promise<boolean> {
  if (plan.venv !== undefined) return exists(join(plan.venv, 'bin', 'python'));
  const isNode = plan.kind === 'typescript' || plan.kind === 'javascript';
  return (
    !isNode ||
    plan.install === undefined ||
    (await exists(join(folder, 'node_modules'))) ||
    !(await exists(join(folder, 'package.json')))
  );
}

/** Python forbids installs into a system's own site-packages (PEP 668), so each worker has an environment of its own. */
async function makeVenv(venv: string, options: InstallOptions): Promise<void> {
  // A link to a Python that was removed or upgraded does not exist, and one that was copied or moved
  // with its folder would install into where it came from.
  const usable = (await exists(join(venv, 'bin', 'python'))) && !(await isMoved(venv));
  if (usable && (await exists(join(venv, 'bin', 'pip')))) return;
  // Made by the system's Python: one that is being mended cannot make itself.
  const path = (options.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== join(venv, 'bin'));
  const python = (await findPython(path)) ?? 'python3';
  const env = { ...options.env, PATH: path.join(delimiter) };
  try {
    await runCommand(`${python} -m venv ${usable ? '' : '--clear '}.venv`, { ...options, env });
  } catch (error) {
    if (!(error instanceof InstallError)) throw error;
    throw new InstallError(error.message, error.command, error.output, PYTHON_HINT);
  }
}

/** The scripts of an environment name its folder as it was when they were written. */
async function isMoved(venv: string): Promise<boolean> {
  const pip = await readFile(join(venv, 'bin', 'pip'), 'utf8').catch(() => undefined);
  if (pip === undefined) return false;
  const real = await realpath(venv).catch(() => venv);
  return ![venv, real].some((folder) => pip.includes(join(folder, 'bin')));
}

async function findPython(path: readonly string[]): Promise<string | undefined> {
  for (const name of ['python3', 'python']) {
    for (const folder of path) if (await exists(join(folder, name))) return name;
  }
  return undefined;
}

async function runCommand(script: string, options: InstallOptions): Promise<void> {
  const { folder, env, signal } = options;
  signal.throwIfAborted();
  const last: string[] = [];
  options.command(script);
  const running = await launch({
    script,
    cwd: folder,
    env,
    line(stream, text) {
      last.push(text);
      if (last.length > KEPT_LINES) last.shift();
      options.line(stream, text);
    },
  });
  const stop = (): void => void running.stop();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    const exit = await running.exited;
    signal.throwIfAborted();
    if (exit.code !== 0) {
      const how = exit.signal === undefined ? `with exit code ${exit.code}` : `by ${exit.signal}`;
      throw new InstallError(`\`${script}\` ended ${how}`, script, last);
    }
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
