/** `worker::*`: what the `iii worker` command asks a running engine. Shapes and codes are those of the reference. */
import { z } from 'zod';
import type { FunctionDefinition, JsonValue } from '../core/worker-host.js';
import { WorkerOpsError } from './errors.js';
import { serveEditFunctions } from './edit-functions.js';
import { CRASH_LOOP_EXITS, describeExit, type LocalWorker, type LocalWorkerStatus } from './local-worker.js';
import type { SupervisedEntry } from './project.js';
import { meant, orEmpty, requireWorker, wait, type ServedProject } from './served-project.js';
import { isWorkerName, nameRule } from './supervisor.js';
import { crashLoop, waitReady } from './wait-ready.js';
import { isSeparator, tailLines } from './worker-output.js';

/** Most lines that `worker::logs` returns of each stream. */
const MAX_TAIL_LINES = 1000;
const DEFAULT_TAIL_LINES = 100;
/** Lines of each stream in a status: Node prints some twenty of an error, its message first. */
const STATUS_TAIL_LINES = 30;

const name = z.string().describe("The worker's name in config.yaml");
/** Registers `worker::{add,remove,list,status,start,stop,restart,logs}`. */
export function serveWorkerFunctions(served: ServedProject): void {
  const { host, project, supervisor } = served;
  const serve = <Input>(definition: FunctionDefinition<Input>): void => void host.registerFunction(definition);
  serveEditFunctions(served);

  serve({
    id: 'worker::list',
    description: 'Lists the workers of the project with their states',
    request: orEmpty(z.object({ running_only: z.boolean().default(false) })),
    handler: ({ running_only: runningOnly }) => {
      const workers = project.entries().map((entry) => listed(entry, supervisor.worker(entry.name)));
      return {
        workers: runningOnly ? workers.filter((worker) => worker.running) : workers,
        config_path: project.configPath ?? null,
      };
    },
  });

  serve({
    id: 'worker::status',
    description: 'Tells how one worker is, and what it printed last',
    request: z.object({ name }),
    handler: async (input) => {
      const entry = project.entries().find((candidate) => candidate.name === input.name);
      const worker = supervisor.worker(input.name);
      if (entry === undefined) {
        const known = project.entries().map((candidate) => candidate.name);
        return {
          ...unknownStatus(input.name),
          hint: `not in config.yaml${meant(input.name, known)}; add it with: iii worker add`,
        };
      }
      const { running, pid, status } = listed(entry, worker);
      return {
        name: entry.name,
        installed: true,
        worker_type: entry.workerPath === undefined ? 'builtin' : 'local',
        running,
        status,
        pid,
        version: null,
        worker_path: entry.workerPath ?? null,
        logs_dir: worker === undefined ? null : supervisor.files.logsFolder(entry.name),
        stderr_tail: worker === undefined ? [] : await lastPrinted(supervisor.files.logFile(entry.name, 'stderr')),
        stdout_tail: worker === undefined ? [] : await lastPrinted(supervisor.files.logFile(entry.name, 'stdout')),
        exits_in_row: worker?.status.exitsInRow ?? 0,
        hint: worker === undefined ? null : hint(worker.name, worker.status),
      };
    },
  });

  serve({
    id: 'worker::start',
    description: 'Starts a worker that was stopped, failed or backs off',
    request: z.object({ name, wait }),
    handler: async (input) => {
      const worker = requireWorker(served, input.name);
      if (worker === undefined) return { name: input.name, pid: process.pid, port: project.port() };
      await worker.start();
      if (input.wait) await waitReady(worker, host.clock);
      return { name: worker.name, pid: worker.status.pid ?? null, port: project.port() };
    },
  });

  serve({
    id: 'worker::stop',
    description: 'Stops a local worker; it stays stopped until it is started',
    request: z.object({ name, yes: z.boolean().nullish() }),
    handler: async (input) => {
      const worker = requireWorker(served, input.name);
      if (worker === undefined) throw builtInStaysUp(input.name);
      const wasRunning = worker.status.state !== 'stopped';
      await worker.stop();
      return { name: worker.name, stopped: true, was_running: wasRunning };
    },
  });

  serve({
    id: 'worker::restart',
    description: 'Stops a local worker and starts it again',
    request: z.object({ name, wait }),
    handler: async (input) => {
      const worker = requireWorker(served, input.name);
      if (worker === undefined) throw builtInStaysUp(input.name);
      await worker.stop();
      await worker.start();
      if (input.wait) await waitReady(worker, host.clock);
      return { name: worker.name, pid: worker.status.pid ?? null, port: project.port() };
    },
  });

  serve({
    id: 'worker::logs',
    description: 'Returns the last lines that a local worker printed',
    request: z.object({
      name,
      tail: z
        .number()
        .int()
        .min(0)
        .nullish()
        .describe(`Lines of each stream, at most ${MAX_TAIL_LINES}; default ${DEFAULT_TAIL_LINES}`),
      raw: z.boolean().nullish(),
    }),
    handler: async (input) => {
      if (!isWorkerName(input.name)) throw new WorkerOpsError('W100', nameRule(input.name));
      const count = Math.min(input.tail ?? DEFAULT_TAIL_LINES, MAX_TAIL_LINES);
      // A worker that left the project has logs still.
      const [stdout, stderr] = await Promise.all([
        tailLines(supervisor.files.logFile(input.name, 'stdout'), count),
        tailLines(supervisor.files.logFile(input.name, 'stderr'), count),
      ]);
      if (stdout.length === 0 && stderr.length === 0) requireWorker(served, input.name);
      return { name: input.name, logs_dir: supervisor.files.logsFolder(input.name), stdout, stderr };
    },
  });
}

function builtInStaysUp(workerName: string): WorkerOpsError {
  return new WorkerOpsError(
    'W105',
    `Cannot stop '${workerName}': config workers run inside the engine and cannot be stopped individually`,
  );
}

interface Listed {
  readonly [key: string]: JsonValue;
  readonly name: string;
  readonly running: boolean;
  readonly status: string;
  readonly pid: number | null;
}

function listed(entry: SupervisedEntry, worker: LocalWorker | undefined): Listed {
  if (worker === undefined) {
    const isBuiltIn = entry.workerPath === undefined;
    return { name: entry.name, version: null, running: isBuiltIn, status: isBuiltIn ? 'running' : 'failed', pid: null };
  }
  const { state, pid } = worker.status;
  return { name: entry.name, version: null, running: state === 'running', status: state, pid: pid ?? null };
}

function unknownStatus(workerName: string): Record<string, JsonValue> {
  return {
    name: workerName,
    installed: false,
    worker_type: null,
    running: false,
    status: 'unknown',
    pid: null,
    version: null,
    worker_path: null,
    logs_dir: null,
    stderr_tail: [],
    stdout_tail: [],
    exits_in_row: 0,
  };
}

/** The last lines of the worker itself, without those that separate its runs. */
/** The last lines of the last run or install: what an earlier one printed says nothing of this one. */
async function lastPrinted(path: string): Promise<string[]> {
  const lines = await tailLines(path, 2 * STATUS_TAIL_LINES);
  const begun = lines.map((line) => isSeparator(line) && /^--- (?:run|install) /.test(line)).lastIndexOf(true);
  return lines
    .slice(begun + 1)
    .filter((line) => !isSeparator(line))
    .slice(-STATUS_TAIL_LINES);
}

/** One sentence on what a person may do, or null when there is nothing to do. */
function hint(workerName: string, status: LocalWorkerStatus): string | null {
  switch (status.state) {
    case 'failed':
      return status.failure ?? null;
    case 'stopped':
      return `stopped by hand; start it with: iii worker start ${workerName}`;
    case 'backing-off': {
      const next = `; next start in ${Math.ceil((status.nextStartInMs ?? 0) / 1000)} s`;
      if (status.exitsInRow >= CRASH_LOOP_EXITS) return crashLoop(workerName, status) + next;
      return `it ended ${status.lastExit === undefined ? '' : describeExit(status.lastExit)}${next}`;
    }
    case 'starting':
      return status.exitsInRow >= CRASH_LOOP_EXITS
        ? crashLoop(workerName, status)
        : 'its process runs; no session of it is connected yet';
    default:
      return null;
  }
}
