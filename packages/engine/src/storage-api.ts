/** Looking after the files of a project without an engine: `@trine/engine/storage`. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK_NAME, lockFolder } from './storage/folder-lock.js';
import { StorageCode } from './storage/errors.js';
import triggers from './workers/discovery/store.js';
import queue from './workers/queue/store.js';
import state from './workers/state/store.js';
import stream from './workers/stream/store.js';

export * from './storage/doctor/index.js';

/** The newest schema of each store that this version knows. */
export const KNOWN_SCHEMAS: Readonly<Record<string, number>> = Object.fromEntries(
  [queue, state, stream, triggers].map(({ name, migrations }) => [name, migrations.length]),
);

/**
 * Takes a data folder, so that no engine starts on it meanwhile.
 *
 * @returns what gives it back; undefined when an engine has it
 */
export function takeDataFolder(folder: string): (() => void) | undefined {
  // Nothing to take, and nothing to create for it.
  if (!existsSync(join(folder, LOCK_NAME))) return () => undefined;
  try {
    const lock = lockFolder(folder);
    return () => void lock.close();
  } catch (error) {
    if ((error as { code?: unknown }).code === StorageCode.locked) return undefined;
    throw error;
  }
}
