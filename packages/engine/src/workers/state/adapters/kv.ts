/** State in one SQLite file, read from memory where it can be: `values/read-through.ts` says what holds. */
import { builtUrl } from '../../../core/built-url.js';
import type { Storage, Store } from '../../../core/store.js';
import { ReadThrough, UNCHANGED, type UpdateOp, type ValueCache } from '../../../values/index.js';
import type { UpdateAnswer } from '../store.js';
import type { StateAdapter } from './index.js';

/** @param file - absolute path; undefined = the engine's own file; `:memory:` keeps nothing */
export async function openKv(storage: Storage, file: string | undefined, cache?: ValueCache): Promise<KvAdapter> {
  const module = builtUrl(import.meta.url, '../store.js');
  return new KvAdapter(await storage.open(file === undefined ? { module } : { module, file }), cache);
}

export class KvAdapter implements StateAdapter {
  readonly #store: Store;
  readonly #values: ReadThrough;

  constructor(store: Store, cache: ValueCache | undefined) {
    this.#store = store;
    this.#values = new ReadThrough(cache);
    store.onReopened(() => this.#values.forget());
  }

  get(scope: string, key: string): string | undefined | Promise<string | undefined> {
    const id = cacheId(scope, key);
    const hit = this.#values.cached(id);
    return hit === undefined ? this.#values.fetch(id, () => this.#store.read('get', scope, key)) : hit.text;
  }

  set(scope: string, key: string, value: string): Promise<string | undefined> {
    const answer = this.#store.write<string | undefined>('set', scope, key, value);
    return this.#values.write(cacheId(scope, key), answer, () => value);
  }

  delete(scope: string, key: string): Promise<string | undefined> {
    const answer = this.#store.write<string | undefined>('delete', scope, key);
    return this.#values.write(cacheId(scope, key), answer, () => undefined);
  }

  update(scope: string, key: string, ops: readonly UpdateOp[], maxBytes: number | undefined): Promise<UpdateAnswer> {
    const answer = this.#store.write<UpdateAnswer>('update', scope, key, ops, maxBytes);
    return this.#values.write(cacheId(scope, key), answer, (update) =>
      'tooLarge' in update ? UNCHANGED : update.value,
    );
  }

  list(scope: string): Promise<string> {
    return this.#values.read(this.#store.read<string>('list', scope));
  }

  listScopes(): Promise<string[]> {
    return this.#values.read(this.#store.read<string[]>('listScopes'));
  }

  async close(): Promise<void> {
    await this.#values.idle();
    await this.#store.close();
  }
}

/** One text per (scope, key); no two pairs share one. */
export function cacheId(scope: string, key: string): string {
  return `${scope.length}:${scope}${key}`;
}
