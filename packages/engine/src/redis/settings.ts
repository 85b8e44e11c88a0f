/** What a server's settings say about what it keeps. */
import type { Redis } from 'ioredis';

/** The oldest that is used: scripts with flags. */
const MIN_VERSION = 7;

/** What each setting must be for nothing acknowledged to be lost. */
const NEEDED = { appendonly: 'yes', appendfsync: 'always', 'maxmemory-policy': 'noeviction' } as const;

/**
 * @param durable - does it matter what the server forgets?
 * @returns `relaxed`: what lets it forget; undefined when nothing does
 * @throws Error for a server that is too old
 */
export async function readSettings(redis: Redis, durable: boolean): Promise<{ readonly relaxed: string | undefined }> {
  const version = /redis_version:(\d+)[.\d]*/.exec(await redis.info('server'));
  if (version !== null && Number(version[1]) < MIN_VERSION) {
    throw new Error(`its version is ${version[0].slice('redis_version:'.length)}: ${MIN_VERSION}.0 or later is needed`);
  }
  if (!durable) return { relaxed: undefined };
  const found = new Map<string, string>();
  try {
    for (const name of Object.keys(NEEDED)) {
      const [, value] = await redis.config('GET', name);
      if (value !== undefined) found.set(name, value);
    }
  } catch {
    return {
      relaxed:
        'its settings could not be read (CONFIG GET is refused): see that appendonly is yes, appendfsync always, maxmemory-policy noeviction',
    };
  }
  const wrong = Object.entries(NEEDED).filter(([name, value]) => found.get(name) !== value);
  if (wrong.length === 0) return { relaxed: undefined };
  const parts = wrong.map(([name, value]) => `${name} is '${found.get(name) ?? 'unknown'}' and not '${value}'`);
  return { relaxed: `${parts.join(', ')}: the receipt of a job promises what Redis promises with these settings` };
}
