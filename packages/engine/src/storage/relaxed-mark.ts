/**
 * A mark beside the database: commits were made that are not synced one by one (`normal` durability).
 * After a power cut their log may have a hole with many commits behind it, and that is no damage. It
 * is on disk before the first such commit, and goes when the log has been emptied.
 */
import { closeSync, existsSync, fsyncSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';

export class RelaxedMark {
  readonly #path: string;
  #isSet: boolean;

  constructor(file: string) {
    this.#path = `${file}-relaxed`;
    this.#isSet = existsSync(this.#path);
  }

  get isSet(): boolean {
    return this.#isSet;
  }

  set(): void {
    if (this.#isSet) return;
    syncAndClose(openSync(this.#path, 'w'));
    syncFolder(dirname(this.#path));
    this.#isSet = true;
  }

  /** Only when the log is empty. */
  clear(): void {
    if (!this.#isSet) return;
    rmSync(this.#path, { force: true });
    this.#isSet = false;
  }
}

export function syncFolder(path: string): void {
  try {
    syncAndClose(openSync(path, 'r'));
  } catch (error) {
    // Some systems cannot sync a folder; they say so by these.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EISDIR' && code !== 'EPERM' && code !== 'EINVAL') throw error;
  }
}

function syncAndClose(descriptor: number): void {
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
