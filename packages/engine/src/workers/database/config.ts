import { resolve } from 'node:path';
import { z } from 'zod';

/** How long a call waits for its database, in milliseconds. */
const ACQUIRE_TIMEOUT_MS = 5_000;
const IDLE_TIMEOUT_MS = 30_000;
const MAX_CONNECTIONS = 10;

const milliseconds = z.number().int().min(1);

const poolConfig = z.strictObject({
  max: z
    .number()
    .int()
    .min(1)
    .default(MAX_CONNECTIONS)
    .describe('Connections. An SQLite database has one, in a thread of its own, whatever this says'),
  idle_timeout_ms: milliseconds
    .default(IDLE_TIMEOUT_MS)
    .describe('Accepted; the one connection of an SQLite database stays open'),
  acquire_timeout_ms: milliseconds
    .default(ACQUIRE_TIMEOUT_MS)
    .describe('A call that waited this long for its database is answered POOL_TIMEOUT'),
});

const tlsConfig = z.strictObject({
  mode: z.enum(['disable', 'require', 'verify-full']).default('require'),
  ca_cert: z.string().optional(),
  trust_native: z.boolean().default(true),
});

const databaseEntry = z.strictObject({
  url: z
    .string()
    .superRefine((url, context) => {
      const fault = urlFault(url);
      if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
    })
    .describe('`sqlite:PATH`, relative to the project folder (created where missing), or `sqlite::memory:`'),
  pool: poolConfig.prefault({}),
  tls: tlsConfig.optional().describe('Accepted; an SQLite file has no connection to protect'),
  capture: z.enum(['statements', 'native']).optional().describe('Accepted; changes are not captured in this version'),
});

/** What `iii worker add database` writes, and what a bare entry means. */
export const defaultBlock = {
  databases: {
    primary: {
      pool: { acquire_timeout_ms: ACQUIRE_TIMEOUT_MS, idle_timeout_ms: IDLE_TIMEOUT_MS, max: MAX_CONNECTIONS },
      url: 'sqlite:./data/iii.db',
    },
  },
};

export const databaseConfig = z
  .strictObject({
    databases: z
      .record(z.string().min(1), databaseEntry)
      .refine((databases) => Object.keys(databases).length > 0, { error: 'config must declare at least one database' })
      .prefault(defaultBlock.databases),
  })
  .nullish()
  .transform((config) => config ?? { databases: { primary: databaseEntry.parse(defaultBlock.databases.primary) } });

export type DatabaseConfig = z.output<typeof databaseConfig>;
export type DatabaseEntry = DatabaseConfig['databases'][string];

const SQLITE_SCHEME = /^sqlite:/i;
const SERVER_SCHEME = /^(postgres|postgresql|mysql):\/\//i;

function urlFault(url: string): string | undefined {
  if (SERVER_SCHEME.test(url))
    return `${url.slice(0, url.indexOf(':'))} databases are not in this version: use sqlite:PATH`;
  if (!SQLITE_SCHEME.test(url))
    return `unknown url scheme: ${url.split(':', 1)[0] ?? ''}: use sqlite:PATH or sqlite::memory:`;
  return url.replace(SQLITE_SCHEME, '').trim() === '' ? 'names no file: use sqlite:PATH or sqlite::memory:' : undefined;
}

/** The absolute path that a url of an SQLite database means, or `:memory:`. */
export function fileOf(url: string, projectDir: string): string {
  const path = url.replace(SQLITE_SCHEME, '').trim();
  return path === ':memory:' ? path : resolve(projectDir, path);
}

/** A url without the credentials it may hold. */
export function redactUrl(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//***@');
}
