/** The preloaded library that records and breaks what an engine does to its disk. */
import { execFile } from 'node:child_process';
import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SOURCE = fileURLToPath(new URL('./disk-faults.c', import.meta.url));

export type DiskMode = 'sound' | 'full' | 'read-only' | 'io-error' | 'sync-error' | 'slow-sync';
const MODES: readonly DiskMode[] = ['sound', 'full', 'read-only', 'io-error', 'sync-error', 'slow-sync'];

/** A disk that tests command: the folder below which an engine with `env` is watched. */
export class FaultyDisk {
  readonly env: Readonly<Record<string, string>>;
  readonly tracePath: string;
  readonly #control: number;

  private constructor(library: string, watched: string, workDir: string, isTraced: boolean) {
    this.tracePath = join(workDir, 'disk.trace');
    const controlPath = join(workDir, 'disk.control');
    this.#control = openSync(controlPath, 'w+');
    this.set('sound');
    this.env = {
      LD_PRELOAD: library,
      TRINE_DISK_DIR: watched,
      TRINE_DISK_CONTROL: controlPath,
      ...(isTraced ? { TRINE_DISK_TRACE: this.tracePath } : {}),
    };
  }

  /**
   * Builds the library with `cc`.
   *
   * @param watched - absolute path of a folder
   * @param workDir - where library, control file and trace go; not below `watched`
   */
  static async create(
    watched: string,
    workDir: string,
    options: { readonly isTraced?: boolean } = {},
  ): Promise<FaultyDisk> {
    const library = join(workDir, 'disk-faults.so');
    await promisify(execFile)('cc', ['-O2', '-Wall', '-shared', '-fPIC', '-o', library, SOURCE, '-ldl', '-lpthread']);
    return new FaultyDisk(library, watched, workDir, options.isTraced === true);
  }

  /** @param roomBytes - for `full`: what may still be written */
  set(mode: DiskMode, roomBytes = 0): void {
    const bytes = Buffer.alloc(8);
    // The room first: the mode makes it count. Between them lies what the library writes.
    bytes.writeBigInt64LE(BigInt(roomBytes), 0);
    writeSync(this.#control, bytes, 0, 8, 8);
    bytes.writeInt32LE(MODES.indexOf(mode), 0);
    writeSync(this.#control, bytes, 0, 4, 0);
  }

  /** Syncs that do not return because the mode is `slow-sync`. */
  get waitingSyncs(): number {
    const bytes = Buffer.alloc(4);
    readSync(this.#control, bytes, 0, 4, 4);
    return bytes.readInt32LE(0);
  }

  /** How far the trace has come: what is acknowledged now rests on no more than this. */
  get traceLength(): number {
    return statSync(this.tracePath, { throwIfNoEntry: false })?.size ?? 0;
  }

  close(): void {
    closeSync(this.#control);
  }
}

/** Why the library cannot be used here; undefined = it can. */
export async function noFaultyDisk(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'a preloaded library needs Linux';
  try {
    await promisify(execFile)('cc', ['--version']);
    return undefined;
  } catch {
    return 'there is no C compiler (`cc`)';
  }
}
