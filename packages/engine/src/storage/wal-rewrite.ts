/**
 * After a failed sync the system may call pages clean that never reached the disk, and the next sync
 * says "done" without writing them. Bytes that are written again are dirty again: this writes a log
 * over itself and syncs it, so that what is read from it is also on the disk.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';

const PIECE_BYTES = 1024 * 1024;

/** @param path - of a `-wal` file that no connection has open */
export function rewriteLog(path: string): void {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  try {
    const { size } = fstatSync(descriptor);
    const piece = Buffer.alloc(Math.min(PIECE_BYTES, size));
    for (let at = 0; at < size;) {
      const read = readSync(descriptor, piece, 0, piece.length, at);
      if (read === 0) break;
      for (let written = 0; written < read;)
        written += writeSync(descriptor, piece, written, read - written, at + written);
      at += read;
    }
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
