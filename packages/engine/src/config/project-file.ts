/**
 * A config.yaml on disk: read, watched, edited.
 *
 * `current` is the last configuration that held and that the listener took. A file that does not
 * hold, or whose configuration the listener refuses by throwing, leaves it as it was; one that the
 * listener took in part (`NotAppliedError`) leaves what is in force then. The next save is tried again. Reloads run one after another. Edits hold a lock file while they read and write,
 * so that engine and command cannot lose each other's.
 */
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { toErrorBody } from '@trine/protocol';
import { isMap, parseDocument } from 'yaml';
import { Emitter } from '../core/emitter.js';
import type { JsonValue, Registration } from '../core/worker-host.js';
import { writeAtomically } from './atomic-write.js';
import type { Catalog } from './catalog.js';
import { readConfigFolder } from './config-folder.js';
import { diffProjects } from './diff.js';
import { editProject, readProjectText, type WrittenEdit } from './edit-project.js';
import { ConfigError, NotAppliedError } from './errors.js';
import { withFileLock } from './file-lock.js';
import { mergeInto } from './merge-into.js';
import { parseProject, settingsFolder } from './parse.js';
import type { ProjectConfig } from './project.js';
import type { ChangeableProject } from './project-configuration-source.js';
import type { ProjectEditor } from './project-editor.js';
import { ProjectWatcher } from './project-watcher.js';

/** A text counts as saved when it has not changed for this long, in milliseconds. */
const SETTLE_MS = 30;
/** The same for an empty file, which is rarely meant. */
const EMPTY_SETTLE_MS = 500;
const EMPTIED = 'the file is empty, which would stop every worker; if that is meant, write `workers: []`';
/** After this many changes in a row the text is taken as it is. */
const MAX_SETTLE_ROUNDS = 20;

export interface ProjectFileListener {
  /** Brings what runs in line. Throw to refuse: a `NotAppliedError` says in which part. */
  changed(next: ProjectConfig): Promise<void> | void;
  /** The file does not hold, or `changed` threw: what runs goes on with the configuration before. */
  refused(error: ConfigError | NotAppliedError): void;
}

/** An edit that was written. */
export interface ProjectEdit {
  /**
   * Makes the file what it was, for an edit that was refused. What runs is not touched.
   *
   * @returns false when the file has been changed since, and was left alone
   */
  takeBack(): Promise<boolean>;
}

interface Seen {
  /** config.yaml. */
  readonly text: string;
  /** The files of settings, as one text. */
  readonly settings: string;
  /** When config.yaml was saved, in nanoseconds. */
  readonly savedAt: bigint;
  taken: boolean;
}

export class ProjectFile implements ChangeableProject {
  readonly path: string;
  readonly env: NodeJS.ProcessEnv;
  readonly #catalog: Catalog;
  readonly #changes = new Emitter<{ readonly before: ProjectConfig; readonly after: ProjectConfig }>();
  #current: ProjectConfig;
  #listener: ProjectFileListener | undefined;
  #watcher: ProjectWatcher | undefined;
  /** What the last reload read. The same again is not told twice, unless it was refused and saved again. */
  #seen: Seen;
  #reloads: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(path: string, catalog: Catalog, env: NodeJS.ProcessEnv, text: string) {
    this.path = path;
    this.#catalog = catalog;
    this.env = env;
    this.#current = this.#parse(text);
    this.#seen = { text, settings: settingsIn(this.#settingsFolder), savedAt: 0n, taken: true };
  }

  /**
   * @param path - of config.yaml; relative to the folder of the process
   * @throws ConfigError when there is no such file, or it does not hold
   */
  static async open(path: string, catalog: Catalog, env: NodeJS.ProcessEnv): Promise<ProjectFile> {
    const file = resolve(path);
    return new ProjectFile(file, catalog, env, await readProjectText(file, path));
  }

  get current(): ProjectConfig {
    return this.#current;
  }

  get folder(): string {
    return dirname(this.path);
  }

  /** Where `config/<id>.yaml` are. */
  get #settingsFolder(): string {
    const entry = this.#current.entries.find((each) => each.canonical === 'configuration');
    return settingsFolder(this.folder, entry?.rawConfig);
  }

  /** Watches the file until `close()`. Resolves once changes are seen. */
  async watch(listener: ProjectFileListener): Promise<void> {
    this.#listener = listener;
    await this.#watch();
    this.#reloadLater(); // what changed between opening and watching
  }

  /** Tells of each configuration that was taken, after the listener took it. */
  onChange(listener: (event: { readonly before: ProjectConfig; readonly after: ProjectConfig }) => void): Registration {
    return this.#changes.on(listener);
  }

  /**
   * Edits the file; the edits are written together when `change` returns. Resolves once written;
   * when watching, the listener is told at once.
   *
   * @returns undefined when there was nothing to write
   * @throws ConfigError when an edit cannot be made, or would bring a fault into the file; nothing is written then
   */
  async edit(change: (editor: ProjectEditor) => void): Promise<ProjectEdit | undefined> {
    const seen = this.#seen;
    const written = await editProject({ path: this.path, catalog: this.#catalog, env: this.env }, change);
    if (written === undefined) return undefined;
    if (this.#listener !== undefined) this.#reloadLater();
    else await this.#enqueue(() => this.#load());
    return { takeBack: () => this.#enqueue(() => this.#takeBack(written, seen)) };
  }

  /**
   * Replaces the settings of one entry where they are kept: its block in config.yaml, or its
   * `config/<id>.yaml`. Resolves once the listener took them; refused ones are taken back from the file.
   * What else is in the file and cannot be applied is told to the listener, and is no fault of these.
   *
   * @throws ConfigError when they do not hold; whatever the listener threw when it refused them
   */
  async setConfig(id: string, value: JsonValue): Promise<void> {
    const seen = this.#seen;
    const source = this.#current.entries.find((entry) => entry.id === id)?.source;
    const written =
      source === undefined
        ? await editProject({ path: this.path, catalog: this.#catalog, env: this.env }, (editor) =>
            editor.setWorkerConfig(id, value),
          )
        : await this.#editSettings(source, value);
    if (written === undefined) return;
    try {
      await this.#enqueue(() => this.#load());
    } catch (error) {
      if (error instanceof NotAppliedError && !error.refused.has(id)) {
        this.#listener?.refused(error);
        return;
      }
      await this.#enqueue(() => this.#takeBack(written, seen));
      throw error;
    }
  }

  /** Stops watching; a reload that runs is waited for. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#watcher?.stop();
    await this.#reloads;
  }

  async #watch(): Promise<void> {
    const folder = this.#settingsFolder;
    this.#watcher = new ProjectWatcher({
      file: this.path,
      folder,
      changed: () => this.#reloadLater(),
      failed: (error) => this.#listener?.refused(this.#error(`cannot be watched for changes: ${error.message}`)),
    });
    await this.#watcher.start();
  }

  #reloadLater(): void {
    void this.#enqueue(async () => {
      try {
        await this.#load();
      } catch (error) {
        const told = error instanceof ConfigError || error instanceof NotAppliedError;
        this.#listener?.refused(told ? error : this.#error(toErrorBody(error).message, error));
      }
    });
  }

  #enqueue<T>(run: () => Promise<T>): Promise<T> {
    const done = this.#reloads.then(run);
    this.#reloads = done.catch(() => undefined);
    return done;
  }

  async #load(): Promise<void> {
    if (this.#closed) return;
    const folder = this.#settingsFolder;
    const text = await this.#settledText();
    const { mtimeNs } = await stat(this.path, { bigint: true });
    const last = this.#seen;
    const seen: Seen = { text, settings: settingsIn(folder), savedAt: mtimeNs, taken: false };
    const sameText = seen.text === last.text;
    if (sameText && seen.settings === last.settings && (last.taken || seen.savedAt === last.savedAt)) return;
    this.#seen = seen;
    const next = this.#parse(text);
    const before = this.#current;
    // Emptied by a slip, or not written to its end by now: a project without workers says so.
    if (before.entries.length > 0 && parseDocument(text).contents === null) throw this.#error(EMPTIED);
    const { added, removed, changed } = diffProjects(before, next);
    // A file of settings that belongs to no entry here (a remote worker's) changes nothing that runs.
    const concernsNobody = sameText && last.taken && added.length + removed.length + changed.length === 0;
    let inPart: NotAppliedError | undefined;
    try {
      if (!concernsNobody) await this.#listener?.changed(next);
    } catch (error) {
      if (!(error instanceof NotAppliedError)) throw error;
      inPart = error;
    }
    seen.taken = inPart === undefined;
    const after = inPart?.inForce ?? next;
    this.#current = after;
    if (this.#watcher !== undefined && folder !== this.#settingsFolder) {
      await this.#watcher.stop();
      await this.#watch();
    }
    this.#changes.emit({ before, after });
    if (inPart !== undefined) throw inPart;
  }

  /**
   * The text once it stands still: an editor that writes in place empties the file first, and an
   * empty configuration would stop every worker.
   */
  async #settledText(): Promise<string> {
    let text = await readProjectText(this.path, this.path);
    for (let round = 0; round < MAX_SETTLE_ROUNDS; round++) {
      await delay(text.trim() === '' ? EMPTY_SETTLE_MS : SETTLE_MS);
      const again = await readProjectText(this.path, this.path);
      if (again === text) break;
      text = again;
    }
    return text;
  }

  #parse(text: string): ProjectConfig {
    return parseProject({ file: this.path, text, catalog: this.#catalog, env: this.env });
  }

  async #editSettings(path: string, value: JsonValue): Promise<WrittenEdit | undefined> {
    return withFileLock(this.path, async () => {
      const before = await readFile(path, 'utf8');
      const doc = parseDocument(before);
      if (!isMap(doc.contents)) doc.contents = doc.createNode({}) as unknown as typeof doc.contents;
      if (!isMap(doc.contents)) return undefined;
      mergeInto(doc, doc.contents, { ...(doc.contents.toJS(doc) as object), value });
      const after = doc.toString({ lineWidth: 0 });
      const files = readConfigFolder(dirname(path));
      const id = basename(path, '.yaml');
      parseProject({
        file: this.path,
        text: await readProjectText(this.path, this.path),
        catalog: this.#catalog,
        env: this.env,
        files: new Map([...files, [id, { path, text: after }]]),
      });
      if (after === before) return undefined;
      await writeAtomically(path, after);
      return { path, before, after };
    });
  }

  /** @param seen - what was read before the edit */
  async #takeBack({ path, before, after }: WrittenEdit, seen: Seen): Promise<boolean> {
    const isBack = await withFileLock(this.path, async () => {
      if ((await readFile(path, 'utf8')) !== after) return false;
      await writeAtomically(path, before);
      return true;
    });
    const text = await readProjectText(this.path, this.path);
    const settings = settingsIn(this.#settingsFolder);
    // What was there before the edit has been applied, or told of: it is not to be told of again.
    if (text === seen.text && settings === seen.settings) {
      const { mtimeNs: savedAt } = await stat(this.path, { bigint: true });
      this.#seen = { text, settings, savedAt, taken: seen.taken };
    } else {
      this.#reloadLater();
    }
    return isBack;
  }

  #error(message: string, cause?: unknown): ConfigError {
    return new ConfigError([{ file: basename(this.path), line: undefined, message }], { cause });
  }
}

function settingsIn(folder: string): string {
  return JSON.stringify([...readConfigFolder(folder)].map(([id, file]) => [id, file.text]));
}
