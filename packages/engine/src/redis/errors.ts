/** What a Redis server did not do, and why. */
export class RedisFailure extends Error {
  override readonly name = 'RedisFailure';

  constructor(
    /**
     * `away`: it was not asked. `unknown`: it may have done it. `refused`: it said no. `closed`: this engine
     * is stopping.
     */
    readonly kind: 'away' | 'unknown' | 'refused' | 'closed',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Words of a server that cannot take writes now, and what to do. */
const REFUSALS: readonly (readonly [RegExp, string])[] = [
  [/^OOM|allow-oom/, 'its memory is full: raise maxmemory, or let jobs be worked off'],
  [/^MISCONF/, 'it cannot write to its disk: look at its log and its disk'],
  [/^READONLY|read-only|readonly/, 'it is a read-only replica: name the primary in redis_url'],
  [/^LOADING/, 'it is still loading its data'],
  [/^(WRONGPASS|NOAUTH|ERR AUTH|ERR invalid password)/, 'it does not accept the user name or password of redis_url'],
  [/^NOPERM/, 'the user of redis_url may not do this: give it all commands on the keys and channels of the prefix'],
];

/** What an error text of the server means, with what to do; undefined when it is something else. */
export function refusalIn(text: string): string | undefined {
  return REFUSALS.find(([pattern]) => pattern.test(text))?.[1];
}
