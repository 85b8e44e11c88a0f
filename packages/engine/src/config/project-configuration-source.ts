import { z } from 'zod';
import { Emitter } from '../core/emitter.js';
import type { JsonValue, Registration } from '../core/worker-host.js';
import type { Catalog } from './catalog.js';
import type { ConfigurationChange, ConfigurationItem, ConfigurationSource } from './configuration-source.js';
import { diffProjects } from './diff.js';
import { ConfigError } from './errors.js';
import type { ProjectConfig, WorkerEntry } from './project.js';

/** A project whose settings can be changed: `ProjectFile`, or `MemoryProject` when embedding. */
export interface ChangeableProject {
  readonly current: ProjectConfig;
  readonly env: NodeJS.ProcessEnv;
  /** Absolute folder of config.yaml; undefined without files. */
  readonly folder: string | undefined;
  /** Changes one entry's settings and applies them. */
  setConfig(id: string, value: JsonValue): Promise<void>;
  onChange(listener: (event: { readonly before: ProjectConfig; readonly after: ProjectConfig }) => void): Registration;
}

/** The built-in entries of a project as configurations. */
export class ProjectConfigurationSource implements ConfigurationSource {
  readonly #project: ChangeableProject;
  readonly #catalog: Catalog;
  readonly #changes = new Emitter<ConfigurationChange>();
  readonly #files = new Emitter<undefined>();
  readonly #schemas = new Map<string, JsonValue>();

  constructor(project: ChangeableProject, catalog: Catalog) {
    this.#project = project;
    this.#catalog = catalog;
    project.onChange(({ before, after }) => {
      this.#tell(before, after);
      this.#files.emit(undefined);
    });
  }

  get env(): NodeJS.ProcessEnv {
    return this.#project.env;
  }

  get folder(): string | undefined {
    return this.#project.folder;
  }

  list(): ConfigurationItem[] {
    return this.#project.current.entries
      .filter((entry) => entry.canonical !== undefined)
      .map((entry) => this.#item(entry));
  }

  find(id: string): ConfigurationItem | undefined {
    const entry = this.#entry(id);
    return entry === undefined ? undefined : this.#item(entry);
  }

  async set(id: string, value: JsonValue): Promise<void> {
    const entry = this.#entry(id);
    if (entry === undefined)
      throw new ConfigError([{ file: '', line: undefined, message: `worker '${id}' is not listed` }]);
    await this.#project.setConfig(entry.id, value);
  }

  onChange(listener: (change: ConfigurationChange) => void): Registration {
    return this.#changes.on(listener);
  }

  onFiles(listener: () => void): Registration {
    return this.#files.on(listener);
  }

  #entry(id: string): WorkerEntry | undefined {
    const builtIns = this.#project.current.entries.filter((entry) => entry.canonical !== undefined);
    const canonical = this.#catalog.find(id)?.name;
    return builtIns.find((entry) => entry.id === id) ?? builtIns.find((entry) => entry.canonical === canonical);
  }

  #tell(before: ProjectConfig, after: ProjectConfig): void {
    const { added, removed, changed } = diffProjects(before, after);
    for (const entry of removed)
      if (entry.canonical !== undefined) this.#changes.emit({ kind: 'removed', before: this.#item(entry) });
    for (const each of changed) {
      if (each.after.canonical === undefined) continue;
      this.#changes.emit({ kind: 'changed', before: this.#item(each.before), item: this.#item(each.after) });
    }
    for (const entry of added)
      if (entry.canonical !== undefined) this.#changes.emit({ kind: 'added', item: this.#item(entry) });
  }

  #item(entry: WorkerEntry): ConfigurationItem {
    const schema = this.#schema(entry.canonical ?? entry.name);
    return { id: entry.id, schema, template: entry.template ?? null, value: entry.rawConfig ?? null };
  }

  #schema(canonical: string): JsonValue {
    let schema = this.#schemas.get(canonical);
    if (schema === undefined) {
      const found = this.#catalog.find(canonical)?.schema ?? z.unknown();
      schema = z.toJSONSchema(found, { target: 'draft-7', io: 'input', unrepresentable: 'any' }) as JsonValue;
      this.#schemas.set(canonical, schema);
    }
    return schema;
  }
}
