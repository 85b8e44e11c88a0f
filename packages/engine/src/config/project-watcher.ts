import { dirname, sep } from 'node:path';
import { watch, type FSWatcher } from 'chokidar';

export interface ProjectWatcherOptions {
  /** Absolute path of config.yaml. */
  readonly file: string;
  /** Absolute folder of `config/<id>.yaml`; need not exist. */
  readonly folder: string;
  /** Called once after a burst of changes. */
  readonly changed: () => void;
  readonly failed: (error: Error) => void;
}

/** An editor writes, renames and touches in one go: wait until that is over. In milliseconds. */
const DEBOUNCE_MS = 200;

/**
 * Watches config.yaml and the folder of settings through their parent folder, so that editors that
 * write another file and rename it are seen too.
 */
export class ProjectWatcher {
  readonly #options: ProjectWatcherOptions;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ProjectWatcherOptions) {
    this.#options = options;
  }

  /** Resolves once changes are seen. */
  async start(): Promise<void> {
    const { file, folder, failed } = this.#options;
    const project = dirname(file);
    const outside = !`${folder}${sep}`.startsWith(`${project}${sep}`);
    const watcher = watch(outside ? [project, folder] : project, {
      ignoreInitial: true,
      ignored: (path) => !this.#concerns(path),
    });
    this.#watcher = watcher;
    watcher.on('all', () => this.#schedule());
    watcher.on('error', (error) => failed(error instanceof Error ? error : new Error(String(error))));
    await new Promise<void>((ready) => watcher.once('ready', ready));
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    const watcher = this.#watcher;
    this.#watcher = undefined;
    await watcher?.close();
  }

  /** The two places themselves, and the folders on the way to them. */
  #concerns(path: string): boolean {
    const { file, folder } = this.#options;
    if (path === file || `${folder}${sep}`.startsWith(`${path}${sep}`) || path === dirname(file)) return true;
    return dirname(path) === folder && path.endsWith('.yaml') && !path.startsWith(`${folder}${sep}.`);
  }

  #schedule(): void {
    if (this.#watcher === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#options.changed, DEBOUNCE_MS);
    this.#timer.unref();
  }
}
