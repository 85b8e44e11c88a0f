/**
 * The configuration an engine runs with: a file that is watched, or an object.
 */
import { resolve } from 'node:path';
import {
  MemoryProject,
  ProjectConfigurationSource,
  ProjectFile,
  type Catalog,
  type ConfigError,
  type ConfigurationSource,
  type NotAppliedError,
  type ProjectConfig,
  type WorkerEntry,
} from './config/index.js';
import { TrineError } from '@trine/protocol';
import { Emitter } from './core/emitter.js';
import type { ProjectEvent, SupervisedProject } from './supervisor/index.js';

export interface OpenProjectOptions {
  /** The path of a config.yaml, or its tree. */
  readonly config: unknown;
  readonly cwd: string;
  readonly catalog: Catalog;
  readonly env: NodeJS.ProcessEnv;
  /** Brings the engine in line with another configuration. Throws to refuse. */
  readonly apply: (next: ProjectConfig) => Promise<void>;
}

/** What the supervisor asks of the engine. */
export interface SupervisedParts {
  /** Port of the worker socket. */
  readonly port: () => number;
  /** Where a worker on this machine connects to. */
  readonly url: () => string;
  /** The entries that run. */
  readonly entries: () => readonly WorkerEntry[];
}

export class Project {
  readonly source: ConfigurationSource;
  readonly #options: OpenProjectOptions;
  readonly #file: ProjectFile | undefined;
  readonly #memory: MemoryProject | undefined;
  readonly #events = new Emitter<ProjectEvent>();

  private constructor(options: OpenProjectOptions, project: ProjectFile | MemoryProject) {
    this.#options = options;
    this.#file = project instanceof ProjectFile ? project : undefined;
    this.#memory = project instanceof MemoryProject ? project : undefined;
    this.source = new ProjectConfigurationSource(project, options.catalog);
  }

  /** @throws ConfigError when the configuration does not hold */
  static async open(options: OpenProjectOptions): Promise<Project> {
    const { config, cwd, catalog, env, apply } = options;
    if (typeof config === 'string')
      return new Project(options, await ProjectFile.open(resolve(cwd, config), catalog, env));
    return new Project(options, new MemoryProject({ value: config, cwd, catalog, env, apply }));
  }

  get current(): ProjectConfig {
    return (this.#file ?? (this.#memory as MemoryProject)).current;
  }

  /** Applies edits of the file from now on. An object is not watched. */
  async watch(onRefused: (error: ConfigError | NotAppliedError) => void): Promise<void> {
    await this.#file?.watch({
      changed: (next) => this.#options.apply(next),
      refused: (error) => {
        onRefused(error);
        this.#events.emit({ kind: 'refused', message: error.message });
      },
    });
  }

  /** The engine runs other entries than before. */
  applied(): void {
    this.#events.emit({ kind: 'applied' });
  }

  /** What the supervisor sees; undefined where there is nothing to supervise. */
  supervised(parts: SupervisedParts): SupervisedProject | undefined {
    const file = this.#file;
    if (file === undefined && !this.current.entries.some(({ workerPath }) => workerPath !== undefined))
      return undefined;
    return {
      configPath: file?.path,
      catalog: this.#options.catalog,
      port: parts.port,
      url: parts.url,
      entries: () => inOrderOf(this.current.entries, parts.entries()),
      onChange: (listener) => this.#events.on(listener),
      edit: (change) => (file === undefined ? Promise.reject(noFile()) : file.edit(change)),
    };
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}

/** What runs, as config.yaml has it; what runs without being listed comes last. */
function inOrderOf(listed: readonly WorkerEntry[], running: readonly WorkerEntry[]): WorkerEntry[] {
  const places = new Map(listed.map(({ id }, place) => [id, place]));
  const place = ({ id }: WorkerEntry): number => places.get(id) ?? listed.length;
  return [...running].sort((a, b) => place(a) - place(b));
}

function noFile(): TrineError {
  return new TrineError(
    'config_not_a_file',
    'this engine was given its configuration as an object: there is no config.yaml to edit',
  );
}
