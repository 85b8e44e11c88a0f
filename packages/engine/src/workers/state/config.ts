import { resolve } from 'node:path';
import { z } from 'zod';
import { redisPrefix, redisUrl } from '../../redis/index.js';
import { remoteUrl } from '../../remote/index.js';

const kvConfig = z.strictObject({
  store_method: z
    .enum(['in_memory', 'file_based'])
    .nullish()
    .describe(
      '`file_based` (default): every write is on disk before it is answered. `in_memory`: gone when the engine stops.',
    ),
  file_path: z
    .string()
    .min(1)
    .nullish()
    .describe("The SQLite file, relative to the project folder. Default: the engine's own file in the data folder."),
  save_interval_ms: z.number().int().nullish().describe('Accepted and ignored: writes are never delayed.'),
});

const bridgeConfig = z.strictObject({
  bridge_url: remoteUrl
    .nullish()
    .describe("The other engine's worker port. Default `ws://localhost:49134`. State is kept there."),
});

const redisConfig = z.strictObject({ redis_url: redisUrl, prefix: redisPrefix });

export const stateConfig = z
  .strictObject({
    adapter: z
      .discriminatedUnion('name', [
        z.strictObject({ name: z.literal('kv'), config: kvConfig.nullish() }),
        z.strictObject({ name: z.literal('redis'), config: redisConfig.nullish() }),
        z.strictObject({ name: z.literal('bridge'), config: bridgeConfig.nullish() }),
      ])
      .nullish()
      .describe('Where state lives. Default `kv`.'),
    triggers_enabled: z
      .boolean()
      .default(true)
      .describe('Fire `state` triggers. While false, events are dropped, not kept. Live.'),
    max_value_bytes: z
      .number()
      .int()
      .nullish()
      .describe(
        'Largest value as compact JSON, in bytes, for `state::set` and `state::update`; below 1 = no limit. Live.',
      ),
    save_interval_ms: z.number().int().nullish().describe('Accepted and ignored: writes are never delayed.'),
  })
  .nullish();

export type StateConfig = z.infer<typeof stateConfig>;

/** The worker port of an engine on this machine. */
const DEFAULT_BRIDGE_URL = 'ws://localhost:49134';

/** What `iii worker add state` writes. */
export const defaultBlock = {
  adapter: { name: 'kv', config: { store_method: 'file_based', file_path: './data/state_store.db' } },
} as const;

/** Where state is kept. */
export type StatePlace =
  | { readonly kind: 'bridge'; readonly url: string }
  | { readonly kind: 'redis'; readonly url: string | undefined; readonly prefix: string | undefined }
  /** `file` undefined = the engine's own; `:memory:` keeps nothing. */
  | { readonly kind: 'kv'; readonly file: string | undefined };

export function statePlace(config: StateConfig, projectDir: string): StatePlace {
  const adapter = config?.adapter;
  if (adapter?.name === 'bridge') return { kind: 'bridge', url: adapter.config?.bridge_url ?? DEFAULT_BRIDGE_URL };
  if (adapter?.name === 'redis') {
    const { redis_url: url, prefix } = adapter.config ?? {};
    return { kind: 'redis', url: url ?? undefined, prefix: prefix ?? undefined };
  }
  const kv = adapter?.name === 'kv' ? adapter.config : undefined;
  if (kv?.store_method === 'in_memory') return { kind: 'kv', file: ':memory:' };
  return {
    kind: 'kv',
    file: typeof kv?.file_path === 'string' ? resolve(projectDir, kv.file_path) : undefined,
  };
}

/** Undefined = no limit. */
export function maxValueBytes(config: StateConfig): number | undefined {
  const limit = config?.max_value_bytes;
  return typeof limit === 'number' && limit >= 1 ? limit : undefined;
}
