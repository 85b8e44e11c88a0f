import { resolve } from 'node:path';
import { z } from 'zod';
import { tlsConfig } from '../../listener/index.js';
import { remoteUrl } from '../../remote/index.js';

const DEFAULT_PORT = 3112;
const MAX_PORT = 65_535;
/** The worker port of an engine on this machine. */
const DEFAULT_BRIDGE_URL = 'ws://localhost:49134';

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
  channel_size: z
    .number()
    .int()
    .nullish()
    .describe('Accepted and ignored: what waits for a client is bounded in bytes.'),
});

const bridgeConfig = z.strictObject({
  bridge_url: remoteUrl
    .nullish()
    .describe(`The other engine's worker port. Default \`${DEFAULT_BRIDGE_URL}\`. Streams are kept there.`),
});

const streamObject = z.strictObject({
  port: z
    .int()
    .min(0)
    .max(MAX_PORT)
    .default(DEFAULT_PORT)
    .describe('Port of the socket for clients. 0 = a free one. Live.'),
  host: z
    .string()
    .min(1)
    .optional()
    .describe('Address to listen on. Left out, or `localhost` = 127.0.0.1 and ::1. `0.0.0.0` = every interface. Live.'),
  tls: tlsConfig.nullish().describe('Certificate and key, to serve wss. Left out: ws. Live.'),
  auth_function: z
    .string()
    .min(1)
    .nullish()
    .describe('Asked before every connection; unless it answers with an object, the client is refused. Live.'),
  adapter: z
    .discriminatedUnion('name', [
      z.strictObject({ name: z.literal('kv'), config: kvConfig.nullish() }),
      z.strictObject({ name: z.literal('redis'), config: z.looseObject({}).nullish() }),
      z.strictObject({ name: z.literal('bridge'), config: bridgeConfig.nullish() }),
    ])
    .nullish()
    .describe('Where streams live. Default `kv`. Live.'),
});

/** A bare entry (`- name: iii-stream`) has no configuration at all. */
export const streamConfig = streamObject.nullish();

export type StreamConfig = z.infer<typeof streamConfig>;
export type StreamSettings = z.infer<typeof streamObject>;

/** What `iii worker add stream` writes. */
export const defaultBlock = {
  port: DEFAULT_PORT,
  host: '127.0.0.1',
  adapter: { name: 'kv', config: { store_method: 'file_based', file_path: './data/stream_store' } },
} as const;

/** The configuration with everything in it: what is left out takes its default. */
export function streamSettings(config: unknown): StreamSettings {
  return streamObject.parse(config ?? {});
}

/** @throws Error for an adapter that this version does not have */
export function validateStreamConfig(config: StreamConfig): void {
  if (config?.adapter?.name === 'redis')
    throw new Error('adapter.name: the redis adapter of stream is not in this version: use kv or bridge');
}

/** Where streams are kept. */
export type StreamPlace =
  | { readonly kind: 'bridge'; readonly url: string }
  /** `file` undefined = the engine's own; `:memory:` keeps nothing. */
  | { readonly kind: 'kv'; readonly file: string | undefined };

export function streamPlace({ adapter }: StreamSettings, projectDir: string): StreamPlace {
  if (adapter?.name === 'bridge') return { kind: 'bridge', url: adapter.config?.bridge_url ?? DEFAULT_BRIDGE_URL };
  const kv = adapter?.name === 'kv' ? adapter.config : undefined;
  if (kv?.store_method === 'in_memory') return { kind: 'kv', file: ':memory:' };
  return { kind: 'kv', file: typeof kv?.file_path === 'string' ? resolve(projectDir, kv.file_path) : undefined };
}
