/** What an error of SQLite means for the file, and what the system says of its folder. */
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * `operation` = this one alone; `busy` = another process holds the file; `full` = no room, the
 * connection is sound; `broken` = the connection is not to be trusted any more.
 */
export type DiskFault = 'operation' | 'busy' | 'full' | 'broken';

const BROKEN = [
  'SQLITE_IOERR',
  'SQLITE_CORRUPT',
  'SQLITE_NOTADB',
  'SQLITE_CANTOPEN',
  'SQLITE_READONLY',
  'SQLITE_PROTOCOL',
];

export function diskFault(error: unknown): DiskFault {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code !== 'string') return 'operation';
  if (code === 'SQLITE_FULL') return 'full';
  if (code.startsWith('SQLITE_BUSY')) return 'busy';
  return BROKEN.some((start) => code.startsWith(start)) ? 'broken' : 'operation';
}

const PROBE_NAME = 'engine.probe';
const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EROFS']);

export type Probe =
  | { readonly ok: true }
  /** `noRoom` = full or read-only: nothing is broken. */
  | { readonly ok: false; readonly noRoom: boolean; readonly reason: string };

/** Writes and syncs a few bytes beside a file: SQLite does not tell why a write failed, the system does. */
export function probeFolder(file: string): Probe {
  const path = join(dirname(file), PROBE_NAME);
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'w');
    writeSync(descriptor, 'can this folder be written?\n');
    fsyncSync(descriptor);
    return { ok: true };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    return { ok: false, noRoom: NO_ROOM.has(code), reason: (error as Error).message };
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
    try {
      rmSync(path, { force: true });
    } catch {
      // A folder that cannot be written keeps its probe.
    }
  }
}
