/**
 * Configurations of two kinds under one roof: the settings of built-in workers, which the project
 * keeps (config.yaml, `config/<id>.yaml` or memory), and those that remote workers register, which
 * the entry store keeps. Changes are made one after another.
 */
import { isDeepStrictEqual } from 'node:util';
import { TrineError } from '@trine/protocol';
import {
  CONFIGURATION_ID,
  ConfigError,
  expand,
  type ConfigurationItem,
  type ConfigurationSource,
} from '../../config/index.js';
import type { Log } from '../../core/log.js';
import type { JsonValue } from '../../core/worker-host.js';
import { EntryStore, MAX_ENTRIES, type Entry, type StoredEntry } from './entry-store.js';
import {
  adapterError,
  builtInId,
  expandFailed,
  invalidId,
  notFound,
  notRegistered,
  schemaInvalid,
  schemaUnavailable,
} from './errors.js';
import type { ConfigurationEvents, ConfigurationEventType } from './events.js';
import { compileSchema, type JsonSchema, type Validator } from './schema.js';

export interface RegisterInput {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly schema: JsonSchema;
  /** Undefined = keep the value there is. */
  readonly initialValue?: unknown;
  readonly metadata?: unknown;
}

export class ConfigurationService {
  readonly #source: ConfigurationSource;
  readonly #store: EntryStore;
  readonly #events: ConfigurationEvents;
  readonly #log: Log;
  readonly #subscriptions: { remove(): void }[];
  #work: Promise<unknown> = Promise.resolve();

  /** @param folder - where entries are kept; undefined = in memory only */
  constructor(source: ConfigurationSource, folder: string | undefined, events: ConfigurationEvents, log: Log) {
    this.#source = source;
    this.#store = new EntryStore(folder);
    this.#events = events;
    this.#log = log;
    for (const entry of this.#readFolder().values()) this.#store.adopt(entry);
    this.#subscriptions = [
      source.onChange((change) => {
        if (change.kind === 'added')
          this.#emit('configuration:registered', builtIn(change.item), null, change.item.value);
        else if (change.kind === 'removed')
          this.#emit('configuration:deleted', builtIn(change.before), change.before.value, null);
        else this.#emit('configuration:updated', builtIn(change.item), change.before.value, change.item.value);
      }),
      source.onFiles(() => void this.#serially(() => Promise.resolve(this.#takeFiles()))),
    ];
  }

  stop(): Promise<unknown> {
    for (const subscription of this.#subscriptions) subscription.remove();
    return this.#work;
  }

  list(): Entry[] {
    const builtIns = this.#source.list().map(builtIn);
    const taken = new Set(builtIns.map((entry) => entry.id));
    const all = [...builtIns, ...this.#store.list().filter((entry) => !taken.has(entry.id))];
    return all.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  }

  /** @throws TrineError `NOT_FOUND` */
  entry(id: string): Entry {
    const item = this.#source.find(id);
    if (item !== undefined) return builtIn(item);
    const entry = this.#store.get(id);
    if (entry === undefined) throw CONFIGURATION_ID.test(id) ? notFound(id) : invalidId(id);
    return entry;
  }

  /** @throws TrineError `NOT_FOUND`; `EXPAND_FAILED`, `SCHEMA_INVALID` when the value as it is expanded does not hold */
  value(id: string, raw: boolean): unknown {
    const item = this.#source.find(id);
    if (item !== undefined) return raw ? item.template : item.value;
    const entry = this.entry(id);
    if (raw) return entry.value;
    const { value, unset } = this.#expand(entry.value);
    if (unset.length > 0) throw expandFailed(id, unset);
    const faults = value === null ? [] : (this.#store.get(id)?.validate?.(value) ?? []);
    if (faults.length > 0) throw schemaInvalid(faults);
    return value;
  }

  register(input: RegisterInput): Promise<Entry> {
    return this.#serially(async () => {
      const { id, name, description, schema, metadata, initialValue } = input;
      if (!CONFIGURATION_ID.test(id)) throw invalidId(id);
      if (this.#source.find(id) !== undefined) throw builtInId(id);
      const before = this.#store.get(id);
      if (before === undefined && this.#store.size >= MAX_ENTRIES)
        throw adapterError(new Error(`there are ${MAX_ENTRIES} configurations already`));
      const validate = compiled(schema);
      if (initialValue !== undefined) this.#check(initialValue, validate);
      const value = initialValue === undefined ? (before?.value ?? null) : initialValue;
      const entry: StoredEntry = {
        id,
        name,
        description,
        schema,
        value,
        ...(metadata === undefined ? {} : { metadata }),
        validate,
      };
      if (before !== undefined && isDeepStrictEqual(plain(before), plain(entry))) return plain(entry);
      await this.#put(entry);
      this.#emit(
        before === undefined ? 'configuration:registered' : 'configuration:updated',
        entry,
        before?.value ?? null,
        value,
      );
      return plain(entry);
    });
  }

  /** Replaces the whole value. Resolves once it is kept and, for a built-in, in force. */
  async set(id: string, value: unknown): Promise<{ oldValue: unknown; newValue: unknown }> {
    if (this.#source.find(id) !== undefined) return this.#setBuiltIn(id, value);
    return this.#serially(async () => {
      if (!CONFIGURATION_ID.test(id)) throw invalidId(id);
      const before = this.#store.get(id);
      if (before === undefined) throw notRegistered(id);
      if (before.validate === undefined) throw schemaUnavailable(id);
      this.#check(value, before.validate);
      if (!isDeepStrictEqual(before.value, value)) {
        await this.#put({ ...before, value });
        this.#emit('configuration:updated', before, before.value, value);
      }
      return { oldValue: before.value, newValue: value };
    });
  }

  async #setBuiltIn(id: string, value: unknown): Promise<{ oldValue: unknown; newValue: unknown }> {
    const { unset } = this.#expand(value);
    if (unset.length > 0) throw expandFailed(id, unset);
    const oldValue = this.#source.find(id)?.template ?? null;
    try {
      await this.#source.set(id, value as JsonValue);
    } catch (error) {
      if (error instanceof ConfigError) throw schemaInvalid(error.faults.map((fault) => fault.message));
      if (error instanceof TrineError) throw error;
      throw adapterError(error);
    }
    return { oldValue, newValue: value };
  }

  /** Placeholders that cannot be replaced yet put the check off until the value is read. */
  #check(value: unknown, validate: Validator): void {
    const { value: expanded, unset } = this.#expand(value);
    const faults = unset.length > 0 ? [] : validate(expanded);
    if (faults.length > 0) throw schemaInvalid(faults);
  }

  #expand(value: unknown): { value: unknown; unset: string[] } {
    const unset = new Set<string>();
    const expanded = expand(value, { env: this.#source.env, unset: (variable) => void unset.add(variable) });
    return { value: expanded, unset: [...unset] };
  }

  async #put(entry: StoredEntry): Promise<void> {
    try {
      await this.#store.put(entry);
    } catch (error) {
      throw adapterError(error);
    }
  }

  #readFolder(): Map<string, StoredEntry> {
    const entries = this.#store.readFolder((file, reason) =>
      this.#log.warn('configuration file is not used', { file, reason }),
    );
    for (const id of entries.keys()) if (this.#source.find(id) !== undefined) entries.delete(id);
    return entries;
  }

  /** Someone edited the files by hand: takes what holds, keeps the value before where it does not. */
  #takeFiles(): void {
    if (!this.#store.onDisk) return;
    const unreadable = new Set<string>();
    const files = this.#store.readFolder((file, reason) => {
      unreadable.add(file);
      this.#log.warn('configuration file is not used, its value before stays', { file, reason });
    });
    for (const entry of files.values()) this.#takeFile(entry);
    if (unreadable.size > 0) return; // which of the missing ones were removed shows once all can be read
    for (const gone of this.#store.list().filter(({ id }) => !files.has(id))) {
      this.#store.forget(gone.id);
      this.#emit('configuration:deleted', gone, gone.value, null);
    }
  }

  #takeFile(file: StoredEntry): void {
    if (this.#source.find(file.id) !== undefined) return;
    const before = this.#store.get(file.id);
    // The owner's schema counts as long as it is known; a file may have lost it.
    const entry =
      file.schema === null && before !== undefined
        ? { ...file, schema: before.schema, validate: before.validate }
        : file;
    if (before !== undefined && isDeepStrictEqual(plain(before), plain(entry))) return;
    try {
      if (entry.validate !== undefined && entry.value !== null) this.#check(entry.value, entry.validate);
    } catch (error) {
      this.#log.warn('configuration file is not used, its value before stays', {
        id: file.id,
        reason: String((error as Error).message),
      });
      return;
    }
    this.#store.adopt(entry);
    this.#emit(
      before === undefined ? 'configuration:registered' : 'configuration:updated',
      entry,
      before?.value ?? null,
      entry.value,
    );
  }

  #emit(type: ConfigurationEventType, entry: Entry, oldValue: unknown, newValue: unknown): void {
    this.#events.emit({
      type: 'configuration',
      event_type: type,
      id: entry.id,
      name: entry.name,
      description: entry.description,
      schema: entry.schema as JsonValue,
      old_value: this.#expand(oldValue).value as JsonValue,
      new_value: this.#expand(newValue).value as JsonValue,
      ...(entry.metadata === undefined ? {} : { metadata: entry.metadata as JsonValue }),
    });
  }

  #serially<T>(run: () => Promise<T>): Promise<T> {
    const done = this.#work.then(run);
    this.#work = done.catch(() => undefined);
    return done;
  }
}

function builtIn({ id, schema, template }: ConfigurationItem): Entry {
  return {
    id,
    name: id,
    description: `Settings of the built-in worker '${id}'`,
    schema: schema as JsonSchema,
    value: template,
  };
}

function plain({ id, name, description, schema, value, metadata }: Entry): Entry {
  return { id, name, description, schema, value, ...(metadata === undefined ? {} : { metadata }) };
}

function compiled(schema: JsonSchema): Validator {
  try {
    return compileSchema(schema);
  } catch (error) {
    throw schemaInvalid([`the schema itself: ${error instanceof Error ? error.message : String(error)}`]);
  }
}
