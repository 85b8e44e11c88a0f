/** Watches a worker's folder for edits of its sources and dependency files. */
import { basename, extname, relative, sep } from 'node:path';
import { watch, type FSWatcher } from 'chokidar';
import { isDependencyFile } from './fingerprint.js';

/** Edits that come within this many milliseconds are one. */
const DEBOUNCE_MS = 500;

/** Folders of tools, caches and products, as the reference leaves them out. */
const IGNORED = new Set([
  'node_modules', '.pnpm-store', '.parcel-cache', '.turbo', '.next', '.nuxt', '.svelte-kit', 'target', '.venv', 'venv', '__pycache__',
  '.pytest_cache', '.mypy_cache', '.ruff_cache', '.tox', 'vendor', '.bundle', '.gradle', '.m2', 'obj', '.nuget', '_build', 'deps', 'dist', 'build',
  'out', 'coverage', '.cache', '.git', '.svn', '.hg', '.idea', '.vscode', '.DS_Store', '.iii',
]); // prettier-ignore

/** What people edit. Anything else (a database, a log) may be the worker's own doing and must not restart it. */
const SOURCE = new Set([
  '.ts', '.tsx', '.mts', '.cts', '.js', '.jsx', '.mjs', '.cjs', '.py', '.pyi', '.rs', '.go', '.rb', '.ex', '.exs', '.java', '.kt', '.cs', '.php', '.sh',
  '.toml', '.yaml', '.yml', '.sql', '.graphql', '.proto',
]); // prettier-ignore

export interface Edit {
  readonly dependencies: boolean;
  readonly sources: boolean;
}

export class SourceWatch {
  readonly #watcher: FSWatcher;
  #timer: NodeJS.Timeout | undefined;
  #dependencies = false;
  #sources = false;

  /** @param onEdit - called once per burst of edits */
  constructor(folder: string, onEdit: (edit: Edit) => void) {
    this.#watcher = watch(folder, {
      ignoreInitial: true,
      ignored: (path) => path !== folder && isIgnored(basename(path)),
    });
    this.#watcher.on('all', (event, path) => {
      if (event === 'addDir' || event === 'unlinkDir') return;
      const file = relative(folder, path).split(sep).join('/');
      if (isDependencyFile(file)) this.#dependencies = true;
      else if (isSource(file)) this.#sources = true;
      else return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        const edit = { dependencies: this.#dependencies, sources: this.#sources };
        this.#dependencies = this.#sources = false;
        onEdit(edit);
      }, DEBOUNCE_MS);
    });
    // Out of watches, or the folder is gone: the worker runs on, unwatched.
    this.#watcher.on('error', () => undefined);
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#watcher.close();
  }
}

function isIgnored(name: string): boolean {
  return IGNORED.has(name) || name.endsWith('.egg-info');
}

function isSource(file: string): boolean {
  const name = basename(file);
  return SOURCE.has(extname(name)) || name === '.env' || name.startsWith('.env.');
}
