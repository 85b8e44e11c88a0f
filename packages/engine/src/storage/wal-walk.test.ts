import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { tempFolder } from '@trine/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { walkWal, type Bytes, type WalWalk } from './wal-walk.js';

const HEADER = 32;
const FRAME = 24 + 4096;

/** A log that SQLite wrote: ten commits behind an older, longer log in the same file. */
let log: Buffer;
let frames = 0;

beforeAll(async () => {
  const folder = await tempFolder();
  const path = join(folder.path, 'x.db');
  const db = new Database(path);
  db.pragma('journal_mode = WAL');
  db.pragma('wal_autocheckpoint = 0');
  db.exec('CREATE TABLE t (a TEXT)');
  for (let i = 0; i < 40; i++) db.prepare('INSERT INTO t VALUES (?)').run('x'.repeat(3_000));
  db.pragma('wal_checkpoint(RESTART)');
  for (let i = 0; i < 10; i++) db.prepare('INSERT INTO t VALUES (?)').run('y'.repeat(3_000));
  [, frames] = db.prepare('PRAGMA wal_checkpoint(NOOP)').raw().get() as [number, number];
  await cp(`${path}-wal`, `${path}-copy`);
  db.close();
  log = await readFile(`${path}-copy`);
  await folder.remove();
});

function walk(bytes: Buffer): WalWalk {
  const view: Bytes = { length: bytes.length, at: (offset, length) => bytes.subarray(offset, offset + length) };
  return walkWal(view);
}

function flipped(at: number): Buffer {
  const bytes = Buffer.from(log);
  bytes[at] = (bytes[at] as number) ^ 1;
  return bytes;
}

describe('the walk through a write-ahead log', () => {
  it('finds what SQLite wrote sound, with frames of an older log behind it', () => {
    expect(log.length).toBeGreaterThan(HEADER + (frames + 10) * FRAME);
    expect(walk(log)).toEqual({ kind: 'sound', frames, commits: 10, torn: false });
  });

  it('finds nothing in a file that was not begun', () => {
    for (const bytes of [Buffer.alloc(0), log.subarray(0, 31), Buffer.alloc(3 * FRAME)])
      expect(walk(bytes)).toEqual({ kind: 'empty' });
  });

  it('names the header as broken, whatever byte of it is', () => {
    for (let at = 0; at < HEADER; at++) {
      // The checkpoint sequence number is covered by the checksum like all the rest.
      expect(walk(flipped(at)), `byte ${at}`).toMatchObject({ kind: 'damaged', offset: 0, lostCommits: 0 });
    }
  });

  it('names the broken frame where two or more commits follow it', () => {
    const seen = { damaged: 0, torn: 0 };
    for (let frame = 0; frame < frames; frame++) {
      for (const at of [0, 5, 9, 17, 24, 24 + 2_000, FRAME - 1]) {
        const found = walk(flipped(HEADER + frame * FRAME + at));
        if (found.kind === 'damaged') {
          expect(found).toMatchObject({ offset: HEADER + frame * FRAME, fault: `frame ${frame + 1} is broken` });
          expect(found.lostCommits).toBeGreaterThanOrEqual(2);
          seen.damaged++;
        } else {
          // As a power cut leaves it: only the last two commits can look so.
          expect(found.kind === 'sound' ? found.commits : 0).toBeGreaterThanOrEqual(8);
          seen.torn++;
        }
      }
    }
    expect(seen.damaged).toBeGreaterThan(seen.torn);
  });

  it('takes a log that was cut off for what a crash leaves', () => {
    for (let length = HEADER; length < HEADER + frames * FRAME; length += 1_000)
      expect(walk(log.subarray(0, length)).kind, `${length}`).toBe('sound');
  });
});
