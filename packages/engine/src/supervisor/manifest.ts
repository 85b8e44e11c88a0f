/**
 * `iii.worker.yaml`: what a local worker says of itself. Strict: a misspelt key is an error that
 * names all of them, because a silently ignored `script:` costs its author an hour.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { ManifestError } from './errors.js';

export const MANIFEST_FILE = 'iii.worker.yaml';

/** Largest manifest that is read, in bytes. The reference has the same limit. */
export const MAX_MANIFEST_BYTES = 64 * 1024;

export const RUNTIME_KINDS = ['typescript', 'javascript', 'bun', 'python', 'rust'] as const;
export type RuntimeKind = (typeof RUNTIME_KINDS)[number];

export const PACKAGE_MANAGERS = ['npm', 'yarn', 'pnpm', 'bun', 'pip', 'uv'] as const;
export type PackageManager = (typeof PACKAGE_MANAGERS)[number];

export interface Manifest {
  readonly name: string | undefined;
  readonly runtime: {
    readonly kind: RuntimeKind | undefined;
    readonly packageManager: PackageManager | undefined;
    readonly entry: string | undefined;
  };
  readonly scripts: {
    readonly setup: string | undefined;
    readonly install: string | undefined;
    readonly start: string | undefined;
  };
  readonly env: Readonly<Record<string, string>>;
  /** Used, but to be replaced: said once per start of the engine. */
  readonly deprecated: readonly string[];
}

const TOP_LEVEL = [
  'name', 'description', 'iii', 'deploy', 'manifest', 'tags', 'runtime', 'scripts', 'env', 'dependencies', 'resources',
  'config', 'language', 'entry',
]; // prettier-ignore
const RUNTIME = ['base_image', 'kind', 'package_manager', 'entry', 'language'];
const SCRIPTS = ['setup', 'install', 'start'];
const RESOURCES = ['cpus', 'memory'];
const DEPRECATED = new Set(['config', 'language', 'entry', 'runtime.language']);

type Mapping = ReadonlyMap<string, unknown>;

/**
 * Reads a worker's manifest.
 *
 * @param folder - the worker's folder
 * @returns undefined when there is none
 * @throws ManifestError with every fault, one per line
 */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = join(folder, MANIFEST_FILE);
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > MAX_MANIFEST_BYTES)
      throw new ManifestError(`${path} has ${size} bytes; at most ${MAX_MANIFEST_BYTES} are read`);
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  return parseManifest(path, text);
}

/** @param path - for messages only */
export function parseManifest(path: string, text: string): Manifest {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  const syntax = document.errors[0];
  if (syntax !== undefined) {
    const { line, col } = lineCounter.linePos(syntax.pos[0]);
    throw new ManifestError(`${path}: not valid YAML at line ${line}, column ${col}: ${syntax.message}`);
  }
  const faults: string[] = [];
  const unknown: string[] = [];
  const root = toMapping(document.toJS({ mapAsMap: true }) ?? new Map());
  if (root === undefined) throw new ManifestError(`${path}: the manifest must be a mapping of keys to values`);

  const section = (name: string, known: readonly string[] | undefined): Mapping => {
    const value = root.get(name);
    if (value === undefined || value === null) return new Map();
    const mapping = toMapping(value);
    if (mapping === undefined) {
      faults.push(`\`${name}\` must be a mapping`);
      return new Map();
    }
    if (known !== undefined)
      unknown.push(...[...mapping.keys()].filter((key) => !known.includes(key)).map((key) => `${name}.${key}`));
    return mapping;
  };
  const text_ = (mapping: Mapping, key: string, path_: string): string | undefined => {
    const value = mapping.get(key);
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'string') return value.trim() === '' ? undefined : value;
    faults.push(`\`${path_}\` must be a string, not ${describe(value)}`);
    return undefined;
  };
  const choice = <T extends string>(
    mapping: Mapping,
    key: string,
    path_: string,
    choices: readonly T[],
  ): T | undefined => {
    const value = text_(mapping, key, path_);
    const found = choices.find((candidate) => candidate === value);
    if (value !== undefined && found === undefined)
      faults.push(`\`${path_}\` must be one of ${choices.join(', ')}, not "${value}"`);
    return found;
  };

  unknown.unshift(...[...root.keys()].filter((key) => !TOP_LEVEL.includes(key)));
  const runtime = section('runtime', RUNTIME);
  const scripts = section('scripts', SCRIPTS);
  section('resources', RESOURCES);
  section('dependencies', undefined);
  const name = text_(root, 'name', 'name');
  const manifest: Manifest = {
    name,
    runtime: {
      kind:
        choice(runtime, 'kind', 'runtime.kind', RUNTIME_KINDS) ??
        choice(runtime, 'language', 'runtime.language', RUNTIME_KINDS) ??
        choice(root, 'language', 'language', RUNTIME_KINDS),
      packageManager: choice(runtime, 'package_manager', 'runtime.package_manager', PACKAGE_MANAGERS),
      entry: text_(runtime, 'entry', 'runtime.entry') ?? text_(root, 'entry', 'entry'),
    },
    scripts: {
      setup: text_(scripts, 'setup', 'scripts.setup'),
      install: text_(scripts, 'install', 'scripts.install'),
      start: text_(scripts, 'start', 'scripts.start'),
    },
    env: readEnv(section('env', undefined), faults),
    deprecated: [...root.keys(), ...[...runtime.keys()].map((key) => `runtime.${key}`)].filter((key) =>
      DEPRECATED.has(key),
    ),
  };
  if (unknown.length > 0) {
    faults.unshift(
      `unknown key(s) in ${path}: [${unknown.sort().join(', ')}]. Supported fields are: ${supported().join(', ')}`,
    );
  }
  if (faults.length > 0)
    throw new ManifestError(faults.map((fault) => (fault.includes(path) ? fault : `${path}: ${fault}`)).join('\n'));
  return manifest;
}

function supported(): string[] {
  const nested = (name: string, keys: readonly string[]) => keys.map((key) => `${name}.${key}`);
  return [
    ...TOP_LEVEL.filter((key) => !DEPRECATED.has(key)),
    ...nested('runtime', RUNTIME),
    ...nested('scripts', SCRIPTS),
    ...nested('resources', RESOURCES),
  ];
}

function readEnv(mapping: Mapping, faults: string[]): Record<string, string> {
  const env = Object.create(null) as Record<string, string>;
  for (const [key, value] of mapping) {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') env[key] = String(value);
    else faults.push(`\`env.${key}\` must be a string, not ${describe(value)}`);
  }
  return env;
}

function toMapping(value: unknown): Mapping | undefined {
  if (!(value instanceof Map)) return undefined;
  return new Map([...value].map(([key, item]: [unknown, unknown]) => [String(key), item]));
}

function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return value instanceof Map ? 'a mapping' : `a ${typeof value}`;
}

export function isMissing(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
