/** The configurations that remote workers registered: in memory, and as files `<id>.yaml`. */
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { CONFIGURATION_ID, readConfigFolder, writeAtomically } from '../../config/index.js';
import { compileSchema, type JsonSchema, type Validator } from './schema.js';

export interface Entry {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  /** Null until the owning worker registered it (a file without one). */
  readonly schema: JsonSchema | null;
  /** As set, placeholders and all. */
  readonly value: unknown;
  readonly metadata?: unknown;
}

export interface StoredEntry extends Entry {
  /** Checks an expanded value. Undefined without a schema. */
  readonly validate: Validator | undefined;
}

/** Configurations that may exist at once: a bound on what workers can make the engine keep. */
export const MAX_ENTRIES = 10_000;

export class EntryStore {
  /** Undefined: nothing is written. */
  readonly #folder: string | undefined;
  readonly #entries = new Map<string, StoredEntry>();

  constructor(folder: string | undefined) {
    this.#folder = folder;
  }

  get onDisk(): boolean {
    return this.#folder !== undefined;
  }

  get(id: string): StoredEntry | undefined {
    return this.#entries.get(id);
  }

  list(): StoredEntry[] {
    return [...this.#entries.values()];
  }

  get size(): number {
    return this.#entries.size;
  }

  /** On disk before it is in force. */
  async put(entry: StoredEntry): Promise<void> {
    if (this.#folder !== undefined)
      await writeAtomically(join(this.#folder, `${fileName(entry.id)}`), printEntry(entry));
    this.#entries.set(entry.id, entry);
  }

  /** Takes an entry as a file has it. */
  adopt(entry: StoredEntry): void {
    this.#entries.set(entry.id, entry);
  }

  forget(id: string): void {
    this.#entries.delete(id);
  }

  /**
   * What the folder holds now. Files that are no configurations (other people's YAML) are passed over.
   *
   * @param unreadable - told of files that are ours by their content and cannot be used
   */
  readFolder(unreadable: (file: string, reason: string) => void): Map<string, StoredEntry> {
    const found = new Map<string, StoredEntry>();
    if (this.#folder === undefined) return found;
    for (const [id, { path, text }] of readConfigFolder(this.#folder)) {
      try {
        const entry = readEntry(id, parse(text));
        if (entry !== undefined) found.set(id, entry);
      } catch (error) {
        unreadable(path, error instanceof Error ? error.message : String(error));
      }
    }
    return found;
  }
}

/** Ids are checked where they come in; a path is never made of one that was not. */
function fileName(id: string): string {
  if (!CONFIGURATION_ID.test(id)) throw new Error(`not a configuration id: ${JSON.stringify(id)}`);
  return `${id}.yaml`;
}

function printEntry({ id, name, description, schema, value, metadata }: Entry): string {
  return stringify(
    { id, name, description, value, ...(metadata === undefined ? {} : { metadata }), schema },
    { lineWidth: 0 },
  );
}

function readEntry(id: string, content: unknown): StoredEntry | undefined {
  if (typeof content !== 'object' || content === null) return undefined;
  const file = content as Record<string, unknown>;
  if (file['id'] !== id || !Object.hasOwn(file, 'value')) return undefined;
  const { name, description, value, metadata, schema } = file;
  const known =
    typeof schema === 'boolean' || (typeof schema === 'object' && schema !== null && !Array.isArray(schema))
      ? (schema as JsonSchema)
      : null;
  return {
    id,
    name: typeof name === 'string' ? name : id,
    description: typeof description === 'string' ? description : '',
    schema: known,
    value: value ?? null,
    ...(metadata === undefined ? {} : { metadata }),
    validate: known === null ? undefined : compileSchema(known),
  };
}
