/** The newest items, bounded by their number and by their size together. */
export class BoundedRing<Item> {
  readonly #maxBytes: number;
  #maxCount: number;
  /** Oldest first from `#head` on; what is before it is gone and cut off from time to time. */
  #entries: (Entry<Item> | undefined)[] = [];
  #head = 0;
  #bytes = 0;
  #dropped = 0;

  constructor(limits: { readonly maxCount: number; readonly maxBytes: number }) {
    this.#maxCount = limits.maxCount;
    this.#maxBytes = limits.maxBytes;
  }

  get size(): number {
    return this.#entries.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Items that had to go for newer ones, since the last `clear`. */
  get dropped(): number {
    return this.#dropped;
  }

  push(item: Item, bytes: number): void {
    this.#entries.push({ item, bytes });
    this.#bytes += bytes;
    this.#trim();
  }

  /** Puts an item in the place of another; false when that one is gone. */
  replace(old: Item, item: Item, bytes: number): boolean {
    for (let at = this.#entries.length - 1; at >= this.#head; at--) {
      const entry = this.#entries[at] as Entry<Item>;
      if (entry.item !== old) continue;
      this.#entries[at] = { item, bytes };
      this.#bytes += bytes - entry.bytes;
      this.#trim();
      return true;
    }
    return false;
  }

  resize(maxCount: number): void {
    this.#maxCount = maxCount;
    this.#trim();
  }

  clear(): void {
    this.#entries = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#dropped = 0;
  }

  /** Oldest first. */
  *items(): IterableIterator<Item> {
    for (let at = this.#head; at < this.#entries.length; at++) yield (this.#entries[at] as Entry<Item>).item;
  }

  #trim(): void {
    while (this.size > 0 && (this.size > this.#maxCount || this.#bytes > this.#maxBytes)) {
      this.#bytes -= (this.#entries[this.#head] as Entry<Item>).bytes;
      this.#entries[this.#head++] = undefined;
      this.#dropped++;
    }
    if (this.#head > 1_000 && this.#head > this.size) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }
}

interface Entry<Item> {
  readonly item: Item;
  readonly bytes: number;
}
