/**
 * The built-in workers that run in this engine, by entry of the configuration.
 *
 * One entry: `absent` -> `running` -> `absent`. A changed configuration is applied in place where
 * the worker can (`reconfigure`), else by a restart; where the new one fails the old one runs again.
 */
import { toErrorBody, TrineError } from '@trine/protocol';
import { BuiltInHost } from './core/built-in-host.js';
import type { Core } from './core/core.js';
import type { Storage } from './core/store.js';
import type { RunningWorker, WorkerDefinition } from './core/worker-host.js';
import type { BuiltInInfo } from './workers/discovery/index.js';

/** One entry to run: a built-in, its name as typed, its validated configuration. */
export interface BuiltInEntry {
  readonly id: string;
  readonly name: string;
  readonly config: unknown;
}

interface RunningEntry {
  entry: BuiltInEntry;
  readonly definition: WorkerDefinition;
  readonly host: BuiltInHost;
  readonly worker: RunningWorker;
  /** Names of the ports that it reported. */
  readonly ports: ReadonlySet<string>;
}

export interface BuiltInsOptions {
  readonly core: Core;
  readonly storage: Storage;
  readonly projectDir: string;
  readonly dataDir: string;
  readonly alwaysOn: ReadonlySet<string>;
  /** Told of each port by name, and with undefined when it is given up. */
  readonly reportPort: (name: string, port: number | undefined) => void;
}

export class BuiltIns {
  readonly #options: BuiltInsOptions;
  /** In the order in which they had started. */
  readonly #running = new Map<string, RunningEntry>();

  constructor(options: BuiltInsOptions) {
    this.#options = options;
  }

  list(): BuiltInInfo[] {
    return [...this.#running.values()].map(({ entry, definition, host }) => ({
      id: entry.id,
      name: definition.name,
      description: definition.description,
      connectedAtMs: host.session.connectedAtMs,
      internal: this.#options.alwaysOn.has(definition.name),
      sessionId: host.session.id,
    }));
  }

  /** A host for parts of the engine itself, without an entry. */
  host(name: string): BuiltInHost {
    const { core, storage, projectDir, dataDir, reportPort } = this.#options;
    return new BuiltInHost({ core, entryName: name, workerName: name, storage, projectDir, dataDir, reportPort });
  }

  /** Does the entry run? */
  has(id: string): boolean {
    return this.#running.has(id);
  }

  /** @throws TrineError naming the worker, when it cannot start */
  async start(entry: BuiltInEntry, definition: WorkerDefinition): Promise<void> {
    const { core, storage, projectDir, dataDir } = this.#options;
    const ports = new Set<string>();
    const reportPort = (name: string, port: number): void => {
      // Entries of one name have a port each.
      const shown = name === entry.name ? entry.id : name;
      ports.add(shown);
      this.#options.reportPort(shown, port);
    };
    const host = new BuiltInHost({
      core,
      entryName: entry.id,
      workerName: definition.name,
      storage,
      projectDir,
      dataDir,
      reportPort,
    });
    try {
      const worker = await definition.start(host, entry.config);
      this.#running.set(entry.id, { entry, definition, host, worker, ports });
    } catch (error) {
      await core.close(host.session);
      throw startError(entry.id, error);
    }
  }

  /** Applies a changed entry, or throws and leaves the old one in force. */
  async change(entry: BuiltInEntry): Promise<void> {
    const running = this.#running.get(entry.id);
    if (running === undefined) throw new TrineError('worker_not_running', `worker '${entry.name}' is not running`);
    if (running.worker.reconfigure !== undefined && running.entry.name === entry.name) {
      await running.worker.reconfigure(entry.config);
      running.entry = entry;
      return;
    }
    const before = running.entry;
    await this.stop(entry.id);
    try {
      await this.start(entry, running.definition);
    } catch (error) {
      try {
        await this.start(before, running.definition);
      } catch (again) {
        const [why, whyAgain] = [toErrorBody(error).message, toErrorBody(again).message];
        throw new TrineError('worker_start_failed', `${why}; and as it was before it does not start: ${whyAgain}`, {
          cause: again,
        });
      }
      throw error;
    }
  }

  async drain(): Promise<void> {
    await Promise.all([...this.#running.values()].map((running) => this.#drain(running)));
  }

  /** After `drain`: is all over that they had begun? */
  get isIdle(): boolean {
    return [...this.#running.values()].every(({ worker }) => worker.isIdle?.() ?? true);
  }

  async stop(id: string): Promise<void> {
    const running = this.#running.get(id);
    if (running === undefined) return;
    this.#running.delete(id);
    for (const name of running.ports) this.#options.reportPort(name, undefined);
    await this.#drain(running);
    try {
      await running.worker.stop();
    } catch (error) {
      this.#options.core.log.error('worker did not stop cleanly', {
        worker: running.entry.name,
        error: toErrorBody(error).message,
      });
    }
    await this.#options.core.close(running.host.session);
  }

  /** Stops all, last started first. */
  async stopAll(): Promise<void> {
    for (const id of [...this.#running.keys()].reverse()) await this.stop(id);
  }

  async #drain({ entry, worker }: RunningEntry): Promise<void> {
    try {
      await worker.drain?.();
    } catch (error) {
      this.#options.core.log.error('worker did not drain cleanly', {
        worker: entry.name,
        error: toErrorBody(error).message,
      });
    }
  }
}

function startError(name: string, error: unknown): TrineError {
  if (error instanceof TrineError) return error;
  return new TrineError('worker_start_failed', `worker '${name}' could not start: ${toErrorBody(error).message}`, {
    cause: error,
  });
}
