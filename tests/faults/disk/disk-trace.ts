/**
 * The trace of a disk, and what is on that disk if the power goes at a point of it: all that was synced,
 * and of the rest a seeded choice of 512-byte sectors, since a disk writes sectors whole and in any order.
 */
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SeededRandom } from '../../support/seeded-random.js';

const MAGIC = 0x4b534944;
const HEAD_BYTES = 24;
const SECTOR_BYTES = 512;

export interface DiskEvent {
  readonly kind: 'W' | 'T' | 'S' | 'U' | 'C';
  readonly path: string;
  /** Of a write or truncate in the file; of a sync: where the trace was when it began. */
  readonly offset: number;
  readonly data: Buffer;
  /** Where in the trace it begins and ends. */
  readonly start: number;
  readonly end: number;
}

export function* readTrace(path: string): Generator<DiskEvent> {
  const descriptor = openSync(path, 'r');
  const read = (length: number, at: number): Buffer | undefined => {
    const bytes = Buffer.alloc(length);
    let got = 0;
    while (got < length) {
      const more = readSync(descriptor, bytes, got, length - got, at + got);
      if (more === 0) return undefined; // the process was killed while it wrote this
      got += more;
    }
    return bytes;
  };
  try {
    for (let at = 0; ;) {
      const head = read(HEAD_BYTES, at);
      if (head === undefined) return;
      if (head.readUInt32LE(0) !== MAGIC) throw new Error(`the trace is out of step at ${at}`);
      const pathBytes = head.readUInt16LE(6);
      const dataBytes = head.readUInt32LE(16);
      const rest = read(pathBytes + dataBytes, at + HEAD_BYTES);
      if (rest === undefined) return;
      const end = at + HEAD_BYTES + pathBytes + dataBytes;
      yield {
        kind: String.fromCharCode(head[4] as number) as DiskEvent['kind'],
        path: rest.toString('utf8', 0, pathBytes),
        offset: Number(head.readBigUInt64LE(8)),
        data: rest.subarray(pathBytes),
        start: at,
        end,
      };
      at = end;
    }
  } finally {
    closeSync(descriptor);
  }
}

interface FileState {
  /** What is on the disk for sure. */
  synced: GrowingBuffer;
  /** What came after, in order. */
  pending: DiskEvent[];
  /** The file's name is on the disk for sure. */
  isNamed: boolean;
}

/** The disk at the present point of a trace. */
export class TracedDisk {
  readonly #files = new Map<string, FileState>();

  apply(event: DiskEvent): void {
    const { kind, path } = event;
    if (kind === 'U') {
      this.#files.delete(path);
      return;
    }
    let file = this.#files.get(path);
    if (file === undefined)
      this.#files.set(path, (file = { synced: new GrowingBuffer(), pending: [], isNamed: false }));
    if (kind === 'W' || kind === 'T') file.pending.push(event);
    if (kind !== 'S') return;
    const later = file.pending.findIndex(({ start }) => start >= event.offset);
    const covered = later < 0 ? file.pending : file.pending.slice(0, later);
    for (const each of covered) change(file.synced, each);
    file.pending = later < 0 ? [] : file.pending.slice(later);
    file.isNamed = true;
  }

  /** Writes what is on the disk if the power goes now. */
  writeImage(folder: string, names: readonly string[], random: SeededRandom): void {
    for (const name of names) {
      const file = this.#files.get(name);
      if (file === undefined || (!file.isNamed && random.chance(0.5))) continue;
      const content = file.synced.copy();
      // Some cuts lose nearly all that was not synced, some nearly nothing, most are in between.
      const share = random.pick([0, 0.1, 0.5, 0.9, 1]);
      for (const event of file.pending) {
        if (event.kind === 'T') {
          if (random.chance(share)) content.truncate(event.offset);
          continue;
        }
        for (let at = 0; at < event.data.length;) {
          const length = Math.min(SECTOR_BYTES - ((event.offset + at) % SECTOR_BYTES), event.data.length - at);
          if (random.chance(share)) content.write(event.offset + at, event.data.subarray(at, at + length));
          at += length;
        }
      }
      writeFileSync(join(folder, name), content.bytes);
    }
  }
}

function change(content: GrowingBuffer, { kind, offset, data }: DiskEvent): void {
  if (kind === 'T') content.truncate(offset);
  else content.write(offset, data);
}

class GrowingBuffer {
  #buffer = Buffer.alloc(64 * 1024);
  #length = 0;

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  copy(): GrowingBuffer {
    const copy = new GrowingBuffer();
    copy.write(0, this.bytes);
    return copy;
  }

  write(offset: number, data: Buffer): void {
    const end = offset + data.length;
    if (end > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(end, this.#buffer.length * 2));
      this.bytes.copy(larger);
      this.#buffer = larger;
    }
    data.copy(this.#buffer, offset);
    this.#length = Math.max(this.#length, end);
  }

  truncate(length: number): void {
    if (length < this.#length) this.#buffer.fill(0, length, this.#length);
    this.#length = length;
    if (length > this.#buffer.length) this.write(length, Buffer.alloc(0));
  }
}
