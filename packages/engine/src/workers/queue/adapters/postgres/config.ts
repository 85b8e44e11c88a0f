import { z } from 'zod';

/** The schema that the tables live in unless another one is named. */
export const DEFAULT_SCHEMA = 'trine';
/** Connections of one engine: one listens, the others work. */
export const DEFAULT_MAX_CONNECTIONS = 10;
/** How long the jobs of an engine that died stay its own, in milliseconds. */
export const DEFAULT_LEASE_MS = 30_000;

export const postgresConfig = z.strictObject({
  database_url: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'starts with postgres:// or postgresql://')
    .describe('Where PostgreSQL is: `postgres://user:password@host:5432/database`, with `?sslmode=...` where needed.'),
  schema: z
    .string()
    .regex(/^[a-z_][a-z0-9_]*$/, 'lower-case letters, digits and _, and no digit first')
    .max(40)
    .default(DEFAULT_SCHEMA)
    .describe(
      'Schema of the tables and of `enqueue`. Made at the first start. Engines that share it share their queues.',
    ),
  max_connections: z
    .number()
    .int()
    .min(2)
    .max(100)
    .default(DEFAULT_MAX_CONNECTIONS)
    .describe('Connections that this engine opens at most; one of them listens.'),
  lease_ms: z
    .number()
    .int()
    .min(1_000)
    .max(3_600_000)
    .default(DEFAULT_LEASE_MS)
    .describe('After the death of an engine its running jobs are given to others when this time is over.'),
});

export type PostgresConfig = z.infer<typeof postgresConfig>;
