/**
 * How a worker's folder is installed and started: what its manifest says, or else what its files
 * suggest.
 */
import { access, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ManifestError } from './errors.js';
import { MANIFEST_FILE, readManifest, type Manifest, type PackageManager, type RuntimeKind } from './manifest.js';

export interface RunPlan {
  readonly manifest: Manifest | undefined;
  readonly kind: RuntimeKind | undefined;
  /** Shell text, or undefined when there is nothing to install. */
  readonly install: string | undefined;
  readonly start: string;
  /** The start script restarts on edits by itself. */
  readonly watchesItself: boolean;
  /** Absolute folder of the private virtual environment, for Python workers. */
  readonly venv: string | undefined;
}

interface PackageJson {
  readonly scripts?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, unknown>>;
  readonly devDependencies?: Readonly<Record<string, unknown>>;
  readonly optionalDependencies?: Readonly<Record<string, unknown>>;
}

const PYTHON_FILES = ['pyproject.toml', 'requirements.txt', 'setup.py'];
const LOCK_FILES: readonly (readonly [string, PackageManager])[] = [
  ['pnpm-lock.yaml', 'pnpm'],
  ['yarn.lock', 'yarn'],
  ['bun.lock', 'bun'],
  ['bun.lockb', 'bun'],
];
const PYTHON_SCRIPT = /^\s*(pip3?|python3?|watchfiles)\s/m;
const SELF_WATCHING =
  /\btsx\s+watch\b|\bnode\b.*\s--watch(-path)?\b|\bwatchfiles\b|\bnodemon\b|\bbun\b.*\s--(watch|hot)\b|\bcargo\s+watch\b|\bwatchexec\b/;

/**
 * @throws ManifestError when the manifest is wrong or nothing tells how to start the worker
 */
export async function planRun(folder: string): Promise<RunPlan> {
  if (!(await exists(folder)))
    throw new ManifestError(`the folder ${folder} does not exist; correct worker_path in config.yaml`);
  if (!(await stat(folder)).isDirectory())
    throw new ManifestError(`${folder} is no folder; worker_path in config.yaml must name the folder of a worker`);
  const manifest = await readManifest(folder);
  const pkg = await readPackageJson(folder);
  const kind = manifest?.runtime.kind ?? (await guessKind(folder, pkg, manifest));
  const manager = manifest?.runtime.packageManager ?? (await guessManager(folder));
  const start = manifest?.scripts.start ?? (await inferStart(folder, kind, manager, manifest, pkg));
  if (start === undefined) {
    throw new ManifestError(
      `nothing in ${folder} says how to start this worker; add \`scripts: { start: "..." }\` to ${MANIFEST_FILE}`,
    );
  }
  const install = manifest?.scripts.install ?? (await inferInstall(folder, kind, manager, pkg));
  return {
    manifest,
    kind,
    install: [manifest?.scripts.setup, install].filter((script) => script !== undefined).join('\n') || undefined,
    start,
    watchesItself: SELF_WATCHING.test(start) || SELF_WATCHING.test(packageScript(start, pkg)),
    venv: kind === 'python' ? join(folder, '.venv') : undefined,
  };
}

async function guessKind(
  folder: string,
  pkg: PackageJson | undefined,
  manifest: Manifest | undefined,
): Promise<RuntimeKind | undefined> {
  if (PYTHON_SCRIPT.test(`${manifest?.scripts.install ?? ''}\n${manifest?.scripts.start ?? ''}`)) return 'python';
  if (pkg !== undefined) return (await exists(join(folder, 'tsconfig.json'))) ? 'typescript' : 'javascript';
  if (await existsAny(folder, PYTHON_FILES)) return 'python';
  if (await exists(join(folder, 'Cargo.toml'))) return 'rust';
  return undefined;
}

async function guessManager(folder: string): Promise<PackageManager> {
  for (const [file, manager] of LOCK_FILES) if (await exists(join(folder, file))) return manager;
  return 'npm';
}

async function inferInstall(
  folder: string,
  kind: RuntimeKind | undefined,
  manager: PackageManager,
  pkg: PackageJson | undefined,
): Promise<string | undefined> {
  switch (kind) {
    case 'typescript':
    case 'javascript':
    case 'bun':
      if (pkg === undefined || !declaresDependencies(pkg)) return undefined;
      // The workspace's package manager has installed it with everything else; another one would undo that.
      if (await inPnpmWorkspace(folder)) return (await hasDependencies(folder, pkg)) ? undefined : 'pnpm install';
      return `${kind === 'bun' ? 'bun' : nodeManager(manager)} install`;
    case 'python':
      if (await existsAny(folder, ['pyproject.toml', 'setup.py'])) return 'pip install .';
      return (await exists(join(folder, 'requirements.txt'))) ? 'pip install -r requirements.txt' : undefined;
    case 'rust':
      return 'cargo build --release';
    default:
      return undefined;
  }
}

async function inferStart(
  folder: string,
  kind: RuntimeKind | undefined,
  manager: PackageManager,
  manifest: Manifest | undefined,
  pkg: PackageJson | undefined,
): Promise<string | undefined> {
  const entry = manifest?.runtime.entry;
  // A folder without a declared kind is started the way its own package.json says.
  if (manifest?.runtime.kind === undefined && entry === undefined && pkg !== undefined) {
    const script = ['dev', 'start'].find((name) => typeof pkg.scripts?.[name] === 'string');
    if (script !== undefined) return `${nodeManager(manager)} run ${script}`;
  }
  switch (kind) {
    case 'typescript':
      return launcher(manager, `tsx watch ${quote(entry ?? 'src/index.ts')}`);
    case 'javascript':
      return `node --watch ${quote(entry ?? 'src/index.js')}`;
    case 'bun':
      return `bun --watch run ${quote(entry ?? 'src/index.ts')}`;
    case 'python': {
      const file = entry ?? ((await exists(join(folder, 'main.py'))) ? 'main.py' : 'src/main.py');
      return `watchfiles ${quote(`python ${quote(file)}`, true)}`;
    }
    case 'rust':
      return 'cargo run --release';
    default:
      return undefined;
  }
}

function launcher(manager: PackageManager, command: string): string {
  if (manager === 'pnpm') return `pnpm exec ${command}`;
  return manager === 'yarn' ? `yarn exec ${command}` : `npx ${command}`;
}

/** A Python worker with a package.json beside it is managed by pip and run by npm. */
function nodeManager(manager: PackageManager): PackageManager {
  return manager === 'pip' || manager === 'uv' ? 'npm' : manager;
}

/** The text behind `npm run dev`, so that a watcher inside it is seen. */
function packageScript(start: string, pkg: PackageJson | undefined): string {
  const name = /^\s*(?:npm|pnpm|yarn|bun)\s+(?:run\s+)?([\w:-]+)\s*$/.exec(start)?.[1];
  const script = name === undefined ? undefined : pkg?.scripts?.[name];
  return typeof script === 'string' ? script : '';
}

/** @param always - quote even what needs none */
function quote(text: string, always = false): string {
  if (!always && /^[\w@%+=:,./-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

async function inPnpmWorkspace(folder: string): Promise<boolean> {
  for (let at = folder; ; at = dirname(at)) {
    if (await exists(join(at, 'pnpm-workspace.yaml'))) return true;
    if (dirname(at) === at) return false;
  }
}

function declaresDependencies(pkg: PackageJson): boolean {
  return [pkg.dependencies, pkg.devDependencies, pkg.optionalDependencies].some(
    (group) => Object.keys(group ?? {}).length > 0,
  );
}

/** Are all direct dependencies there? */
async function hasDependencies(folder: string, pkg: PackageJson): Promise<boolean> {
  for (const name of Object.keys(pkg.dependencies ?? {})) {
    if (!(await exists(join(folder, 'node_modules', name, 'package.json')))) return false;
  }
  return true;
}

async function readPackageJson(folder: string): Promise<PackageJson | undefined> {
  const path = join(folder, 'package.json');
  if (!(await exists(path))) return undefined;
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return typeof value === 'object' && value !== null ? value : {};
  } catch (error) {
    throw new ManifestError(`${path} is not valid JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function existsAny(folder: string, names: readonly string[]): Promise<boolean> {
  for (const name of names) if (await exists(join(folder, name))) return true;
  return false;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
