import { z } from 'zod';
import { redisPrefix, redisUrl } from '../../../../redis/index.js';

/** How long a job is an engine's without a sign of it, in milliseconds; a third of it passes between signs. */
export const DEFAULT_LEASE_MS = 30_000;
const MIN_LEASE_MS = 3_000;
const MAX_LEASE_MS = 600_000;

export const redisConfig = z.strictObject({
  redis_url: redisUrl,
  prefix: redisPrefix,
  lease_ms: z
    .number()
    .int()
    .min(MIN_LEASE_MS)
    .max(MAX_LEASE_MS)
    .nullish()
    .describe(
      `Jobs of an engine that gives no sign for this long go to others; it gives one after each third of it. Default ${DEFAULT_LEASE_MS}.`,
    ),
});

export type RedisQueueConfig = z.infer<typeof redisConfig> | null | undefined;
