/** What all `worker::*` functions share: the project they act on, and how they name what is not in it. */
import { z } from 'zod';
import { nearestName } from '../core/input-fault.js';
import type { WorkerHost } from '../core/worker-host.js';
import { WorkerOpsError } from './errors.js';
import type { LocalWorker } from './local-worker.js';
import type { SupervisedEntry, SupervisedProject } from './project.js';
import { nameRule, type Supervisor } from './supervisor.js';

export interface ServedProject {
  readonly host: WorkerHost;
  readonly project: SupervisedProject;
  readonly supervisor: Supervisor;
}

/** Callers that send nothing mean no options. */
export const orEmpty = <T extends z.ZodType>(schema: T) => z.preprocess((value) => value ?? {}, schema);
export const wait = z
  .boolean()
  .default(true)
  .describe('Answer when the worker is ready or failed, at most after 120 s');

/**
 * The supervised worker of an entry; undefined for a built-in, which runs inside the engine.
 *
 * @throws WorkerOpsError `W110` when config.yaml has no such entry
 */
export function requireWorker({ project, supervisor }: ServedProject, workerName: string): LocalWorker | undefined {
  const entries = project.entries();
  const entry = entries.find((candidate) => candidate.name === workerName);
  if (entry === undefined) throw notInProject(workerName, entries);
  const worker = supervisor.worker(workerName);
  if (worker === undefined && entry.workerPath !== undefined) throw new WorkerOpsError('W100', nameRule(workerName));
  return worker;
}

export function notInProject(workerName: string, entries: readonly SupervisedEntry[]): WorkerOpsError {
  const text = `Worker '${workerName}' is not in config.yaml${meant(
    workerName,
    entries.map((entry) => entry.name),
  )}. Run \`iii worker list\` to see known workers.`;
  return new WorkerOpsError('W110', text, { name: workerName });
}

/** ` (did you mean 'x'?)`, or nothing. */
export function meant(typed: string, known: Iterable<string>): string {
  const nearest = nearestName(typed, known);
  return nearest === undefined ? '' : ` (did you mean '${nearest}'?)`;
}
