import { z } from 'zod';
import { defineWorker, type WorkerDefinition } from '../core/worker-host.js';
import type { SupervisedProject } from './project.js';
import { Supervisor } from './supervisor.js';
import { serveWorkerFunctions } from './functions.js';

/**
 * The built-in that runs a project's local workers and serves `worker::*`. Starts after the worker
 * socket listens, because what it starts connects to it at once.
 *
 * @example
 * const definition = supervisorWorker(project);
 */
export function supervisorWorker(project: SupervisedProject): WorkerDefinition {
  return defineWorker({
    name: 'iii-worker-ops',
    aliases: [],
    description: 'Runs the local workers of the project and serves worker::*',
    config: z.strictObject({}),
    start(host) {
      const supervisor = new Supervisor(host, project);
      serveWorkerFunctions({ host, project, supervisor });
      supervisor.start();
      return { drain: () => supervisor.drain(), stop: () => supervisor.stop() };
    },
  });
}
