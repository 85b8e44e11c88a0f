import { z } from 'zod';
import { redisUrl } from '../../redis/index.js';

const redisConfig = z.strictObject({ redis_url: redisUrl });

export const pubsubConfig = z
  .strictObject({
    adapter: z
      .discriminatedUnion('name', [
        z.strictObject({ name: z.literal('local'), config: z.strictObject({}).nullish() }),
        z.strictObject({ name: z.literal('redis'), config: redisConfig.nullish() }),
      ])
      .nullish()
      .describe('How messages travel. Default `local`: inside this engine. `redis`: to all engines on that server.'),
  })
  .nullish();

export type PubsubConfig = z.infer<typeof pubsubConfig>;

/** What `iii worker add pubsub` writes. */
export const defaultBlock = { adapter: { name: 'local' } } as const;
