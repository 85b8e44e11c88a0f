/**
 * What the supervisor sees of a project. The wiring builds it over `config/`; a test hands in a
 * plain object. Structural on purpose: a `WorkerEntry`, a `Catalog` and a `ProjectEditor` of
 * `config/` fit as they are.
 */
import type { JsonValue, Registration } from '../core/worker-host.js';

/** One entry of `workers:`, local or built-in. */
export interface SupervisedEntry {
  /** As typed in config.yaml. */
  readonly name: string;
  /** Canonical name of the built-in that it names; undefined for local workers. */
  readonly canonical: string | undefined;
  /** Its `config:` block as written, placeholders expanded. */
  readonly rawConfig: unknown;
  /** The block as written, placeholders and all. */
  readonly template?: unknown;
  /** Absolute folder of a local worker; undefined for built-ins. */
  readonly workerPath: string | undefined;
}

/** Which built-ins exist. */
export interface SupervisedCatalog {
  find(name: string): { readonly name: string; readonly defaultBlock?: JsonValue } | undefined;
  /** Why a known name cannot be added to this version; undefined when the name is unknown or built. */
  notBuilt(name: string): string | undefined;
  /** All spellings, for the nearest-name hint. */
  names(): readonly string[];
}

/** Edits of config.yaml, applied together when the function returns. */
export interface SupervisedEditor {
  hasWorker(name: string): boolean;
  addWorker(entry: { readonly name: string; readonly config?: JsonValue; readonly workerPath?: string }): void;
  removeWorker(name: string): void;
}

/**
 * `applied`: another set of entries is in force. `refused`: an edit of the file was not taken, and
 * the entries before it stay.
 */
export type ProjectEvent = { readonly kind: 'applied' } | { readonly kind: 'refused'; readonly message: string };

/** An edit of config.yaml that was written. */
export interface SupervisedEdit {
  /** Makes the file what it was. False when it has been changed since, and was left alone. */
  takeBack(): Promise<boolean>;
}

export interface SupervisedProject {
  /** Absolute path of config.yaml; undefined when the engine was given its configuration as an object. */
  readonly configPath: string | undefined;
  readonly catalog: SupervisedCatalog;
  /** Port of the worker socket. Asked at each start of a worker, after the listener is up. */
  port(): number;
  /** Where a worker on this machine connects to: its `III_URL`. Asked with the port. */
  url(): string;
  /** All entries in force now, built-ins included. */
  entries(): readonly SupervisedEntry[];
  /** Tells of each reload, after the built-ins took it. */
  onChange(listener: (event: ProjectEvent) => void): Registration;
  /**
   * Edits config.yaml. Resolves once written; an `applied` or `refused` event follows. Undefined when
   * there was nothing to write.
   */
  edit(change: (editor: SupervisedEditor) => void): Promise<SupervisedEdit | undefined>;
}
