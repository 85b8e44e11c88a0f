/** Adding to a running engine, which edits config.yaml itself and answers once it has applied it. */
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { CliError } from '../terminal/errors.js';
import { colors, harmless, say } from '../terminal/output.js';
import {
  alreadyAdded,
  pathHint,
  sayAdded,
  sayAlreadyThere,
  type Source,
  type WorkerAddOptions,
} from './add-options.js';
import { lastError, lastWords } from './last-words.js';
import { asText, LONG_TIMEOUT_MS, READY_TIMEOUT_MS, WorkerOpError, type Row, type WorkerOps } from './worker-ops.js';

/** How often the state of a worker that is being installed is looked at, in milliseconds. */
const WATCH_MS = 500;
/** Lines of what a worker printed before it failed. */
const TAIL_LINES = 5;

export async function addLive(source: Source, engine: WorkerOps, options: WorkerAddOptions): Promise<void> {
  const request = { force: options.force === true, reset_config: options.resetConfig === true, yes: true };
  try {
    if (source.kind === 'registry') {
      const answer = await engine.call(
        'worker::add',
        { source: { kind: 'registry', name: source.name }, ...request, wait: true },
        LONG_TIMEOUT_MS,
      );
      if (answer['status'] === 'already_current') sayAlreadyThere(source.name);
      else sayAdded(source.name);
      return;
    }
    await addLocal(source.path, engine, options.wait, request);
  } catch (error) {
    throw await explain(error, source);
  }
}

async function addLocal(path: string, engine: WorkerOps, wait: boolean, request: Row): Promise<void> {
  const startedAt = performance.now();
  const source = { kind: 'local', path };
  // Without waiting first, for its name; then with, as a start: what is ready already answers at once.
  const answer = await engine.call('worker::add', { source, ...request, wait: false }, LONG_TIMEOUT_MS);
  const name = asText(answer['name']) ?? basename(path);
  say();
  if (!wait) {
    say(`  → Added ${name} (local) — queued in config.yaml.`);
    say(`  Watch it boot: iii worker status ${name}`);
    say(`  Tail logs:     iii worker logs ${name} -f`);
    return;
  }
  say(`  → Adding ${name} (local)...`);
  await waitReady(name, engine);
  say(`  ${colors.green('✓')} ready in ${((performance.now() - startedAt) / 1000).toFixed(1)}s`);
}

/**
 * Waits until a worker is ready, telling of each state that it passes.
 *
 * @throws CliError when it failed or is not ready in time
 */
export async function waitReady(name: string, engine: WorkerOps): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  let seen: string | undefined;
  let told: string | undefined;
  let toldError: string | undefined;
  for (;;) {
    const row = await engine.call('worker::status', { name });
    const status = asText(row['status']) ?? 'unknown';
    if (status === 'running' || row['running'] === true) return;
    if (status === 'failed' || (status === 'backing-off' && asText(row['hint'])?.includes('crash loop') === true)) {
      throw new CliError([
        `error: ${name} failed: ${asText(row['hint']) ?? 'see its logs'}`,
        ...tail(row),
        `  Check logs: iii worker logs ${name}`,
      ]);
    }
    // Only what lasts is told: looking at an install that is up to date takes a moment as well.
    if (status === seen && status !== told) {
      const words = STATES.get(status);
      if (words !== undefined) say(`  ⟳ ${name} ${words}`);
      told = status;
    }
    // A watcher that waits for the next save runs on, and nothing else would tell of the error until the deadline.
    const error = status === 'starting' && seen === status ? lastError(row['stderr_tail']) : undefined;
    if (error !== undefined && error !== toldError) {
      say(`  | ${harmless(error)}`);
      toldError = error;
    }
    seen = status;
    if (performance.now() > deadline) {
      throw new CliError([
        `  ⚠ not ready after ${READY_TIMEOUT_MS / 1000}s (worker is still queued in config.yaml).`,
        ...tail(row),
        `  Keep watching: iii worker status ${name}`,
        `  Check logs:    iii worker logs ${name} -f`,
      ]);
    }
    await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  }
}

const STATES = new Map([
  ['installing', 'installs its dependencies'],
  ['starting', 'starts'],
  ['backing-off', 'ended and will be started again'],
]);

function tail(row: Row): string[] {
  return lastWords(row['stderr_tail'], TAIL_LINES).map((line) => `  | ${harmless(line)}`);
}

async function explain(error: unknown, source: Source): Promise<unknown> {
  if (!(error instanceof WorkerOpError)) return error;
  if (error.code === 'W111' && source.kind === 'local') {
    const name = /Worker '([^']+)'/.exec(error.message)?.[1] ?? basename(source.path);
    return alreadyAdded(name, source.typed);
  }
  const lines = error.message.split('\n').map((line, i) => (i === 0 ? `error: ${line}` : `  ${line}`));
  if (error.code === 'W110' && source.kind === 'registry' && (await isFolder(source.name)))
    lines.push(pathHint(source.name));
  return new CliError(lines, { cause: error });
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
