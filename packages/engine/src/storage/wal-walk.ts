/**
 * Reads a write-ahead log as SQLite will, before SQLite does: SQLite takes the first broken frame for
 * the end of the log, and would drop everything behind it without a word.
 *
 * A power cut can only break what was not synced. Each commit is synced before the next one begins, so
 * at most one commit lies behind a break that a power cut made. Two or more of the same log mean that
 * synced bytes have changed. (Batches that are not synced are the exception, and leave a mark: see
 * `relaxed-mark.ts`.)
 *
 * Format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

export const WAL_HEADER_BYTES = 32;
export const FRAME_HEADER_BYTES = 24;
const MAGIC_LITTLE_ENDIAN = 0x377f0682;
const MAGIC_BIG_ENDIAN = 0x377f0683;
const FORMAT = 3_007_000;
const MIN_PAGE_BYTES = 512;
const MAX_PAGE_BYTES = 65_536;
/** Commits behind a break that a power cut cannot have left. */
const DAMAGING_COMMITS = 2;
/** Bytes read from the file at once. */
const CHUNK_BYTES = 4 * 1024 * 1024;

export type WalWalk =
  | { readonly kind: 'empty' }
  /** `frames` = those up to the last whole commit; `torn` = something unsynced follows, as after a crash. */
  | { readonly kind: 'sound'; readonly frames: number; readonly commits: number; readonly torn: boolean }
  | {
      readonly kind: 'damaged';
      /** Where the first broken bytes begin. */
      readonly offset: number;
      readonly fault: string;
      /** Whole commits before the break. */
      readonly commits: number;
      /** Commits behind it, which SQLite would drop. */
      readonly lostCommits: number;
    };

/** A reader of byte ranges, from a file or from memory. */
export interface Bytes {
  readonly length: number;
  /** A view that is valid until the next call. */
  at(offset: number, length: number): Buffer;
}

/** @param path - of the `-wal` file; one that is not there is empty */
export function walkWalFile(path: string): WalWalk {
  return withFileBytes(path, { kind: 'empty' }, walkWal);
}

/** Runs with the bytes of a file, or gives `absent`. */
export function withFileBytes<T>(path: string, absent: T, run: (bytes: Bytes) => T): T {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return absent;
    throw error;
  }
  try {
    return run(fileBytes(descriptor));
  } finally {
    closeSync(descriptor);
  }
}

export function walkWal(bytes: Bytes): WalWalk {
  if (bytes.length < WAL_HEADER_BYTES) return { kind: 'empty' };
  const header = Buffer.from(bytes.at(0, WAL_HEADER_BYTES));
  const magic = header.readUInt32BE(0);
  const pageBytes = header.readUInt32BE(8);
  const isLittle = magic === MAGIC_LITTLE_ENDIAN;
  const salt = header.subarray(16, 24);
  let sums: Sums = [0, 0];
  let fault: string | undefined;
  if (!isLittle && magic !== MAGIC_BIG_ENDIAN) fault = 'its header has no magic number';
  else if (header.readUInt32BE(4) !== FORMAT) fault = 'its header names another format';
  else if (pageBytes < MIN_PAGE_BYTES || pageBytes > MAX_PAGE_BYTES || (pageBytes & (pageBytes - 1)) !== 0)
    fault = 'its header names no page size';
  else {
    sums = checksum(header, 0, 24, sums, isLittle);
    if (!sumsAt(header, 24, sums)) fault = 'its header does not match its checksum';
  }
  // A log that was being begun when the power went: the header is the first thing that is synced.
  if (fault !== undefined && header.every((byte) => byte === 0) && isBlank(bytes)) return { kind: 'empty' };
  if (fault !== undefined) return { kind: 'damaged', offset: 0, fault, commits: 0, lostCommits: 0 };

  const frameBytes = FRAME_HEADER_BYTES + pageBytes;
  const whole = Math.floor((bytes.length - WAL_HEADER_BYTES) / frameBytes);
  let commits = 0;
  let committed = 0;
  let index = 0;
  for (; index < whole; index++) {
    const frame = bytes.at(WAL_HEADER_BYTES + index * frameBytes, frameBytes);
    if (!frame.subarray(8, 16).equals(salt) || frame.readUInt32BE(0) === 0) break;
    const next = checksum(frame, FRAME_HEADER_BYTES, frameBytes, checksum(frame, 0, 8, sums, isLittle), isLittle);
    if (!sumsAt(frame, 16, next)) break;
    sums = next;
    if (isCommit(frame)) {
      commits++;
      committed = index + 1;
    }
  }
  let lostCommits = 0;
  let ours = 0;
  for (let at = index; at < whole; at++) {
    const frame = bytes.at(WAL_HEADER_BYTES + at * frameBytes, FRAME_HEADER_BYTES);
    if (!frame.subarray(8, 16).equals(salt)) continue;
    ours++;
    if (isCommit(frame)) lostCommits++;
  }
  if (lostCommits >= DAMAGING_COMMITS) {
    const offset = WAL_HEADER_BYTES + index * frameBytes;
    return { kind: 'damaged', offset, fault: `frame ${index + 1} is broken`, commits, lostCommits };
  }
  return { kind: 'sound', frames: committed, commits, torn: ours > 0 || committed < index };
}

/** The page number that follows a commit is the size of the database; other frames have 0. */
export function isCommit(frame: Buffer): boolean {
  return frame.readUInt32BE(4) !== 0;
}

export type Sums = readonly [number, number];

/** The log's running checksum over whole 8-byte words. */
export function checksum(buffer: Buffer, from: number, to: number, [a, b]: Sums, isLittle: boolean): Sums {
  let [first, second] = [a, b];
  for (let at = from; at < to; at += 8) {
    const one = isLittle ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at);
    const two = isLittle ? buffer.readUInt32LE(at + 4) : buffer.readUInt32BE(at + 4);
    first = (first + one + second) >>> 0;
    second = (second + two + first) >>> 0;
  }
  return [first, second];
}

export function sumsAt(buffer: Buffer, at: number, [a, b]: Sums): boolean {
  return buffer.readUInt32BE(at) === a && buffer.readUInt32BE(at + 4) === b;
}

function isBlank(bytes: Bytes): boolean {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    if (bytes.at(at, Math.min(CHUNK_BYTES, bytes.length - at)).some((byte) => byte !== 0)) return false;
  }
  return true;
}

function fileBytes(descriptor: number): Bytes {
  const { size } = fstatSync(descriptor);
  let chunk = Buffer.alloc(0);
  let start = 0;
  return {
    length: size,
    at(offset, length) {
      if (offset < start || offset + length > start + chunk.length) {
        start = offset;
        const wanted = Math.min(Math.max(CHUNK_BYTES, length), size - offset);
        if (chunk.length !== wanted) chunk = Buffer.alloc(wanted);
        let read = 0;
        while (read < wanted) {
          const got = readSync(descriptor, chunk, read, wanted - read, offset + read);
          if (got === 0) throw new Error('the file became shorter while it was read');
          read += got;
        }
      }
      return chunk.subarray(offset - start, offset - start + length);
    },
  };
}
