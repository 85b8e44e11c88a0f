/** The environment of a local worker's process. */
import { delimiter, join } from 'node:path';
import type { LogFields } from '../core/log.js';

/** Set by the supervisor; neither a manifest nor a `config:` block can change them. */
const RESERVED = new Set([
  'III_URL', 'III_ENGINE_URL', 'III_WORKER_NAME', 'SERVICE_INSTANCE_ID', 'III_ENGINE_PID', 'III_CONFIG_PATH', 'III_RUN_ID',
]); // prettier-ignore

/** Would break or subvert the shell that runs the scripts; a manifest may set them, a `config:` block may not. */
const NOT_FROM_CONFIG = new Set([
  'PATH',
  'HOME',
  'SHELL',
  'IFS',
  'LD_PRELOAD',
  'NODE_OPTIONS',
  'PYTHONPATH',
  'PYTHONHOME',
  'VIRTUAL_ENV',
]);

/** What a package manager leaves behind when it started the engine; another one trips over it. */
const PACKAGE_MANAGER_LEFTOVERS =
  /^(npm_(lifecycle|package)_|npm_(command|execpath|node_execpath)$|npm_config_(verify_deps_before_run|_jsr_registry|npm_globalconfig|node_gyp)$|pnpm_|PNPM_SCRIPT_SRC_DIR$|INIT_CWD$)/i;

export interface WorkerEnvOptions {
  readonly base: NodeJS.ProcessEnv;
  readonly name: string;
  /** Where it connects to. */
  readonly url: string;
  readonly configPath: string | undefined;
  readonly runId: string;
  /** The manifest's `env`. */
  readonly manifestEnv: Readonly<Record<string, string>>;
  /** The entry's `config:` block. */
  readonly config: unknown;
  /** Folder whose programs come first on PATH: a virtual environment. */
  readonly venv: string | undefined;
}

/** Builds the environment. Later sources win: engine, manifest, `config:`, supervisor. */
export function workerEnv(options: WorkerEnvOptions): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [key, value] of Object.entries(options.base)) {
    if (value !== undefined && !PACKAGE_MANAGER_LEFTOVERS.test(key)) env[key] = value;
  }
  for (const [key, value] of Object.entries(options.manifestEnv)) if (!RESERVED.has(key)) env[key] = value;
  for (const [key, value] of flattenConfig(options.config))
    if (!NOT_FROM_CONFIG.has(key) && !RESERVED.has(key)) env[key] = value;
  env['III_URL'] = options.url;
  env['III_ENGINE_URL'] = options.url;
  env['III_WORKER_NAME'] = options.name;
  env['SERVICE_INSTANCE_ID'] = options.name;
  env['III_ENGINE_PID'] = String(process.pid);
  env['III_RUN_ID'] = options.runId;
  if (options.configPath !== undefined) env['III_CONFIG_PATH'] = options.configPath;
  // Through a pipe Python would keep its lines back until kilobytes of them are there.
  env['PYTHONUNBUFFERED'] ??= '1';
  if (options.venv !== undefined) {
    env['VIRTUAL_ENV'] = options.venv;
    env['PATH'] = [join(options.venv, 'bin'), env['PATH'] ?? ''].join(delimiter);
    env['PIP_DISABLE_PIP_VERSION_CHECK'] ??= '1';
    env['PIP_NO_INPUT'] ??= '1';
    env['PIP_PROGRESS_BAR'] ??= 'off';
    delete env['PYTHONHOME'];
  }
  return env;
}

/**
 * A `config:` block as variables: `{ smtp: { host: 'x' } }` is `SMTP_HOST=x`. Lists travel as JSON text.
 */
export function flattenConfig(config: unknown, prefix = ''): Map<string, string> {
  const flat = new Map<string, string>();
  if (typeof config !== 'object' || config === null || Array.isArray(config)) return flat;
  for (const [key, value] of Object.entries(config)) {
    const name = prefix + key.replace(/[^A-Za-z0-9]+/g, '_').toUpperCase();
    if (value === null || value === undefined) continue;
    if (Array.isArray(value)) flat.set(name, JSON.stringify(value));
    else if (typeof value === 'object')
      for (const [inner, text] of flattenConfig(value, `${name}_`)) flat.set(inner, text);
    else flat.set(name, String(value));
  }
  return flat;
}

/** Keys of a `config:` block that cannot become variables, for one warning. Never the values: they may be secrets. */
export function refusedKeys(config: unknown): LogFields & { readonly keys: string[] } {
  return { keys: [...flattenConfig(config).keys()].filter((key) => NOT_FROM_CONFIG.has(key) || RESERVED.has(key)) };
}
