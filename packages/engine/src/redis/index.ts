/** What the workers that use a Redis server share: the connection, its scripts, its settings. */
export { RedisConnection, type RedisConnectionOptions, type RedisHealth, type RedisSession } from './connection.js';
export { RedisFailure } from './errors.js';
export { redisScript, type RedisScript } from './script.js';
export { DEFAULT_PREFIX, DEFAULT_REDIS_URL, maskedUrl, redisPrefix, redisUrl } from './url.js';
