/**
 * What a channel holds beyond its buffer: a ring in a temporary file without a name, written and read in
 * order. It exists for writers that must be read from although their reader stands still: the Python SDK
 * cuts a connection whose pings are not answered, and its pings lie behind its data.
 *
 * States: `open` -> `closed` (by its channel, or after a failure of the disk, which is told once).
 */
import { randomUUID } from 'node:crypto';
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChannelMessage } from './channel.js';

/** Four bytes of length, one that says text or binary. */
const HEAD_BYTES = 5;
/** What may wait for the disk in memory before the writer is held up, in bytes. */
const MAX_UNWRITTEN_BYTES = 4 * 1024 * 1024;
/** Only its owner may read the file while it has a name. */
const FILE_MODE = 0o600;

export class Spill {
  readonly #capacityBytes: number;
  readonly #onFailure: () => void;
  #file: Promise<FileHandle> | undefined;
  /** Every operation waits for those before it. */
  #last: Promise<unknown> = Promise.resolve();
  /** Positions in the endless stream; where they are in the file is their rest by the capacity. */
  #written = 0;
  #read = 0;
  #unwrittenBytes = 0;
  #isClosed = false;

  /** @param onFailure - the file cannot be made, written or read */
  constructor(capacityBytes: number, onFailure: () => void) {
    this.#capacityBytes = capacityBytes;
    this.#onFailure = onFailure;
  }

  /** More waits for the disk than should be in memory. */
  get isBehind(): boolean {
    return this.#unwrittenBytes > MAX_UNWRITTEN_BYTES;
  }

  /** What a message takes up in here, in bytes. */
  sizeOf(data: Buffer): number {
    return data.length + HEAD_BYTES;
  }

  /** Puts a message at the end. There must be room for it. */
  append(message: ChannelMessage): void {
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt32BE(message.data.length);
    head[4] = message.isText ? 1 : 0;
    const at = this.#written;
    const size = this.sizeOf(message.data);
    this.#written += size;
    this.#unwrittenBytes += size;
    void this.#inLine(async (file) => {
      await this.#put(file, head, at);
      await this.#put(file, message.data, at + HEAD_BYTES);
      this.#unwrittenBytes -= size;
    });
  }

  /** Resolves when what was appended so far is in the file. */
  async settled(): Promise<void> {
    await this.#last;
  }

  /**
   * Takes messages from the front.
   *
   * @param maxBytes - stop after the message that reaches this
   * @returns undefined after a failure or when closed
   */
  take(maxBytes: number): Promise<ChannelMessage[] | undefined> {
    return this.#inLine(async (file) => {
      const messages: ChannelMessage[] = [];
      let at = this.#read;
      const until = this.#written;
      while (at < until && at - this.#read < maxBytes) {
        const head = await this.#get(file, HEAD_BYTES, at);
        const length = head.readUInt32BE();
        messages.push({ data: await this.#get(file, length, at + HEAD_BYTES), isText: head[4] === 1 });
        at += HEAD_BYTES + length;
      }
      this.#read = at;
      return messages;
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const file = this.#file;
    if (file !== undefined) void this.#last.then(async () => (await file).close()).catch(() => undefined);
  }

  #inLine<T>(run: (file: FileHandle) => Promise<T>): Promise<T | undefined> {
    const done = this.#last.then(async () => {
      if (this.#isClosed) return undefined;
      try {
        return await run(await (this.#file ??= unnamedFile()));
      } catch {
        if (!this.#isClosed) this.#onFailure();
        return undefined;
      }
    });
    this.#last = done;
    return done;
  }

  async #put(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
    let from = 0;
    while (from < bytes.length) {
      const position = (at + from) % this.#capacityBytes;
      const length = Math.min(bytes.length - from, this.#capacityBytes - position);
      from += (await file.write(bytes, from, length, position)).bytesWritten;
    }
  }

  async #get(file: FileHandle, length: number, at: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    let from = 0;
    while (from < length) {
      const position = (at + from) % this.#capacityBytes;
      const { bytesRead } = await file.read(
        bytes,
        from,
        Math.min(length - from, this.#capacityBytes - position),
        position,
      );
      if (bytesRead === 0) throw new Error('the temporary file of a channel is shorter than what was written to it');
      from += bytesRead;
    }
    return bytes;
  }
}

/** A file that is gone when it is closed, whatever becomes of the process. */
async function unnamedFile(): Promise<FileHandle> {
  const path = join(tmpdir(), `trine-channel-${randomUUID()}`);
  const file = await open(path, 'wx+', FILE_MODE);
  await unlink(path);
  return file;
}
