/** The pages of docs/reference, from what a running engine says of itself and from the sources. */
import { code, rowsOf, table, typeOf, type JsonSchema, type Row } from './schema-table.js';
import type { Fact } from './source-facts.js';

export interface FunctionInfo {
  readonly function_id: string;
  readonly worker_name: string;
  readonly description?: string;
  readonly request_schema?: JsonSchema;
  readonly response_schema?: JsonSchema;
}

export interface TriggerTypeInfo {
  readonly id: string;
  readonly worker_name: string;
  readonly description: string;
  readonly configuration_schema?: JsonSchema;
  readonly request_schema?: JsonSchema;
  readonly response_schema?: JsonSchema;
}

export interface Facts {
  /** Configuration schemas by the name that config.yaml is shown with. */
  readonly configurations: ReadonlyMap<string, JsonSchema>;
  readonly functions: readonly FunctionInfo[];
  readonly triggerTypes: readonly TriggerTypeInfo[];
  readonly errors: readonly Fact[];
  readonly bounds: readonly Fact[];
  readonly limits: readonly Fact[];
}

/** A page per worker: the name of its entry, the names its functions go by, and what it is. */
const WORKERS = [
  ['http', 'iii-http', 'http', 'HTTP routes that run functions.'],
  ['http-functions', 'iii-http-functions', 'http-functions', 'Functions that live behind HTTP addresses.'],
  ['queue', 'iii-queue', 'queue', 'Named queues with retries and dead letters, and durable topics.'],
  ['pubsub', 'iii-pubsub', 'pubsub', 'Publish and subscribe, at most once.'],
  ['state', 'iii-state', 'state', 'Values by scope and key, on disk before they are acknowledged.'],
  ['stream', 'iii-stream', 'stream', 'Items by stream and group, told to functions and to clients on a socket.'],
  ['bridge', 'iii-bridge', 'bridge', 'Functions of another engine here, and functions of this one there.'],
  [
    'database',
    'database',
    'database',
    'SQL on SQLite files, a thread for each. Its functions go by `iii-database::` as well.',
  ],
  ['configuration', 'configuration', 'configuration', 'Settings of workers, with schemas. Always runs.'],
  [
    'observability',
    'iii-observability',
    'observability',
    'The log, and what the engine and its workers tell of themselves: log records, traces, measurements. Always runs.',
  ],
  ['worker-port', 'iii-worker-manager', '', 'The port that workers connect to. Always runs.'],
  ['engine', '', 'iii-engine-functions', 'Who offers what: functions, triggers and workers. Always runs.'],
  [
    'local-workers',
    '',
    'iii-worker-ops',
    'What `iii worker` asks a running engine. Runs where there is a config.yaml.',
  ],
] as const;

const NOTE = '<!-- Written by `pnpm docs:reference` from the schemas and sources. Do not edit. -->\n';

/** @returns the text of each page by its file name in docs/reference */
export function pages(facts: Facts): Map<string, string> {
  const all = new Map<string, string>();
  for (const [page, entry, worker, description] of WORKERS) {
    const functions = facts.functions.filter(({ worker_name }) => worker_name === worker);
    const triggerTypes = facts.triggerTypes.filter(({ worker_name }) => worker_name === worker);
    const schema = facts.configurations.get(entry);
    const parts = [
      `${NOTE}\n# ${entry === '' ? page : entry}\n\n${description}\n`,
      schema === undefined ? '' : configurationPart(entry, schema),
      ...(functions.length > 0 ? ['## Functions\n', ...functions.map(functionPart)] : []),
      ...(triggerTypes.length > 0 ? ['## Trigger types\n', ...triggerTypes.map(triggerPart)] : []),
    ];
    all.set(`${page}.md`, join(parts));
  }
  all.set('errors.md', errorPage(facts.errors));
  all.set('bounds.md', boundsPage(facts));
  all.set('README.md', indexPage());
  return all;
}

/** @throws Error for a function whose worker has no page */
export function checkComplete({ functions, triggerTypes, configurations }: Facts): void {
  const lost = [
    ...[...functions, ...triggerTypes].map(({ worker_name }) => worker_name),
    ...[...configurations.keys()].filter((name) => !WORKERS.some(([, entry]) => entry === name)),
  ].filter((name) => !WORKERS.some(([, entry, worker]) => worker === name || entry === name));
  if (lost.length > 0) throw new Error(`no page of the reference is about ${[...new Set(lost)].join(', ')}`);
}

function configurationPart(entry: string, schema: JsonSchema): string {
  const rows = rowsOf(schema);
  const keys = rows.length === 0 ? 'It has no keys.\n' : fields(rows, 'Key');
  return `## Configuration\n\nIn config.yaml, below \`config:\` of \`- name: ${entry}\`:\n\n${keys}`;
}

function functionPart({ function_id, description, request_schema, response_schema }: FunctionInfo): string {
  return join([
    `### \`${function_id}\`\n`,
    description === undefined ? '' : `${description}.\n`,
    schemaPart('Input', request_schema),
    schemaPart('Result', response_schema),
  ]);
}

function triggerPart(type: TriggerTypeInfo): string {
  return join([
    `### \`${type.id}\`\n`,
    `${type.description}.\n`,
    schemaPart('Config of a trigger', type.configuration_schema),
    schemaPart('What the function receives', type.request_schema),
    schemaPart('What it may return', type.response_schema),
  ]);
}

function schemaPart(title: string, schema: JsonSchema | undefined): string {
  if (schema === undefined || Object.keys(schema).length === 0) return '';
  const rows = schema.type === 'array' ? [] : rowsOf(schema);
  if (rows.length > 0) return `${title}:\n\n${fields(rows, 'Field')}`;
  return schema.properties === undefined ? `${title}: ${typeOf(schema)}.\n` : `${title}: no fields.\n`;
}

function fields(rows: readonly Row[], head: string): string {
  return table(
    [head, 'Type', 'Required', 'Default', 'Meaning'],
    rows.map((row) => [code(row.path), row.type, row.required ? 'yes' : '', row.default, row.description]),
  );
}

function errorPage(errors: readonly Fact[]): string {
  const parts = [...byFolder(errors)].map(
    ([folder, facts]) =>
      `## ${folder}\n\n${table(
        ['Code', 'Meaning'],
        facts.map(({ value, comment }) => [code(value), comment]),
      )}`,
  );
  const text =
    'An error on the wire has a `code` and a `message`. The message says what happened and what to do; the code is what ' +
    'programs compare.\n';
  return join([`${NOTE}\n# Error codes\n`, text, ...parts]);
}

function boundsPage({ bounds, limits }: Facts): string {
  const parts = [...byFolder(bounds)].map(
    ([folder, rows]) =>
      `## ${folder}\n\n${table(
        ['Constant', 'Value', 'Meaning'],
        rows.map(({ name, value, comment }) => [code(name), Number(value).toLocaleString('en-US'), comment]),
      )}`,
  );
  const text =
    'Bounds and times that are built in. What can be configured is on the page of its worker; a name that ends in `_MS` is in ' +
    'milliseconds, in `_BYTES` in bytes.\n';
  const settable = table(
    ['Option', 'Meaning'],
    limits.map(({ name, comment }) => [code(name), comment]),
  );
  return join([`${NOTE}\n# Bounds\n`, text, `## Options of \`createEngine\`\n\n${settable}`, ...parts]);
}

function indexPage(): string {
  const rows = WORKERS.map(([page, entry, , description]) => [
    `[${entry === '' ? page : entry}](${page}.md)`,
    description,
  ]);
  const text =
    'Names with and without `iii-` mean the same worker (`iii-queue`, `queue`); one of them may stand in config.yaml. A ' +
    'running engine tells the same: `iii trigger <function> --help`.\n';
  return join([
    `${NOTE}\n# Reference\n`,
    text,
    table(['Worker', 'What it is'], rows),
    'For all of them: [error codes](errors.md), [bounds](bounds.md).\n',
  ]);
}

/** `packages/engine/src/workers/http/errors.ts` -> `workers/http`; `packages/protocol/src/errors.ts` -> `protocol`. */
function byFolder(facts: readonly Fact[]): Map<string, Fact[]> {
  const folders = new Map<string, Fact[]>();
  for (const fact of facts) {
    const folder = fact.file
      .replace(/^packages\/engine\/src\//, '')
      .replace(/^packages\/(\w+)\/src\//, '$1/')
      .replace(/\/adapters\//, '/')
      .replace(/\/[^/]+$/, '');
    folders.set(folder, [...(folders.get(folder) ?? []), fact]);
  }
  return new Map([...folders].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function join(parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('\n');
}
