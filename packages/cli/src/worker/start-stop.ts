/** `iii worker start`, `restart` and `stop`: for local workers of a running engine. */
import { CliError } from '../terminal/errors.js';
import { parsePort } from '../client/address.js';
import { colors, say } from '../terminal/output.js';
import { waitReady } from './add-live.js';
import { readLocalProject, type LocalProject } from './local-project.js';
import { asText, findEngine, requireEngine, SHORT_TIMEOUT_MS, withOps } from './worker-ops.js';

export interface WorkerStartOptions {
  readonly configPath: string;
  readonly wait: boolean;
  readonly port?: string;
}

export async function workerStart(name: string, verb: 'start' | 'restart', options: WorkerStartOptions): Promise<void> {
  const project = await readLocalProject(options.configPath);
  await withOps(
    await requireEngine(project, options.port === undefined ? undefined : parsePort(options.port)),
    async (engine) => {
      const before = await engine.call('worker::status', { name });
      if (before['installed'] !== true)
        throw new CliError(`error: Worker '${name}' not found. Run \`iii worker add ${name}\`.`);
      if (before['worker_type'] === 'builtin') {
        if (verb === 'restart') throw builtIn('restart', name);
        say(`'${name}' is a builtin worker — served by the iii engine process.`);
        return;
      }
      if (verb === 'start' && before['running'] === true) {
        say(`  ${colors.green('✓')} ${name} already running`);
        return;
      }
      const startedAt = performance.now();
      say(`  ${verb === 'start' ? 'Starting' : 'Restarting'} ${name}...`);
      await engine.call(`worker::${verb}`, { name, wait: false }, SHORT_TIMEOUT_MS);
      if (!options.wait) {
        say(`  Watch it boot: iii worker status ${name}`);
        return;
      }
      await waitReady(name, engine);
      say(`  ${colors.green('✓')} ready in ${((performance.now() - startedAt) / 1000).toFixed(1)}s`);
    },
  );
}

export async function workerStop(name: string, options: { readonly configPath: string }): Promise<void> {
  const project = await readLocalProject(options.configPath);
  const engine = await findEngine(project);
  if (engine === undefined) return stoppedWithEngine(name, project);
  await withOps(engine, async (ops) => {
    const before = await ops.call('worker::status', { name });
    if (before['installed'] !== true) throw unknownWorker(name);
    if (before['worker_type'] === 'builtin') throw builtIn('stop', name);
    if (asText(before['status']) === 'stopped') {
      say(`  ${colors.green('✓')} ${name} already stopped`);
      return;
    }
    say(`  Stopping ${name}...`);
    await ops.call('worker::stop', { name, yes: true }, SHORT_TIMEOUT_MS);
    say(`  ${colors.green('✓')} ${name} stopped`);
  });
}

/** Without an engine no worker runs: they end with it. */
function stoppedWithEngine(name: string, project: LocalProject): void {
  const entry = project.entries.find((candidate) => candidate.name === name);
  if (entry === undefined) throw unknownWorker(name);
  if (entry.workerPath === undefined) throw builtIn('stop', name);
  say(`  ${colors.green('✓')} ${name} already stopped`);
}

function unknownWorker(name: string): CliError {
  return new CliError(`error: Worker '${name}' is not in config.yaml. Run \`iii worker list\` to see known workers.`);
}

function builtIn(verb: string, name: string): CliError {
  return new CliError(
    `error: Cannot ${verb} '${name}': config workers run inside the engine and cannot be ${verb === 'stop' ? 'stopped' : 'restarted'} individually`,
  );
}
