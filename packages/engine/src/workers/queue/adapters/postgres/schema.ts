/**
 * Makes and migrates the schema. Several engines may start at once: one of them migrates, under an
 * advisory lock, the others find it done. A schema newer than the engine is refused.
 */
import type { Client } from 'pg';
import { ROUTINES } from './routines.js';
import { TABLES } from './tables.js';

const MIGRATIONS: readonly string[] = [TABLES + ROUTINES];
/** Of the schema that this engine makes and understands. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** Puts the configured schema in the place of `trine`. Its name is checked by the configuration. */
export function inSchema(sql: string, schema: string): string {
  return sql.replaceAll('trine.', `"${schema}".`).replaceAll('trine:', `${schema}:`);
}

/** The channel of NOTIFY. */
export function channelOf(schema: string): string {
  return `${schema}:queue`;
}

/** @throws Error when the schema is newer than this engine */
export async function migrate(client: Client, schema: string): Promise<void> {
  if ((await versionOf(client, schema)) === SCHEMA_VERSION) return;
  await client.query('BEGIN');
  try {
    await client.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`trine schema ${schema}`]);
    const version = await versionOf(client, schema);
    if (version > SCHEMA_VERSION) {
      throw new Error(
        `schema "${schema}" has version ${version}, this engine knows ${SCHEMA_VERSION}: a newer engine made it. Start that one, or name another schema`,
      );
    }
    if (version === 0) {
      await client.query(`CREATE SCHEMA IF NOT EXISTS "${schema}"`);
      await client.query(inSchema('CREATE TABLE trine.version (version integer NOT NULL)', schema));
      await client.query(inSchema('INSERT INTO trine.version VALUES (0)', schema));
    }
    for (const migration of MIGRATIONS.slice(version)) await client.query(inSchema(migration, schema));
    await client.query(inSchema('UPDATE trine.version SET version = $1', schema), [SCHEMA_VERSION]);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** 0 = there is none. */
async function versionOf(client: Client, schema: string): Promise<number> {
  const found = await client.query('SELECT to_regclass($1) AS found', [`"${schema}".version`]);
  if ((found.rows[0] as { readonly found: unknown }).found === null) return 0;
  const { rows } = await client.query(inSchema('SELECT version FROM trine.version', schema));
  return (rows[0] as { readonly version: number }).version;
}
