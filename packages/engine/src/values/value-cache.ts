/**
 * Values in memory, bounded in bytes. Absence is remembered too. A cache of committed values: who
 * fills it sees to that (`read-through.ts`).
 *
 * Eviction is "second chance": a hit only sets a mark, and a marked value whose turn it is goes back
 * in line once, without its mark.
 */

/** Default bound of all values, in bytes. */
export const MAX_CACHE_BYTES = 64 * 1024 * 1024;
/** Memory of an entry beside its texts, in bytes: map slot, object and string headers. */
const ENTRY_BYTES = 160;
/** Bytes per UTF-16 unit at most. */
const UNIT_BYTES = 2;
/** Marked values that one eviction passes over at most, so that none takes long when all are marked. */
const MAX_SECOND_CHANCES = 8;

export interface CachedValue {
  /** Raw text; undefined = there is no such key. */
  readonly text: string | undefined;
  readonly bytes: number;
  used: boolean;
}

export class ValueCache {
  readonly #maxBytes: number;
  readonly #entries = new Map<string, CachedValue>();
  #bytes = 0;

  constructor(maxBytes: number = MAX_CACHE_BYTES) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Undefined = not known here. */
  get(id: string): CachedValue | undefined {
    const entry = this.#entries.get(id);
    if (entry !== undefined) entry.used = true;
    return entry;
  }

  /** @param text - undefined = there is no such key */
  put(id: string, text: string | undefined): void {
    this.drop(id);
    const bytes = ENTRY_BYTES + UNIT_BYTES * (id.length + (text?.length ?? 0));
    if (bytes > this.#maxBytes) return;
    this.#entries.set(id, { text: text === undefined ? undefined : ownText(text), bytes, used: true });
    this.#bytes += bytes;
    this.#evict();
  }

  drop(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#bytes -= entry.bytes;
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  #evict(): void {
    let chances = MAX_SECOND_CHANCES;
    for (const [id, entry] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#entries.delete(id);
      if (entry.used && chances-- > 0) {
        entry.used = false;
        this.#entries.set(id, entry);
      } else {
        this.#bytes -= entry.bytes;
      }
    }
  }
}

/** The same text in memory of its own: a slice would keep the whole message alive that it came in. */
function ownText(text: string): string {
  return Buffer.from(text).toString();
}
