import type { JsonValue, Registration } from '../core/worker-host.js';

/** A built-in worker's settings as the `configuration` worker shows them. */
export interface ConfigurationItem {
  /** The entry's id: its name as typed (`iii-queue` or `queue`), `name#1` when repeated. */
  readonly id: string;
  /** JSON Schema of the value. */
  readonly schema: JsonValue;
  /** As written, placeholders and all; null where there is no block. */
  readonly template: unknown;
  /** With placeholders replaced; null where there is no block. */
  readonly value: unknown;
}

export type ConfigurationChange =
  | { readonly kind: 'added'; readonly item: ConfigurationItem }
  | { readonly kind: 'changed'; readonly item: ConfigurationItem; readonly before: ConfigurationItem }
  | { readonly kind: 'removed'; readonly before: ConfigurationItem };

/** What the `configuration` worker needs of the project, beside its `WorkerHost`. */
export interface ConfigurationSource {
  /** Built-in entries in force now. */
  list(): ConfigurationItem[];
  /** One entry, by its id or another spelling of its name. */
  find(id: string): ConfigurationItem | undefined;
  /** Environment for placeholders. */
  readonly env: NodeJS.ProcessEnv;
  /** Absolute folder of config.yaml; undefined when nothing may be written (embedding). */
  readonly folder: string | undefined;
  /**
   * Replaces an entry's settings where they are kept (config.yaml, its `config/<id>.yaml`, or memory)
   * and resolves once they are in force.
   *
   * @throws ConfigError when the value does not hold, or was refused; nothing is changed then
   */
  set(id: string, value: JsonValue): Promise<void>;
  /** Tells of each change in force, by whoever it was made. */
  onChange(listener: (change: ConfigurationChange) => void): Registration;
  /** Tells that the files `<id>.yaml` may have changed. */
  onFiles(listener: () => void): Registration;
}
