import { z } from 'zod';

/** Where a Redis is when nobody says. */
export const DEFAULT_REDIS_URL = 'redis://localhost:6379';
/** What the names of all keys begin with when nobody says. */
export const DEFAULT_PREFIX = 'trine';

const SCHEMES = ['redis:', 'rediss:'];

/** A URL of a Redis server. */
export const redisUrl = z
  .string()
  .refine((text) => URL.canParse(text) && SCHEMES.includes(new URL(text).protocol), {
    message: 'must be a URL like redis://user:password@host:6379/0 (rediss:// for TLS)',
  })
  .nullish()
  .describe(
    `The server: \`redis://user:password@host:port/database\`, \`rediss://\` for TLS. Default \`${DEFAULT_REDIS_URL}\`.`,
  );

/** What the names of keys begin with. Braces would change where a cluster puts them. */
export const redisPrefix = z
  .string()
  .regex(/^[^{}\s]{1,64}$/, 'must be 1 to 64 characters without braces and spaces')
  .nullish()
  .describe(
    `Names of all keys begin with \`{prefix}:\`: engines that share it share everything. Default \`${DEFAULT_PREFIX}\`.`,
  );

/** A URL without its password, for logs, errors and health. */
export function maskedUrl(url: string): string {
  try {
    const parsed = new URL(url);
    if (parsed.password !== '') parsed.password = '***';
    parsed.search = '';
    return parsed.href;
  } catch {
    return 'an address that cannot be read';
  }
}
