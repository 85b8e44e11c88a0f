/**
 * Writes what a damaged log still holds into a database.
 *
 * Each frame is summed on top of the one before. Behind a break that chain begins anew with the sums
 * that a frame says of itself: the frame after it proves both.
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import {
  checksum,
  FRAME_HEADER_BYTES,
  isCommit,
  sumsAt,
  WAL_HEADER_BYTES,
  withFileBytes,
  type Sums,
} from '../wal-walk.js';

const MAGIC_LITTLE_ENDIAN = 0x377f0682;
const MAGIC_BIG_ENDIAN = 0x377f0683;

export interface LogSalvage {
  readonly frames: number;
  readonly brokenFrames: number;
  readonly commits: number;
}

/**
 * @param log - the `-wal` file
 * @param file - the database that takes its pages
 * @param upToBreak - only what SQLite would read
 */
export function applyLog(log: string, file: string, upToBreak: boolean): LogSalvage {
  return withFileBytes(log, { frames: 0, brokenFrames: 0, commits: 0 }, (bytes) => {
    const none = { frames: 0, brokenFrames: 0, commits: 0 };
    if (bytes.length < WAL_HEADER_BYTES) return none;
    const header = Buffer.from(bytes.at(0, WAL_HEADER_BYTES));
    const magic = header.readUInt32BE(0);
    const pageBytes = header.readUInt32BE(8);
    // Without these two nothing in it can be read.
    if (magic !== MAGIC_LITTLE_ENDIAN && magic !== MAGIC_BIG_ENDIAN) return none;
    if (pageBytes < 512 || pageBytes > 65_536 || (pageBytes & (pageBytes - 1)) !== 0) return none;
    const isLittle = magic === MAGIC_LITTLE_ENDIAN;
    const salt = header.subarray(16, 24);
    const frameBytes = FRAME_HEADER_BYTES + pageBytes;
    const whole = Math.floor((bytes.length - WAL_HEADER_BYTES) / frameBytes);
    const database = openSync(file, 'r+');
    try {
      let sums: Sums = [header.readUInt32BE(24), header.readUInt32BE(28)];
      let pending: { page: number; data: Buffer }[] = [];
      let [frames, broken, brokenSince, commits] = [0, 0, 0, 0];
      for (let index = 0; index < whole; index++) {
        const frame = bytes.at(WAL_HEADER_BYTES + index * frameBytes, frameBytes);
        const isOurs = frame.subarray(8, 16).equals(salt);
        const next = checksum(frame, FRAME_HEADER_BYTES, frameBytes, checksum(frame, 0, 8, sums, isLittle), isLittle);
        const isSound = isOurs && sumsAt(frame, 16, next);
        sums = [frame.readUInt32BE(16), frame.readUInt32BE(20)];
        if (!isSound) {
          if (upToBreak) break;
          brokenSince++;
          continue;
        }
        // Frames of an older log lie behind the last one of this: they are no breaks.
        broken += brokenSince;
        brokenSince = 0;
        pending.push({ page: frame.readUInt32BE(0), data: Buffer.from(frame.subarray(FRAME_HEADER_BYTES)) });
        if (!isCommit(frame)) continue;
        for (const { page, data } of pending) writeSync(database, data, 0, pageBytes, (page - 1) * pageBytes);
        ftruncateSync(database, frame.readUInt32BE(4) * pageBytes);
        frames += pending.length;
        commits++;
        pending = [];
      }
      fsyncSync(database);
      return { frames, brokenFrames: broken, commits };
    } finally {
      closeSync(database);
    }
  });
}
