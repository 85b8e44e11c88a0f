/** The local workers of a project: one `LocalWorker` for each entry with a `worker_path`. */
import type { Registration, WorkerHost } from '../core/worker-host.js';
import { reapLeftovers } from './leftovers.js';
import { LocalWorker } from './local-worker.js';
import { ProjectFiles } from './project-files.js';
import type { SupervisedEntry, SupervisedProject } from './project.js';

export class Supervisor {
  readonly files: ProjectFiles;
  readonly #host: WorkerHost;
  readonly #project: SupervisedProject;
  readonly #workers = new Map<string, LocalWorker>();
  /** Workers whose entries are gone, until their processes are. */
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #registrations: Registration[] = [];
  #reaped: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(host: WorkerHost, project: SupervisedProject) {
    this.#host = host;
    this.#project = project;
    this.files = new ProjectFiles(host.projectDir);
  }

  /** Starts the workers without waiting for them: an install may take minutes. */
  start(): void {
    this.#reaped = reapLeftovers(this.files, this.#host.log).catch((error: unknown) => {
      this.#host.log.warn('the workers of an earlier engine could not be looked for', { error: String(error) });
    });
    this.#registrations.push(
      this.#host.registry.onWorker((event) => {
        for (const worker of this.#workers.values()) {
          if (event.kind === 'disconnected') worker.sessionGone(event.workerId);
          else void worker.sessionSeen(event);
        }
      }),
      this.#project.onChange((event) => {
        if (event.kind === 'applied') this.#reconcile();
      }),
    );
    this.#reconcile();
  }

  worker(name: string): LocalWorker | undefined {
    return this.#workers.get(name);
  }

  /** Resolves when the processes of a removed entry are gone. */
  async gone(name: string): Promise<void> {
    await this.#leaving.get(name);
  }

  /** Starts no process any more; those that run may finish what they do. */
  drain(): void {
    for (const worker of this.#workers.values()) worker.drain();
  }

  /** Stops all workers; resolves when no process of them is left. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const registration of this.#registrations.splice(0)) registration.remove();
    await this.#reaped;
    await Promise.all([...[...this.#workers.values()].map((worker) => worker.stop()), ...this.#leaving.values()]);
  }

  /** Makes the workers be those of the entries in force. One that was stopped by hand stays so. */
  #reconcile(): void {
    if (this.#stopped) return;
    const wanted = new Map(
      this.#project
        .entries()
        .filter(isLocal)
        .map((entry) => [entry.name, entry]),
    );
    for (const worker of [...this.#workers.values()]) {
      const entry = wanted.get(worker.name);
      if (entry?.workerPath === worker.folder) worker.reconfigure(entry);
      else this.#leave(worker);
    }
    for (const entry of wanted.values()) if (!this.#workers.has(entry.name)) this.#enter(entry);
  }

  #enter(entry: SupervisedEntry & { readonly workerPath: string }): void {
    if (!isWorkerName(entry.name)) {
      this.#host.log.error('worker is not started: its name cannot be used', {
        worker: entry.name,
        reason: nameRule(entry.name),
      });
      return;
    }
    const worker = new LocalWorker({
      host: this.#host,
      project: this.#project,
      files: this.files,
      name: entry.name,
      folder: entry.workerPath,
      config: entry.rawConfig,
    });
    this.#workers.set(entry.name, worker);
    // One of the same name may be on its way out, and an earlier engine's too.
    void Promise.all([this.#reaped, this.#leaving.get(entry.name)]).then(() => {
      if (!this.#stopped && this.#workers.get(entry.name) === worker) return worker.start();
      return undefined;
    });
  }

  #leave(worker: LocalWorker): void {
    this.#workers.delete(worker.name);
    const before = this.#leaving.get(worker.name);
    const leaving: Promise<void> = Promise.all([worker.stop(), before]).then(() => {
      if (this.#leaving.get(worker.name) === leaving) this.#leaving.delete(worker.name);
    });
    this.#leaving.set(worker.name, leaving);
  }
}

function isLocal(entry: SupervisedEntry): entry is SupervisedEntry & { readonly workerPath: string } {
  return entry.workerPath !== undefined;
}

/** Names become folders of `.iii/`. */
export function isWorkerName(name: string): boolean {
  return /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(name) && !name.includes('..');
}

export function nameRule(name: string): string {
  return `Worker name '${name}' contains invalid characters. Only alphanumeric, dash, underscore, and dot are allowed.`;
}
