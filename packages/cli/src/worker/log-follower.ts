/**
 * Follows a file that is appended to and now and then moved aside for a new one. The moved file
 * stays open until its end has been read, so that no line is lost between the two.
 */
import { open, stat, type FileHandle } from 'node:fs/promises';

const CHUNK_BYTES = 64 * 1024;
/** Most bytes of the end of a file that are searched for its last lines. */
const MAX_TAIL_BYTES = 1024 * 1024;

/** Which file, and how far it has been read. Undefined while there is no file. */
export interface Place {
  readonly inode: number;
  readonly offset: number;
}

/** The last lines of a file, and where it ended. */
export async function lastLines(
  path: string,
  count: number,
): Promise<{ readonly text: string; readonly place: Place | undefined }> {
  const file = await openIfThere(path);
  if (file === undefined) return { text: '', place: undefined };
  try {
    const { size, ino } = await file.stat();
    const from = Math.max(0, size - MAX_TAIL_BYTES);
    const buffer = Buffer.alloc(size - from);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
    const text = buffer.toString('utf8', 0, bytesRead);
    const lines = text.split('\n');
    const end = lines.at(-1) === '' ? count + 1 : count;
    return { text: lines.slice(-end).join('\n'), place: { inode: ino, offset: from + bytesRead } };
  } finally {
    await file.close();
  }
}

export class LogFollower {
  readonly #path: string;
  #place: Place | undefined;
  #file: FileHandle | undefined;

  /** @param place - where to go on; undefined = from the start of whatever comes */
  constructor(path: string, place: Place | undefined) {
    this.#path = path;
    this.#place = place;
  }

  /** Hands on everything that is new, across rotations. */
  async read(write: (chunk: Buffer) => void): Promise<void> {
    this.#file ??= await this.#reopen();
    for (;;) {
      await this.#rest(write);
      const now = await stat(this.#path).catch(() => undefined);
      const same = now === undefined || (now.ino === this.#place?.inode && now.size >= this.#place.offset);
      if (this.#file !== undefined && same) return;
      // Rotated or emptied. What was written to the old one before it moved has to be read first.
      await this.#rest(write);
      await this.close();
      if (now === undefined) return;
      this.#place = { inode: now.ino, offset: 0 };
      this.#file = await openIfThere(this.#path);
      if (this.#file === undefined) return;
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #reopen(): Promise<FileHandle | undefined> {
    const file = await openIfThere(this.#path);
    if (file === undefined) return undefined;
    const { ino, size } = await file.stat();
    if (this.#place?.inode !== ino || size < this.#place.offset) this.#place = { inode: ino, offset: 0 };
    return file;
  }

  async #rest(write: (chunk: Buffer) => void): Promise<void> {
    while (this.#file !== undefined && this.#place !== undefined) {
      const buffer = Buffer.alloc(CHUNK_BYTES);
      const { bytesRead } = await this.#file.read(buffer, 0, CHUNK_BYTES, this.#place.offset);
      if (bytesRead === 0) return;
      this.#place = { ...this.#place, offset: this.#place.offset + bytesRead };
      write(buffer.subarray(0, bytesRead));
    }
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
