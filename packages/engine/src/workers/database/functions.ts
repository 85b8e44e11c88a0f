/** The functions of the database worker, under `database::` and the older `iii-database::`. */
import { Payload } from '@trine/protocol';
import { z } from 'zod';
import { deserializationError, RawInput } from '../../core/raw-input.js';
import type { FunctionDefinition, HandlerContext, HandlerResult, WorkerHost } from '../../core/worker-host.js';
import { redactUrl } from './config.js';
import type { Databases } from './databases.js';
import { DatabaseError, failedTransaction, invalidParam, toWire } from './errors.js';
import { arrayElements } from './parameters.js';
import type { PreparedStatements } from './prepared.js';

const PREFIXES = ['database', 'iii-database'] as const;
/** Deadline of a query that names none, in milliseconds. */
const QUERY_TIMEOUT_MS = 30_000;
const TTL_SECONDS = 3_600;
/** Statements in one transaction. */
const MAX_STATEMENTS = 10_000;

const db = z.string().nullish().describe('Name of the database; default the only one, else `primary`');
const sql = z.string().nullish().describe('The statement; needed, here or under `query`');
const query = z.string().nullish().describe('Older name of `sql`');
const params = z
  .union([z.array(z.unknown()), z.string()])
  .nullish()
  .describe('Values for the placeholders `?`, in order: an array, or a string that holds one as JSON');
const timeoutMs = z
  .number()
  .int()
  .min(1)
  .nullish()
  .describe('Deadline of the statement in milliseconds. Default 30000');

const rows = z.array(z.record(z.string(), z.unknown()));
const queryResult = z.object({
  columns: z.array(z.object({ name: z.string(), type: z.string() })),
  row_count: z.number().int(),
  rows,
});

const requests = {
  query: z.object({ db, sql, query, params, timeout_ms: timeoutMs }),
  execute: z.object({
    db,
    sql,
    query,
    params,
    returning: z
      .array(z.string())
      .nullish()
      .describe('Columns to return of the changed rows, where the statement has no RETURNING'),
  }),
  transaction: z.object({
    db,
    statements: z
      .array(z.object({ sql: z.string(), params }))
      .max(MAX_STATEMENTS)
      .describe('Run in order, all or none'),
    isolation: z
      .string()
      .nullish()
      .describe('`read_committed`, `repeatable_read` or `serializable` (takes the write lock at once)'),
  }),
  prepareStatement: z.object({
    db,
    sql,
    query,
    ttl_seconds: z
      .number()
      .int()
      .min(1)
      .nullish()
      .describe('Life of the handle in seconds. Default 3600, at most 86400'),
  }),
  runStatement: z.object({ handle_id: z.string(), params, timeout_ms: timeoutMs }),
  listDatabases: z.object({}),
} as const;

const ISOLATIONS: ReadonlySet<string> = new Set(['read_committed', 'repeatable_read', 'serializable']);

export function registerDatabaseFunctions(host: WorkerHost, databases: Databases, prepared: PreparedStatements): void {
  const define = <Input>(
    name: string,
    definition: Pick<FunctionDefinition<Input>, 'description' | 'request' | 'response'> & {
      handler(input: Input, context: HandlerContext, id: string): HandlerResult | Promise<HandlerResult>;
    },
  ): void => {
    for (const prefix of PREFIXES) {
      const id = `${prefix}::${name}`;
      host.registerFunction<Input>({
        ...definition,
        id,
        handler: async (input, context) => {
          try {
            return await definition.handler(input, context, id);
          } catch (error) {
            throw toWire(error);
          }
        },
      });
    }
  };

  define<z.output<typeof requests.query>>('query', {
    description: 'Runs one SQL statement and returns its rows',
    request: requests.query,
    response: queryResult,
    handler: async (input, { payload }, id) => {
      const call = {
        kind: 'query',
        sql: textOf(input, id),
        params: paramsText(id, payload),
        timeoutMs: input.timeout_ms ?? QUERY_TIMEOUT_MS,
      } as const;
      return Payload.fromJson(await databases.get(databases.resolve(input.db)).run(call, call.timeoutMs));
    },
  });

  define<z.output<typeof requests.execute>>('execute', {
    description: 'Runs one SQL statement that changes something; on disk when it is answered',
    request: requests.execute,
    response: z.object({ affected_rows: z.number().int(), last_insert_id: z.string().nullable(), returned_rows: rows }),
    handler: async (input, { payload }, id) => {
      const call = {
        kind: 'execute',
        sql: textOf(input, id),
        params: paramsText(id, payload),
        returning: input.returning ?? [],
      } as const;
      return Payload.fromJson(await databases.get(databases.resolve(input.db)).run(call));
    },
  });

  define<z.output<typeof requests.transaction>>('transaction', {
    description: 'Runs several SQL statements, all or none; a failure is a result with `committed: false`',
    request: requests.transaction,
    response: z.object({
      committed: z.boolean(),
      results: z.array(z.object({ affected_rows: z.number().int(), rows: z.array(z.array(z.unknown())) })).optional(),
      failed_index: z.number().int().optional(),
      error: z.looseObject({ code: z.string() }).optional(),
    }),
    handler: async (input, { payload }, id) => {
      const isolation = input.isolation ?? 'read_committed';
      if (!ISOLATIONS.has(isolation)) throw invalidParam(0, `unknown isolation \`${isolation}\``);
      const database = databases.get(databases.resolve(input.db));
      const texts = arrayElements(new RawInput(id, payload).requiredText('statements'));
      const statements = input.statements.map((each, index) => ({
        sql: each.sql,
        params: paramsText(id, Payload.fromJson(texts[index] as string)),
      }));
      try {
        return Payload.fromJson(
          await database.run({ kind: 'transaction', statements, immediate: isolation === 'serializable' }),
        );
      } catch (error) {
        if (!(error instanceof DatabaseError)) throw error;
        return Payload.fromJson(failedTransaction(error.fault));
      }
    },
  });

  define<z.output<typeof requests.prepareStatement>>('prepareStatement', {
    description: 'Keeps an SQL statement under a handle for runStatement',
    request: requests.prepareStatement,
    response: z.object({ handle: z.object({ expires_at: z.string(), id: z.string() }) }),
    handler: (input, _context, id) => {
      const name = databases.resolve(input.db);
      const handle = prepared.add(name, textOf(input, id), input.ttl_seconds ?? TTL_SECONDS);
      return { handle: { expires_at: new Date(handle.expiresAt).toISOString(), id: handle.id } };
    },
  });

  define<z.output<typeof requests.runStatement>>('runStatement', {
    description: 'Runs a prepared statement and returns its rows',
    request: requests.runStatement,
    response: queryResult,
    handler: async (input, { payload }, id) => {
      const statement = prepared.get(input.handle_id);
      const call = {
        kind: 'query',
        sql: statement.sql,
        params: paramsText(id, payload),
        timeoutMs: input.timeout_ms ?? QUERY_TIMEOUT_MS,
      } as const;
      return Payload.fromJson(await databases.get(statement.db).run(call, call.timeoutMs));
    },
  });

  define<z.output<typeof requests.listDatabases>>('listDatabases', {
    description: 'Lists the configured databases',
    request: requests.listDatabases,
    handler: () => {
      const list = databases.list().map(({ name, entry }) => ({
        driver: 'sqlite',
        name,
        pool: {
          acquire_timeout_ms: entry.pool.acquire_timeout_ms,
          idle_timeout_ms: entry.pool.idle_timeout_ms,
          max: entry.pool.max,
        },
        tls: {
          ca_cert_present: entry.tls?.ca_cert !== undefined,
          mode: entry.tls?.mode ?? 'require',
          trust_native: entry.tls?.trust_native ?? true,
        },
        url: redactUrl(entry.url),
      }));
      return { count: list.length, databases: list };
    },
  });
}

/** @throws TrineError `deserialization_error` when there is neither `sql` nor `query` */
function textOf(
  input: { readonly sql?: string | null | undefined; readonly query?: string | null | undefined },
  id: string,
): string {
  const text = input.sql ?? input.query;
  if (text === undefined || text === null) throw deserializationError(id, 'missing field `sql`');
  return text;
}

/** The raw text of `params`: numbers keep the digits and the fraction that they were sent with. */
function paramsText(id: string, payload: Payload): string | undefined {
  return new RawInput(id, payload).text('params');
}
