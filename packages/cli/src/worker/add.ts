/** `iii worker add`: through the running engine, or in config.yaml when none runs. */
import { resolve } from 'node:path';
import { homedir } from 'node:os';
import { hostUrl } from '../client/address.js';
import { CliError, messageOf, USAGE_EXIT } from '../terminal/errors.js';
import { say } from '../terminal/output.js';
import { addLive } from './add-live.js';
import type { Source, WorkerAddOptions } from './add-options.js';
import { addToFile } from './add-to-file.js';
import { readLocalProject, type LocalProject } from './local-project.js';
import { findEngine, WorkerOps } from './worker-ops.js';

export async function workerAdd(
  workers: readonly string[],
  options: WorkerAddOptions & { readonly configPath: string },
): Promise<void> {
  if (options.resetConfig === true && options.force !== true) {
    throw new CliError('error: --reset-config needs --force', { exitCode: USAGE_EXIT });
  }
  const sources = workers.map(parseSource);
  const project = await readLocalProject(options.configPath);
  const engine = await chooseEngine(project, options.host);
  let failed = 0;
  try {
    for (const [i, source] of sources.entries()) {
      if (sources.length > 1) say(`  [${i + 1}/${sources.length}] Adding ${workers[i] ?? ''}...`);
      try {
        if (engine === undefined) await addToFile(source, project, options);
        else await addLive(source, engine, options);
      } catch (error) {
        if (sources.length === 1) throw error;
        failed++;
        for (const line of error instanceof CliError ? error.lines : [`error: ${messageOf(error)}`])
          say(`        ${line}`);
      }
    }
  } finally {
    await engine?.close();
  }
  if (failed > 0) throw new CliError(`error: ${failed} of ${sources.length} workers could not be added`);
}

function parseSource(typed: string): Source {
  if (/^[./~]/.test(typed) || /^[A-Za-z]:[\\/]/.test(typed)) {
    const path = typed === '~' || typed.startsWith('~/') ? homedir() + typed.slice(1) : typed;
    return { kind: 'local', path: resolve(path), typed };
  }
  if (typed.includes('/') || (typed.includes(':') && !typed.includes('@'))) {
    throw new CliError(
      `error: '${typed}' reads as a container image, which is not in this version. For a folder write ./${typed}`,
    );
  }
  const [name = '', version] = typed.split('@');
  if (version !== undefined && version !== '')
    say(`note: ${name} is built into the engine; the version '${version}' is ignored.`);
  return { kind: 'registry', name };
}

async function chooseEngine(project: LocalProject, host: string | undefined): Promise<WorkerOps | undefined> {
  if (host !== undefined) return WorkerOps.connect(hostUrl(host));
  const engine = await findEngine(project);
  if (project.hasConfig) return engine;
  if (engine === undefined) {
    throw new CliError(
      `error: there is no ${project.configPath}, and no engine runs. Create a project with \`iii project init\`, or start one with \`iii\`.`,
    );
  }
  say(
    `note: no config file in ${process.cwd()} — installing through the engine at ${engine.url.replace(/^wss?:\/\//, '')} instead.`,
  );
  return engine;
}
