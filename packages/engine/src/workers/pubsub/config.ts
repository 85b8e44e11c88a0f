import { z } from 'zod';

export const pubsubConfig = z
  .strictObject({
    adapter: z
      .discriminatedUnion('name', [
        z.strictObject({ name: z.literal('local'), config: z.strictObject({}).nullish() }),
        z.strictObject({ name: z.literal('redis'), config: z.looseObject({}).nullish() }),
      ])
      .nullish()
      .describe('How messages travel. Default `local`: inside this engine.'),
  })
  .nullish();

export type PubsubConfig = z.infer<typeof pubsubConfig>;

/** What `iii worker add pubsub` writes. */
export const defaultBlock = { adapter: { name: 'local' } } as const;

/** @throws Error for an adapter that this version does not have */
export function validatePubsubConfig(config: PubsubConfig): void {
  const name = config?.adapter?.name ?? 'local';
  if (name !== 'local')
    throw new Error(`adapter.name: the ${name} adapter of pubsub is not in this version: use local`);
}
