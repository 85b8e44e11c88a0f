/** From text or a value to a checked configuration. All faults are told, not just the first. */
import { dirname, relative, resolve } from 'node:path';
import { nearestName } from '../core/input-fault.js';
import type { Catalog } from './catalog.js';
import { DEFAULT_CONFIG_FOLDER, readConfigFolder, type FolderFile } from './config-folder.js';
import { ConfigError, type ConfigFault } from './errors.js';
import { readEntries } from './entries.js';
import type { ProjectConfig } from './project.js';
import { valueAt } from './value-path.js';
import { asMap, readValue, readYaml, type TreeResult } from './yaml-source.js';

export interface ParseProjectOptions {
  /** Absolute path of config.yaml: for messages, and the start of relative paths. */
  readonly file: string;
  readonly text: string;
  readonly catalog: Catalog;
  readonly env: NodeJS.ProcessEnv;
  /** The files `config/<id>.yaml` by id. Default: read from their folder. */
  readonly files?: ReadonlyMap<string, FolderFile>;
}

/**
 * Checks the text of a config.yaml and, for built-ins without a `config:` block, the files
 * `config/<id>.yaml` beside it.
 *
 * @throws ConfigError with one line per fault
 */
export function parseProject({ file, text, catalog, env, files }: ParseProjectOptions): ProjectConfig {
  const folder = dirname(file);
  const result = readYaml(text, relative(folder, file), env);
  return build(result, { file, folder, catalog, env, files });
}

export interface ProjectFromValueOptions {
  /** The same tree as config.yaml holds. */
  readonly value: unknown;
  /** Where relative paths start. */
  readonly cwd: string;
  readonly catalog: Catalog;
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Checks a configuration that came as an object. No file is read.
 *
 * @throws ConfigError with one line per fault
 */
export function projectFromValue({ value, cwd, catalog, env }: ProjectFromValueOptions): ProjectConfig {
  return build(readValue(value, VALUE_LABEL, env), { file: undefined, folder: cwd, catalog, env, files: NO_FILES });
}

const VALUE_LABEL = 'config';

interface BuildOptions {
  readonly file: string | undefined;
  readonly folder: string;
  readonly catalog: Catalog;
  readonly env: NodeJS.ProcessEnv;
  readonly files: ReadonlyMap<string, FolderFile> | undefined;
}

const NO_FILES: ReadonlyMap<string, FolderFile> = new Map();

const TOP_LEVEL_KEYS = ['workers', 'modules', 'registration_namespace_grace_ms'];

function build({ tree, faults }: TreeResult, options: BuildOptions): ProjectConfig {
  const { file, folder, catalog, env } = options;
  const tell = (message: string, path: readonly (string | number)[]): void => {
    faults.push({ file: tree.label, line: tree.line(path), message });
  };
  const warnings: string[] = [];
  const top = asMap(tree.value, (message) => tell(message, []), 'the configuration') ?? {};
  for (const key of Object.keys(top)) {
    if (TOP_LEVEL_KEYS.includes(key)) continue;
    const nearest = nearestName(key, TOP_LEVEL_KEYS);
    tell(`unknown key "${key}"${nearest === undefined ? '' : ` (did you mean "${nearest}"?)`}`, [key]);
  }
  const graceMs = top['registration_namespace_grace_ms'];
  if (graceMs !== undefined && !(typeof graceMs === 'number' && Number.isSafeInteger(graceMs) && graceMs >= 0)) {
    tell('registration_namespace_grace_ms must be a whole number of milliseconds, 0 or more', [
      'registration_namespace_grace_ms',
    ]);
  }
  const files = options.files ?? readConfigFolder(settingsFolder(folder, configurationBlock(top, catalog)));
  const entries = readEntries({ tree, top, folder, catalog, env, files, faults, warnings });
  if (faults.length > 0) throw new ConfigError(inOrder(faults));
  return { file, entries, warnings, ...(typeof graceMs === 'number' ? { registrationNamespaceGraceMs: graceMs } : {}) };
}

/** The block of the `configuration` entry, before anything is checked. */
function configurationBlock(top: Record<string, unknown>, catalog: Catalog): unknown {
  const items: unknown[] = ['workers', 'modules'].flatMap((key) =>
    Array.isArray(top[key]) ? (top[key] as unknown[]) : [],
  );
  const entry = items.find((item) => {
    const name = valueAt(item, ['name']);
    return typeof name === 'string' && catalog.find(name)?.name === 'configuration';
  });
  return valueAt(entry, ['config']);
}

/**
 * Absolute folder of the files `<id>.yaml`.
 *
 * @param config - the block of the `configuration` worker, if it has one
 */
export function settingsFolder(projectDir: string, config: unknown): string {
  return resolve(projectDir, directoryIn(config) ?? DEFAULT_CONFIG_FOLDER);
}

function directoryIn(config: unknown): string | undefined {
  const directory = valueAt(config, ['adapter', 'config', 'directory']) ?? valueAt(config, ['directory']);
  return typeof directory === 'string' && directory !== '' ? directory : undefined;
}

function inOrder(faults: readonly ConfigFault[]): ConfigFault[] {
  return [...faults].sort((a, b) => (a.file === b.file ? (a.line ?? 0) - (b.line ?? 0) : 0));
}
