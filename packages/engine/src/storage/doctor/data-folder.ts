import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { StorageCode } from '../errors.js';
import { LOCK_NAME, lockFolder } from '../folder-lock.js';

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
