import { Cors } from './cors.js';
import { DEFAULT_BODY_LIMIT_BYTES, type HttpSettings } from './config.js';

/** Phase that middleware runs in; entries of other phases never do. */
export const PRE_HANDLER = 'preHandler';

/** What one request sees of the configuration, from its first step to its last. */
export interface Snapshot {
  readonly timeoutMs: number;
  /** Largest body that is held in memory, and largest that is streamed. */
  readonly maxBodyBytes: number;
  readonly maxStreamedBytes: number;
  readonly cors: Cors;
  /** Global middleware in the order it runs. */
  readonly middlewareIds: readonly string[];
}

export function snapshotOf(settings: HttpSettings): Snapshot {
  return {
    timeoutMs: settings.default_timeout,
    maxBodyBytes: settings.body_limit ?? DEFAULT_BODY_LIMIT_BYTES,
    maxStreamedBytes: settings.body_limit ?? Infinity,
    cors: new Cors(settings.cors),
    middlewareIds: settings.middleware
      .filter(({ phase }) => phase === PRE_HANDLER)
      .sort((a, b) => a.priority - b.priority)
      .map(({ function_id }) => function_id),
  };
}
