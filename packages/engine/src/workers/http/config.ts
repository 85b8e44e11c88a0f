import { z } from 'zod';
import { tlsConfig } from '../../listener/index.js';

/** Largest JSON body in bytes: those are held in memory. 16 MiB is generous, because the reference has no limit at all. */
export const DEFAULT_BODY_LIMIT_BYTES = 16 * 1024 * 1024;
/** The longest timeout that timers keep, in milliseconds (24.8 days). */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const MAX_PORT = 65_535;

const corsConfig = z.strictObject({
  allowed_origins: z
    .array(z.string())
    .default([])
    .describe('Origins that may read answers, compared exactly. Empty, or `*` among them = any.'),
  allowed_methods: z
    .array(z.string())
    .default([])
    .describe('Methods that a preflight is told of. Empty = any. Actual requests are not held back by it.'),
});

const middlewareConfig = z.strictObject({
  function_id: z.string().min(1).describe('The function that is asked before every route.'),
  phase: z.string().default('preHandler').describe('`preHandler`; entries of any other phase never run.'),
  priority: z.int().default(0).describe('Lower runs first.'),
});

const httpObject = z.strictObject({
  port: z.int().min(0).max(MAX_PORT).default(3111).describe('Port to listen on. 0 = a free one.'),
  host: z
    .string()
    .min(1)
    .optional()
    .describe('Address to listen on. Left out, or `localhost` = 127.0.0.1 and ::1. `0.0.0.0` = every interface.'),
  default_timeout: z
    .int()
    .min(0)
    .max(MAX_TIMEOUT_MS)
    .default(30_000)
    .describe('Milliseconds from the arrival of a request to its answer; above it: 504.'),
  cors: corsConfig.nullable().default(null).describe('Cross-origin access. Left out = any origin.'),
  concurrency_request_limit: z
    .int()
    .min(0)
    .meta({ minimum: 1 })
    .default(1024)
    .describe('Requests handled at the same time; more wait for a free place.'),
  middleware: z.array(middlewareConfig).default([]).describe('Functions asked before every route.'),
  body_limit: z
    .int()
    .min(0)
    .optional()
    .describe(
      'Largest request body in bytes; above it: 413. Left out = 16777216 (16 MiB) for JSON bodies, which are held ' +
        'in memory, and no limit for others, which are streamed.',
    ),
  tls: tlsConfig.nullish().describe('Certificate and key, to serve HTTPS. Left out: HTTP.'),
});

/** A bare entry (`- name: iii-http`) has no configuration at all. */
export const httpConfig = httpObject.nullish();

export type HttpConfig = z.infer<typeof httpConfig>;
export type HttpSettings = z.infer<typeof httpObject>;
export type CorsSettings = z.infer<typeof corsConfig>;

/** The configuration with everything in it: what is left out takes its default. */
export function httpSettings(config: unknown): HttpSettings {
  return httpObject.parse(config ?? {});
}

/** What `iii worker add http` writes. */
export const defaultBlock = {
  port: 3111,
  host: '127.0.0.1',
  default_timeout: 30_000,
  concurrency_request_limit: 1024,
  cors: { allowed_origins: ['*'], allowed_methods: ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS'] },
} as const;
