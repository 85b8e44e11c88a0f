/**
 * A lock between processes (the engine and the `iii` command) for the moment of one edit.
 *
 * The lock is a file beside the edited one that holds its owner's pid, made by an exclusive link, so
 * that it is never seen half written. A lock whose owner is gone, or that is older than any edit can
 * take, is broken: by renaming it away, which only one of several breakers can do.
 */
import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { TEMPORARY_SUFFIX } from './atomic-write.js';
import { ConfigError } from './errors.js';

/** An edit reads, changes and writes one small file. In milliseconds. */
const STALE_AFTER_MS = 10_000;
const GIVE_UP_AFTER_MS = 15_000;
const RETRY_MS = 15;

/** Runs `edit` while no other process edits that file. */
export async function withFileLock<T>(path: string, edit: () => Promise<T>): Promise<T> {
  const lock = lockPath(path);
  const own = `${process.pid} ${randomUUID()}`;
  await acquire(lock, own, path);
  try {
    return await edit();
  } finally {
    if ((await content(lock)) === own) await rm(lock, { force: true });
  }
}

export function lockPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.lock`);
}

async function acquire(lock: string, own: string, path: string): Promise<void> {
  const temporary = `${lock}.${randomUUID()}${TEMPORARY_SUFFIX}`;
  await writeFile(temporary, own);
  try {
    const deadline = performance.now() + GIVE_UP_AFTER_MS;
    for (;;) {
      try {
        await link(temporary, lock);
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      if (await isStale(lock)) await breakLock(lock);
      else await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      if (performance.now() > deadline) {
        const message = `is being edited by another process (${(await content(lock)) ?? 'unknown'}); if none runs, delete ${lock}`;
        throw new ConfigError([{ file: path, line: undefined, message }]);
      }
    }
  } finally {
    await rm(temporary, { force: true });
  }
}

async function isStale(lock: string): Promise<boolean> {
  const held = await content(lock);
  if (held === undefined) return false;
  if (!isAlive(Number(held.split(' ')[0]))) return (await content(lock)) === held;
  const age = await stat(lock).then(
    (found) => Date.now() - found.mtimeMs,
    () => 0,
  );
  return age > STALE_AFTER_MS;
}

/** Renames the lock away; a live lock that came into its place meanwhile is put back. */
async function breakLock(lock: string): Promise<void> {
  const away = `${lock}.${randomUUID()}${TEMPORARY_SUFFIX}`;
  try {
    await rename(lock, away);
    if (!(await isStale(away))) await link(away, lock).catch(() => undefined);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  } finally {
    await rm(away, { force: true });
  }
}

async function content(lock: string): Promise<string | undefined> {
  return readFile(lock, 'utf8').catch(() => undefined);
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
