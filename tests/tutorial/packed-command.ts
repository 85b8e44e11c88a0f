/** The packages as they would be published, installed where nothing of the checkout can be reached. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '..', '..');

/** Packing and installing reach the registry of npm; on a busy machine they take this long at most, in milliseconds. */
const COMMAND_TIMEOUT_MS = 120_000;

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs shell text as a person would type it. Does not throw when it fails. */
export async function shell(text: string, options: { cwd: string; env: NodeJS.ProcessEnv }): Promise<CommandResult> {
  try {
    return { code: 0, ...(await promisify(execFile)('sh', ['-c', text], { ...options, timeout: COMMAND_TIMEOUT_MS })) };
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string };
    return { code: typeof code === 'number' ? code : -1, stdout, stderr };
  }
}

/** `shell` for what has to succeed. */
export async function succeed(text: string, options: { cwd: string; env: NodeJS.ProcessEnv }): Promise<string> {
  const { code, stdout, stderr } = await shell(text, options);
  if (code !== 0) throw new Error(`${text}\nended with ${code}:\n${stdout}${stderr}`);
  return stdout;
}

/** `pnpm pack:all` into the folder. @returns the paths of the tarballs */
export async function packAll(folder: string): Promise<string[]> {
  const manifest = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { packageManager: string };
  await succeed(`npx --yes ${manifest.packageManager} pack:all "${folder}"`, { cwd: ROOT, env: process.env });
  return (await readdir(folder)).filter((name) => name.endsWith('.tgz')).map((name) => join(folder, name));
}

/** The environment of a terminal in which programs of this folder are found first, and no engine is named. */
export function terminal(bin: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const { III_URL: _url, III_CONFIG_PATH: _config, ...inherited } = process.env;
  return { ...inherited, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}`, ...more };
}

/**
 * Offers the checkout's native part of better-sqlite3 to its install script as a prebuilt one. That
 * script fetches one of the same name, and compiles for minutes where it cannot.
 *
 * @param folder - where the prebuilt file is put
 * @returns variables for the environment of npm
 */
export async function offerNativePart(folder: string): Promise<NodeJS.ProcessEnv> {
  const engine = createRequire(import.meta.resolve('@trine/engine'));
  const manifest = engine.resolve('better-sqlite3/package.json');
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string };
  const part = join('build', 'Release', 'better_sqlite3.node');
  await mkdir(join(folder, dirname(part)), { recursive: true });
  await copyFile(join(dirname(manifest), part), join(folder, part));
  const name = `better-sqlite3-v${version}-node-v${process.versions.modules}-${process.platform}-${process.arch}.tar.gz`;
  await succeed(`tar -czf ${name} build`, { cwd: folder, env: process.env });
  return { npm_config_better_sqlite3_local_prebuilds: folder };
}
