/** Streams in one SQLite file, read from memory where they can be: `values/read-through.ts` says what holds. */
import { builtUrl } from '../../../core/built-url.js';
import type { Storage, Store } from '../../../core/store.js';
import { ReadThrough, type UpdateOp } from '../../../values/index.js';
import type { StoredSnapshot, Updated, Written } from '../store.js';
import type { Address, Change, Snapshot, StreamAdapter, StreamSummary, UpdateChange } from './index.js';

/** @param file - absolute path; undefined = the engine's own file; `:memory:` keeps nothing */
export async function openKv(storage: Storage, file: string | undefined): Promise<StreamAdapter> {
  const module = builtUrl(import.meta.url, '../store.js');
  return new KvAdapter(await storage.open(file === undefined ? { module } : { module, file }));
}

class KvAdapter implements StreamAdapter {
  readonly #store: Store;
  readonly #values = new ReadThrough();

  constructor(store: Store) {
    this.#store = store;
    store.onReopened(() => this.#values.forget());
  }

  get(at: Address): string | undefined | Promise<string | undefined> {
    const id = cacheId(at);
    const hit = this.#values.cached(id);
    if (hit !== undefined) return hit.text;
    return this.#values.fetch(id, () => this.#store.read('get', at.stream, at.group, at.item));
  }

  set(at: Address, value: string): Promise<Change> {
    const answer = this.#store.write<Written>('set', at.stream, at.group, at.item, value);
    return this.#values.write(cacheId(at), answer, () => value);
  }

  delete(at: Address): Promise<Change> {
    const answer = this.#store.write<Written>('delete', at.stream, at.group, at.item);
    return this.#values.write(cacheId(at), answer, () => undefined);
  }

  update(at: Address, ops: readonly UpdateOp[]): Promise<UpdateChange> {
    const answer = this.#store.write<Updated>('update', at.stream, at.group, at.item, ops);
    return this.#values.write(cacheId(at), answer, ({ value }) => value);
  }

  list(stream: string, group: string): Promise<string> {
    return this.#values.read(this.#store.read<string>('list', stream, group));
  }

  listGroups(stream: string): Promise<string[]> {
    return this.#values.read(this.#store.read<string[]>('listGroups', stream));
  }

  listAll(): Promise<StreamSummary[]> {
    return this.#values.read(this.#store.read<{ id: string; groups: string[] }[]>('listAll'));
  }

  snapshot(stream: string, group: string, item: string | undefined): Promise<Snapshot> {
    return this.#values.read(this.#store.read<StoredSnapshot>('snapshot', stream, group, item));
  }

  async close(): Promise<void> {
    await this.#values.idle();
    await this.#store.close();
  }
}

/** One text per item; no two share one. */
function cacheId({ stream, group, item }: Address): string {
  return `${stream.length}:${group.length}:${stream}${group}${item}`;
}
