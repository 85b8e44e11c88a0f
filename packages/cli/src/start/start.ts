/** `iii` without a subcommand: runs an engine until a signal comes. */
import { relative, resolve, dirname } from 'node:path';
import type { Engine, LogOutput } from '@trine/engine';
import { CliError, messageOf } from '../terminal/errors.js';
import { print } from '../terminal/output.js';
import { ensureConfig } from './missing-config.js';
import { checkNativeModule } from './native-module.js';
import { untilSignal } from './signals.js';

export interface StartOptions {
  readonly config?: string;
  readonly useDefaultConfig?: boolean;
}

/** What runs with `--use-default-config`: everything that needs no decision of its user. */
const DEFAULT_PROJECT = {
  workers: [{ name: 'iii-http' }, { name: 'iii-state' }, { name: 'iii-queue' }, { name: 'iii-pubsub' }],
};

/**
 * Starts the engine and resolves once it has been stopped by a signal.
 *
 * @throws CliError with one line per reason when it cannot start
 */
export async function start(options: StartOptions): Promise<void> {
  const file = options.useDefaultConfig === true ? undefined : (options.config ?? 'config.yaml');
  if (file !== undefined) await ensureConfig(file);
  checkNativeModule();
  // The engine in few files: most of a start is spent on finding modules.
  const { createEngine, createLog } = await import('@trine/engine/bundled');
  const log = createLog({ level: 'info' });
  const cwd = file === undefined ? process.cwd() : dirname(resolve(file));
  // From here on a signal stops what has been started so far, and a second one ends the process.
  const signal = untilSignal();
  const engine = await explained(async () => {
    if (file !== undefined) print(`Initializing logging from config file: ${file}\n`);
    const created = await createEngine({
      config: file === undefined ? DEFAULT_PROJECT : relative(cwd, resolve(file)) || file,
      cwd,
      log,
    });
    if (file !== undefined) print(`Parsed config file: ${file}\n`);
    print(loggingLine(created));
    log.info(`Building engine with ${created.project.current.entries.length} workers`);
    return created;
  });
  const started = explained(() => engine.start());
  const first = await Promise.race([signal.then(() => 'signal' as const), started.then(() => 'started' as const)]);
  if (first === 'started') await signal;
  // Stopped once it has started, or failed to: a half-started engine would start on behind the stop.
  else await started.catch(() => undefined);
  await stop(engine, log);
}

async function stop(engine: Engine, log: LogOutput): Promise<void> {
  log.warn('Shutting down engine and destroying workers');
  await explained(() => engine.stop());
  log.warn('Engine shutdown complete');
}

/** The line that tells how the engine will log, from the configuration. */
function loggingLine(engine: Engine): string {
  const block = engine.project.current.entries.find((entry) => entry.canonical === 'observability')?.rawConfig;
  const config: Readonly<Record<string, unknown>> = typeof block === 'object' && block !== null ? { ...block } : {};
  const text = (value: unknown, fallback: string): string => (typeof value === 'string' ? value : fallback);
  const level = text(config['level'], text(config['log_level'], 'info'));
  return `Log level from config: ${level}, Log format: ${text(config['format'], 'default')}, OTel enabled: ${config['enabled'] !== false}\n`;
}

/** Faults of the configuration have a line each; none has a stack trace. */
async function explained<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(
      messageOf(error)
        .split('\n')
        .map((line) => `Error: ${line}`),
      { cause: error },
    );
  }
}
