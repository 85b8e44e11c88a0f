/**
 * A log file that is appended to and never grows without bound: at its limit it becomes `.1`, the
 * `.1` before it `.2`, and so on. Writes happen in order, off the caller's path.
 */
import { appendFile, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A file is moved aside when it would grow beyond this many bytes. */
export const MAX_LOG_BYTES = 10 * 1024 * 1024;
/** Older files that are kept beside the current one. */
export const KEPT_LOGS = 3;
/** Text that may wait for the disk, in characters; what does not fit is counted and said. */
const MAX_WAITING_CHARS = 1024 * 1024;

export interface RotatingFileOptions {
  readonly maxBytes?: number;
  readonly kept?: number;
}

export class RotatingFile {
  readonly path: string;
  readonly #maxBytes: number;
  readonly #kept: number;
  #waiting = '';
  #dropped = 0;
  #size: number | undefined;
  #writing: Promise<void> | undefined;
  #failure: unknown;

  constructor(path: string, options: RotatingFileOptions = {}) {
    this.path = path;
    this.#maxBytes = options.maxBytes ?? MAX_LOG_BYTES;
    this.#kept = options.kept ?? KEPT_LOGS;
  }

  /** The first error of the disk since the file was opened; logging goes on trying. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Appends one line. */
  line(text: string): void {
    if (this.#waiting.length > MAX_WAITING_CHARS) {
      this.#dropped++;
      return;
    }
    this.#waiting += `${text}\n`;
    this.#writing ??= this.#drain();
  }

  /** Resolves when everything told so far is in the file. */
  async flush(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  async #drain(): Promise<void> {
    // A turn later: lines that come together are written together.
    await Promise.resolve();
    try {
      while (this.#waiting !== '') {
        const dropped =
          this.#dropped > 0 ? `--- ${this.#dropped} lines were dropped: the disk was slower than the worker ---\n` : '';
        const text = this.#waiting + dropped;
        this.#waiting = '';
        this.#dropped = 0;
        await this.#append(text);
      }
    } catch (error) {
      this.#failure ??= error;
      this.#size = undefined;
    } finally {
      this.#writing = undefined;
    }
  }

  async #append(text: string): Promise<void> {
    const bytes = Buffer.byteLength(text);
    if (this.#size === undefined) {
      await mkdir(dirname(this.path), { recursive: true });
      this.#size = await stat(this.path).then(
        (found) => found.size,
        () => 0,
      );
    }
    if (this.#size > 0 && this.#size + bytes > this.#maxBytes) await this.#rotate();
    await appendFile(this.path, text);
    this.#size = (this.#size ?? 0) + bytes;
  }

  async #rotate(): Promise<void> {
    await rm(`${this.path}.${this.#kept}`, { force: true });
    for (let index = this.#kept - 1; index >= 1; index--)
      await rename(`${this.path}.${index}`, `${this.path}.${index + 1}`).catch(() => undefined);
    await rename(this.path, `${this.path}.1`);
    this.#size = 0;
  }
}
