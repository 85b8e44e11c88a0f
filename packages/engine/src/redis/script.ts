import { createHash } from 'node:crypto';

/** A Lua script: loaded when a connection is made, called by its hash. */
export interface RedisScript {
  readonly name: string;
  readonly text: string;
  readonly sha: string;
  /** It also runs when the server's memory is full: it frees some, or must not fail. */
  readonly whenFull: boolean;
}

/**
 * @param flags - `full`: it runs when the memory of the server is full; `read`: it changes nothing
 * @example
 * const get = redisScript('get', `return redis.call('GET', KEYS[1])`, 'read');
 */
export function redisScript(name: string, body: string, flags?: 'full' | 'read'): RedisScript {
  const flag = flags === 'full' ? ' flags=allow-oom' : flags === 'read' ? ' flags=no-writes' : '';
  const text = `#!lua${flag}\n${body}`;
  return { name, text, sha: createHash('sha1').update(text).digest('hex'), whenFull: flags !== undefined };
}
