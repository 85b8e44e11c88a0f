/** The items of `workers:` (and its old name `modules:`). */
import { relative, resolve } from 'node:path';
import { nearestName } from '../core/input-fault.js';
import type { Catalog, CatalogEntry } from './catalog.js';
import type { FolderFile } from './config-folder.js';
import type { ConfigFault } from './errors.js';
import { REPEATABLE, type WorkerEntry } from './project.js';
import { schemaFaults, valueWord } from './schema-faults.js';
import { valueAt, type ValuePath } from './value-path.js';
import { asMap, readYaml, type ConfigTree } from './yaml-source.js';

export interface EntriesInput {
  readonly tree: ConfigTree;
  /** The tree's top level, expanded. */
  readonly top: Record<string, unknown>;
  /** Where relative worker paths start. */
  readonly folder: string;
  readonly catalog: Catalog;
  readonly env: NodeJS.ProcessEnv;
  /** The files `config/<id>.yaml`, by id. */
  readonly files: ReadonlyMap<string, FolderFile>;
  /** Told faults are added here. */
  readonly faults: ConfigFault[];
  readonly warnings: string[];
}

const ENTRY_KEYS = ['name', 'config', 'worker_path', 'image'];

/** A local worker's name also names its files under `.iii/`. */
const LOCAL_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export function readEntries(input: EntriesInput): WorkerEntry[] {
  const entries: WorkerEntry[] = [];
  const seen: Seen[] = [];
  for (const list of ['workers', 'modules']) {
    if (!Object.hasOwn(input.top, list)) continue;
    const items = input.top[list];
    if (!Array.isArray(items)) {
      const got = items === null ? 'nothing: write `[]` for no workers' : valueWord(items);
      tell(input, [list], `${list} must be a list, got ${got}`);
      continue;
    }
    items.forEach((item: unknown, index) => {
      const entry = readEntry(input, [list, index], item, seen);
      if (entry !== undefined) entries.push(entry);
    });
  }
  tellDuplicates(input, seen);
  return entries;
}

interface Seen {
  readonly name: string;
  readonly canonical: string | undefined;
  readonly line: number | undefined;
}

function tell(input: EntriesInput, path: ValuePath, message: string): void {
  input.faults.push({ file: input.tree.label, line: input.tree.line(path), message });
}

function readEntry(input: EntriesInput, path: ValuePath, item: unknown, seen: Seen[]): WorkerEntry | undefined {
  const { catalog, tree } = input;
  if (typeof item !== 'object' || item === null || Array.isArray(item)) {
    tell(input, path, `a worker must be a block with a name, e.g. \`- name: iii-queue\`, got ${valueWord(item)}`);
    return undefined;
  }
  const fields = item as Record<string, unknown>;
  const name = fields['name'];
  if (typeof name !== 'string' || name === '') {
    tell(
      input,
      [...path, 'name'],
      `name: ${name === undefined ? 'is required' : `expected text, got ${valueWord(name)}`}`,
    );
    return undefined;
  }
  for (const key of Object.keys(fields)) {
    if (ENTRY_KEYS.includes(key)) continue;
    const nearest = nearestName(key, ENTRY_KEYS);
    tell(
      input,
      [...path, key],
      `${name}: unknown key "${key}"${nearest === undefined ? '' : ` (did you mean "${nearest}"?)`}`,
    );
  }
  const builtIn = catalog.find(name);
  const line = tree.line([...path, 'name']);
  const repeats = seen.filter((each) => each.name === name).length;
  if (repeats > 0 && !REPEATABLE.has(builtIn?.name ?? '')) {
    const first = seen.find((each) => each.name === name);
    tell(
      input,
      [...path, 'name'],
      `worker '${name}' is listed twice${first?.line === undefined ? '' : ` (first on line ${first.line})`}: keep one`,
    );
  }
  seen.push({ name, canonical: builtIn?.name, line });
  const shared = { id: repeats === 0 ? name : `${name}#${repeats}`, name, line };
  const entry =
    builtIn === undefined
      ? readLocal(input, path, fields, name)
      : readBuiltIn(input, path, fields, name, builtIn, repeats);
  return entry === undefined ? undefined : { ...shared, ...entry };
}

type EntryBody = Omit<WorkerEntry, 'id' | 'name' | 'line'>;

function readLocal(
  input: EntriesInput,
  path: ValuePath,
  fields: Record<string, unknown>,
  name: string,
): EntryBody | undefined {
  const workerPath = fields['worker_path'];
  if (workerPath === undefined || workerPath === null) {
    tell(input, [...path, 'name'], unknownWorker(input.catalog, name, fields['image']));
    return undefined;
  }
  if (typeof workerPath !== 'string' || workerPath === '') {
    tell(
      input,
      [...path, 'worker_path'],
      `${name}.worker_path: expected the path of a folder, got ${valueWord(workerPath)}`,
    );
    return undefined;
  }
  if (!LOCAL_NAME.test(name)) {
    tell(input, [...path, 'name'], `${name}: a local worker's name must match ${LOCAL_NAME.source}`);
    return undefined;
  }
  if (fields['image'] !== undefined)
    tell(
      input,
      [...path, 'image'],
      `${name}.image: container images are not in this version; worker_path alone is used`,
    );
  const config = fields['config'];
  if (asMap(config, (message) => tell(input, [...path, 'config'], message), `${name}.config`) === undefined)
    return undefined;
  const template = valueAt(input.tree.template, [...path, 'config']) ?? undefined;
  return { canonical: undefined, config, rawConfig: config, template, workerPath: resolve(input.folder, workerPath) };
}

function unknownWorker(catalog: Catalog, name: string, image: unknown): string {
  const notBuilt = catalog.notBuilt(name);
  if (notBuilt !== undefined) return notBuilt;
  if (image !== undefined)
    return `worker '${name}': container images are not in this version; give a worker_path instead`;
  const nearest = nearestName(name, catalog.names());
  const hint = nearest === undefined ? '' : ` (did you mean "${nearest}"?)`;
  return `unknown worker '${name}'${hint}: it is no built-in and has no worker_path`;
}

function readBuiltIn(
  input: EntriesInput,
  path: ValuePath,
  fields: Record<string, unknown>,
  name: string,
  builtIn: CatalogEntry,
  repeats: number,
): EntryBody | undefined {
  if (fields['image'] !== undefined) {
    tell(
      input,
      [...path, 'image'],
      `Worker '${name}' is a built-in worker and cannot have an 'image' field. Remove 'image' or use a different name.`,
    );
  }
  if (fields['worker_path'] !== undefined) {
    tell(
      input,
      [...path, 'worker_path'],
      `Worker '${name}' is a built-in worker and cannot have a 'worker_path'. Remove 'worker_path' or use a different name.`,
    );
  }
  const hasBlock = fields['config'] !== undefined && fields['config'] !== null;
  const file = repeats === 0 ? fileFor(input, name, builtIn, hasBlock) : undefined;
  if (file !== undefined) {
    const { tree, faults } = readYaml(file.text, relative(input.folder, file.path), input.env);
    input.faults.push(...faults);
    const body = asMap(tree.value, (message) => input.faults.push({ file: tree.label, line: 1, message }), tree.label);
    if (body === undefined || faults.some((fault) => fault.message.startsWith('not valid YAML'))) return undefined;
    return checked(input, builtIn, name, tree, ['value'], body['value'], file.path);
  }
  return checked(input, builtIn, name, input.tree, [...path, 'config'], fields['config'], undefined);
}

/** The file that holds a built-in's settings, if its entry has no block; one warning for each file that is not read. */
function fileFor(input: EntriesInput, name: string, builtIn: CatalogEntry, hasBlock: boolean): FolderFile | undefined {
  const spellings = [...new Set([name, builtIn.name, ...builtIn.aliases])];
  const [first, ...others] = spellings.flatMap((id) => input.files.get(id) ?? []);
  if (first === undefined) return undefined;
  const shown = (file: FolderFile): string => relative(input.folder, file.path);
  for (const other of others) {
    input.warnings.push(
      `${shown(other)} is not read: the settings of '${name}' come from ${hasBlock ? 'config.yaml' : shown(first)}`,
    );
  }
  if (!hasBlock) return first;
  input.warnings.push(
    `${shown(first)} is not read: the config block of '${name}' in ${input.tree.label} counts. Remove one of the two`,
  );
  return undefined;
}

/** Validates a block against its worker's schema and rules; faults get the line they stand on. */
function checked(
  input: EntriesInput,
  builtIn: CatalogEntry,
  name: string,
  tree: ConfigTree,
  base: ValuePath,
  block: unknown,
  source: string | undefined,
): EntryBody | undefined {
  const told = (message: string, path: ValuePath, key?: string): void => {
    const line = tree.line([...base, ...path, ...(key === undefined ? [] : [key])]);
    input.faults.push({ file: tree.label, line, message: `${[name, ...path].join('.')}: ${message}` });
  };
  let rawConfig: unknown = block ?? undefined;
  const template = valueAt(tree.template, base) ?? undefined;
  const body = {
    canonical: builtIn.name,
    template,
    workerPath: undefined,
    ...(source === undefined ? {} : { source }),
  };
  const { schema } = builtIn;
  if (schema === undefined) return { ...body, rawConfig, config: rawConfig };
  // An entry without a block has the defaults; most schemas want an object to fill them into.
  let value = rawConfig;
  let parsed = schema.safeParse(value);
  if (!parsed.success && rawConfig === undefined) parsed = schema.safeParse((value = {}));
  if (!parsed.success) {
    const unquoted = schema.safeParse(valueAt(tree.unquoted(), base));
    if (unquoted.success) [parsed, rawConfig] = [unquoted, valueAt(tree.unquoted(), base)];
  }
  if (!parsed.success) {
    const unresolved = new Set(tree.unresolved.map((path) => path.join('\0')));
    for (const fault of schemaFaults(parsed.error, schema, value)) {
      if (!unresolved.has([...base, ...fault.path].join('\0'))) told(fault.message, fault.path, fault.key);
    }
    return undefined;
  }
  try {
    builtIn.validate?.(parsed.data);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const named = /^([\w-]+(?:\.[\w-]+)*): (.*)$/s.exec(message);
    if (named === null) told(message, []);
    else told(named[2] ?? message, (named[1] ?? '').split('.'));
    return undefined;
  }
  return { ...body, rawConfig, config: parsed.data };
}

/** One worker under two spellings: the reference's text, so that those who know it recognise it. */
function tellDuplicates(input: EntriesInput, seen: readonly Seen[]): void {
  const lines: string[] = [];
  for (const canonical of new Set(seen.map((each) => each.canonical))) {
    const all = seen.filter((each) => each.canonical === canonical);
    const spellings = [...new Map(all.map((each) => [each.name, each])).values()];
    if (canonical === undefined || spellings.length < 2) continue;
    for (const { name, line } of spellings) {
      const keep = spellings.some((each) => each.name === canonical) ? canonical : spellings[0]?.name;
      if (name === keep) continue;
      const where = line === undefined ? '' : ` (${input.tree.label}:${line})`;
      lines.push(
        `- '${name}' is the deprecated name for '${keep}', but both are present. Remove '${name}' from your configuration.${where}`,
      );
    }
  }
  if (lines.length > 0)
    input.faults.push({
      file: '',
      line: undefined,
      message: ['Duplicate worker configurations:', ...lines].join('\n'),
    });
}
