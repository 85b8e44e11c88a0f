/** A configuration that has been read and found right: what runs, with which settings. */
export interface ProjectConfig {
  /** Absolute path of config.yaml; undefined when the configuration came as an object. */
  readonly file: string | undefined;
  readonly entries: readonly WorkerEntry[];
  /** What is right but surprising, one line each, to be logged once. */
  readonly warnings: readonly string[];
  /** `registration_namespace_grace_ms` of the file, in milliseconds. */
  readonly registrationNamespaceGraceMs?: number;
}

/** One item of `workers:`. */
export interface WorkerEntry {
  /** The name; the second and later entries of one name are `name#1`, `name#2`, so that the first keeps its id. */
  readonly id: string;
  /** As typed. */
  readonly name: string;
  /** The built-in's canonical name; undefined for local workers. */
  readonly canonical: string | undefined;
  /** Built-ins: what their schema made of it, defaults included. Others: the same as `rawConfig`. */
  readonly config: unknown;
  /** The block with its placeholders expanded, before validation; undefined when there is none. */
  readonly rawConfig: unknown;
  /** The block as written, placeholders and all. */
  readonly template?: unknown;
  /** Absolute path of the file `config/<id>.yaml`, where the settings come from one. */
  readonly source?: string;
  /** Absolute folder of a local worker. */
  readonly workerPath: string | undefined;
  /** Line of the entry in config.yaml, from 1. */
  readonly line: number | undefined;
}

/** Built-ins that may be listed more than once (one port each). */
export const REPEATABLE: ReadonlySet<string> = new Set(['iii-worker-manager']);
