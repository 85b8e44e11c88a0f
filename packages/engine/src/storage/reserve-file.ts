/**
 * Room set aside: a file of 16 MiB that is deleted when the disk is full, so that the ends of jobs that
 * run still fit. It is written with content: a sparse file would hold no room.
 */
import { rmSync } from 'node:fs';
import { open, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Enough for some ten thousand ends of jobs, in bytes. */
export const RESERVE_BYTES = 16 * 1024 * 1024;
const PIECE_BYTES = 1024 * 1024;

export class ReserveFile {
  readonly path: string;
  #writing: Promise<void> | undefined;

  /** @param file - the database that it is for */
  constructor(file: string) {
    this.path = join(dirname(file), 'engine.reserve');
  }

  /** Sets the room aside, unless it is. @throws the system's error when there is none */
  ensure(): Promise<void> {
    this.#writing ??= this.#write().finally(() => (this.#writing = undefined));
    return this.#writing;
  }

  /** Gives the room back. */
  free(): void {
    try {
      rmSync(this.path, { force: true });
    } catch {
      // A read-only disk: there was no room to win.
    }
  }

  async #write(): Promise<void> {
    const present = await stat(this.path).catch(() => undefined);
    if (present?.size === RESERVE_BYTES) return;
    const handle = await open(this.path, 'w');
    try {
      const piece = Buffer.alloc(PIECE_BYTES, 'room for the ends of jobs\n');
      for (let written = 0; written < RESERVE_BYTES; written += PIECE_BYTES) await handle.write(piece);
      await handle.sync();
    } catch (error) {
      await rm(this.path, { force: true }).catch(() => undefined);
      throw error;
    } finally {
      await handle.close();
    }
  }
}
