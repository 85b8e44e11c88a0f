import { Emitter } from '../core/emitter.js';
import type { JsonValue, Registration } from '../core/worker-host.js';
import { ConfigError } from './errors.js';
import { projectFromValue, type ProjectFromValueOptions } from './parse.js';
import type { ProjectConfig } from './project.js';
import type { ChangeableProject } from './project-configuration-source.js';

export interface MemoryProjectOptions extends ProjectFromValueOptions {
  /** Brings what runs in line. Throw to refuse; the configuration then stays as it was. */
  readonly apply: (next: ProjectConfig) => Promise<void> | void;
}

/** A configuration that came as an object: changes of it stay in memory. */
export class MemoryProject implements ChangeableProject {
  readonly folder = undefined;
  readonly #options: MemoryProjectOptions;
  readonly #changes = new Emitter<{ readonly before: ProjectConfig; readonly after: ProjectConfig }>();
  #value: unknown;
  #current: ProjectConfig;
  #work: Promise<unknown> = Promise.resolve();

  /** @throws ConfigError when the value does not hold */
  constructor(options: MemoryProjectOptions) {
    this.#options = options;
    this.#value = options.value;
    this.#current = projectFromValue(options);
  }

  get env(): NodeJS.ProcessEnv {
    return this.#options.env;
  }

  get current(): ProjectConfig {
    return this.#current;
  }

  onChange(listener: (event: { readonly before: ProjectConfig; readonly after: ProjectConfig }) => void): Registration {
    return this.#changes.on(listener);
  }

  setConfig(id: string, config: JsonValue): Promise<void> {
    const done = this.#work.then(async () => {
      const value = this.#with(id, config);
      const before = this.#current;
      const next = projectFromValue({ ...this.#options, value });
      await this.#options.apply(next);
      this.#value = value;
      this.#current = next;
      this.#changes.emit({ before, after: next });
    });
    this.#work = done.catch(() => undefined);
    return done;
  }

  /** The value with one entry's settings replaced. Entries stand in the order of `workers`, then `modules`. */
  #with(id: string, config: JsonValue): unknown {
    let index = this.#current.entries.findIndex((entry) => entry.id === id);
    if (index === -1) throw new ConfigError([{ file: '', line: undefined, message: `worker '${id}' is not listed` }]);
    const top = { ...(this.#value as Record<string, unknown>) };
    for (const list of ['workers', 'modules']) {
      const items = top[list];
      if (!Array.isArray(items)) continue;
      if (index < items.length) {
        top[list] = (items as object[]).map((item, at) => (at === index ? { ...item, config } : item));
        break;
      }
      index -= items.length;
    }
    return top;
  }
}
