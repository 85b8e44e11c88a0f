/**
 * The configuration an engine runs with, from a file that is watched or from an object.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseProject, projectFromValue, type Catalog, type ProjectConfig, type WorkerEntry } from './config/index.js';
import { Emitter } from './core/emitter.js';
import type { ProjectEvent, SupervisedProject } from './supervisor/index.js';

export interface OpenProjectOptions {
  /** A path, or the tree of a config.yaml. */
  readonly config: unknown;
  readonly cwd: string;
  readonly catalog: Catalog;
  readonly env: NodeJS.ProcessEnv;
  /** Brings the engine in line with another configuration. */
  readonly apply: (next: ProjectConfig) => Promise<void>;
}

export interface ProjectListener {
  changed(next: ProjectConfig): Promise<void>;
  refused(message: string): void;
}

export interface Project {
  readonly current: ProjectConfig;
  watch(listener: ProjectListener): Promise<void>;
  /** The engine runs what the project says now. */
  applied(): void;
  /** What the supervisor sees, or undefined where there is nothing to supervise. */
  supervised(port: () => number, entries: () => readonly WorkerEntry[]): SupervisedProject | undefined;
  close(): Promise<void>;
}

export async function openProject(options: OpenProjectOptions): Promise<Project> {
  const { cwd, catalog, env } = options;
  if (typeof options.config !== 'string') {
    return new ValueProject(projectFromValue({ value: options.config, cwd, catalog, env }), catalog);
  }
  const file = resolve(cwd, options.config);
  return new ValueProject(parseProject({ file, text: await readFile(file, 'utf8'), catalog, env }), catalog);
}

class ValueProject implements Project {
  readonly current: ProjectConfig;
  readonly #catalog: Catalog;
  readonly #events = new Emitter<ProjectEvent>();

  constructor(config: ProjectConfig, catalog: Catalog) {
    this.current = config;
    this.#catalog = catalog;
  }

  watch(): Promise<void> {
    return Promise.resolve();
  }

  applied(): void {
    this.#events.emit({ kind: 'applied' });
  }

  supervised(port: () => number, entries: () => readonly WorkerEntry[]): SupervisedProject | undefined {
    if (!this.current.entries.some(({ workerPath }) => workerPath !== undefined)) return undefined;
    return {
      configPath: undefined,
      catalog: this.#catalog,
      port,
      entries,
      onChange: (listener) => this.#events.on(listener),
      edit: () => Promise.reject(new Error('not a file')),
    };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
