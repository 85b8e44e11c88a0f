import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { tempFolder, type TempFolder } from '@trine/testing';

const run = promisify(execFile);

/** A disk of a few megabytes, in memory. Mounting one is a right that not everybody has. */
export class SmallDisk {
  readonly #folder: TempFolder;

  private constructor(folder: TempFolder) {
    this.#folder = folder;
  }

  /** @throws Error where it may not be mounted */
  static async mount(megabytes: number): Promise<SmallDisk> {
    const folder = await tempFolder('trine-disk-');
    try {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder.path]);
    } catch (error) {
      await folder.remove();
      throw error;
    }
    return new SmallDisk(folder);
  }

  get path(): string {
    return this.#folder.path;
  }

  async resize(megabytes: number): Promise<void> {
    await run('mount', ['-o', `remount,size=${megabytes}m`, this.path]);
  }

  async unmount(): Promise<void> {
    await run('umount', ['-l', this.path]);
    await this.#folder.remove();
  }
}
